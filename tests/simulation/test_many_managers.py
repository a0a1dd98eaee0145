"""Many managers, agents that are killed, messages that are late or come twice: each task has one outcome, starts at
most once, and no room is lost. The real state; managers and the carrier between are simulated.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import pytest

from jupyter_fx.endpoint.events import Acked, Came, From, Opened, Patience, Record, Replayed, Send, Tell, Write
from jupyter_fx.endpoint.fleet import Fleet
from jupyter_fx.endpoint.need import NodeSize
from jupyter_fx.endpoint.state import AgentState
from jupyter_fx.endpoint.talk import Back, Capacity, Done, Drain, Ended, Go, Place, Report, Want
from jupyter_fx.ids import new_id
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import Dispatch, LeasedTask, Results, Updates

SLOTS = 2


class Manager:
    """What a manager does, as far as an agent can tell. `out`: what is not acknowledged, `taken` of it delivered."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.queue: list[str] = []
        self.asked: dict[int, str] = {}
        self.running: list[str] = []
        self.ticket = 0
        self.out: list[Any] = []
        self.taken = 0
        self.inbox: deque[Any] = deque()
        self.linked = False

    def jobs(self) -> list[str]:
        return [*self.queue, *self.asked.values(), *self.running]

    def busy(self) -> int:
        return len(self.asked) + len(self.running)


class World:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.journal: list[Record] = []
        self.managers: dict[str, Manager] = {}
        self.dead: set[str] = set()
        self.count = 0
        self.fence = 0
        self.tasks: dict[str, LeasedTask] = {}
        self.lease_again: list[str] = []
        self.outcomes: dict[str, list[int]] = {}
        self.starts: dict[str, int] = {}
        self.unacked: list[tuple[int, list[str]]] = []
        self.sent = 0
        self.begin([])

    # The agent.

    def begin(self, alive: list[str]) -> None:
        self.state = AgentState(
            endpoint_id="e",
            slots=0,
            worker_cores=1,
            max_sessions=4,
            wall=0.0,
            generation="g",
            boot_id="b",
            fleet=Fleet(),
            most=NodeSize(SLOTS),
            functions={"f"},
        )
        self.sent = 0
        self.unacked = []
        self.agent = new_id()
        self(Replayed(list(self.journal), bool(alive), alive))
        self(Opened("me"))

    def __call__(self, event: Any) -> None:
        self.do(self.state.handle(event, self.now))
        self.state.validate()

    def do(self, out: list[Any]) -> None:
        for one in out:
            if isinstance(one, Write):
                self.journal.append(one.record)
                self.do(one.then)
            elif isinstance(one, Send):
                self.sent += one.keep
                self.hear(one.message)
                if one.marks:
                    self.state.sent(self.sent, one.marks)
                    self.unacked.append((self.sent, one.marks))
            elif isinstance(one, Tell) and one.to in self.managers:
                self.managers[one.to].inbox.append(one.message)

    def hear(self, message: Any) -> None:
        if isinstance(message, Results):
            for result in message.results:
                told = self.outcomes.setdefault(result.task_id, [])
                # The same result may be told again, by the agent that comes after.
                assert not told or told[-1] == result.state, "one outcome"
                told.append(result.state)
        elif isinstance(message, Updates):
            self.lease_again += [u.task_id for u in message.updates if u.phase == "requeue"]

    def kill_agent(self) -> None:
        for manager in self.managers.values():
            manager.inbox.clear()
            manager.linked = False
            # Of what was delivered a little may not have been acknowledged: it is told again.
            manager.taken = max(0, manager.taken - self.random.randrange(4))
        self.begin(sorted(self.managers))

    # Managers.

    def new_manager(self) -> None:
        self.count += 1
        self.managers[f"m{self.count}"] = Manager(f"m{self.count}")

    def kill_manager(self) -> None:
        name = self.random.choice(sorted(self.managers))
        del self.managers[name]
        self.dead.add(name)
        self(From(name, Report([], [], gone=True, why="killed")))

    def link(self, manager: Manager) -> None:
        manager.linked = True
        self(Came(manager.name, f"b-{manager.name}"))
        manager.out += [Want(ticket, [task]) for ticket, task in manager.asked.items()]
        manager.out += [Report(manager.jobs(), [], to=self.agent), Capacity(SLOTS, True, {})]

    def act(self, manager: Manager) -> None:
        """One thing that it does by itself."""
        if manager.running and self.random.random() < 0.5:
            task = manager.running.pop(0)
            manager.out.append(Done([Ended(task, "ok", b"r", 1.0, 2.0)]))
        elif manager.queue and manager.busy() < SLOTS:
            manager.ticket += 1
            task = manager.asked[manager.ticket] = manager.queue.pop(0)
            manager.out.append(Want(manager.ticket, [task]))

    def receive(self, manager: Manager) -> None:
        if not manager.inbox:
            return
        message = manager.inbox.popleft()
        if isinstance(message, Place):
            manager.queue += [work.task_id for work in message.work if work.task_id not in manager.jobs()]
        elif isinstance(message, Go) and (task := manager.asked.pop(message.ticket, None)) is not None:
            if task in message.tasks and self.random.random() < 0.05:
                # The worker that was to have it is gone: the task waits for another one.
                manager.out.append(Back([task]))
                manager.queue.insert(0, task)
            elif task in message.tasks:
                manager.running.append(task)
                self.starts[task] = self.starts.get(task, 0) + 1
        elif isinstance(message, Drain):
            manager.out.append(Back(list(manager.queue), home=True))
            manager.queue.clear()

    def deliver(self, manager: Manager) -> None:
        if manager.linked and manager.taken < len(manager.out):
            message = manager.out[manager.taken]
            manager.taken += 1
            if not isinstance(message, Report) or message.to == self.agent:
                self(From(manager.name, message))

    # The hub.

    def lease(self) -> None:
        made = []
        for task_id in [*self.lease_again, *(new_id() for _ in range(self.random.randrange(4)))]:
            self.fence += 1
            old = self.tasks.get(task_id)
            task = LeasedTask(task_id, "me", old.attempt + 1 if old else 1, (1, self.fence), 0, "f", b"")
            self.tasks[task_id] = task
            made.append(task)
        self.lease_again.clear()
        if made:
            self(Dispatch(made))

    def ack(self) -> None:
        if self.unacked:
            self(Acked(self.unacked.pop(0)[0]))

    def step(self, *, faults: bool) -> None:
        self.now += 0.01
        roll = self.random.random()
        managers = sorted(self.managers)
        if faults and roll < 0.01:
            self.kill_agent()
        elif faults and roll < 0.015 and managers:
            self.kill_manager()
        elif roll < 0.03 and len(managers) < 4:
            self.new_manager()
        elif faults and roll < 0.1:
            self.lease()
        elif roll < 0.2:
            self.ack()
        elif managers:
            manager = self.managers[self.random.choice(managers)]
            if not manager.linked and self.random.random() < 0.3:
                self.link(manager)
            what = self.random.choice((self.act, self.receive, self.deliver, self.deliver))
            what(manager)


@pytest.mark.parametrize("seed", range(60))
def test_each_task_has_one_outcome_starts_at_most_once_and_no_room_is_lost(seed: int) -> None:
    world = World(seed)
    for _ in range(1500):
        world.step(faults=True)
    world(Patience())
    for _ in range(20000):
        world.step(faults=False)
        if world.lease_again:
            world.lease()
        if world.outcomes.keys() >= world.tasks.keys() and not world.unacked:
            break
    assert world.tasks.keys() - world.outcomes.keys() == set()
    assert all(count == 1 for count in world.starts.values())
    for task, told in world.outcomes.items():
        if TaskState.SUCCEEDED in told:
            assert world.starts[task] == 1
    load = world.state.load()
    assert (load.used, load.slots) == (0, 0)
    assert world.state.held() == 0
