"""A small world around the pure states of hub and agents: a store that forgets what was not committed, clients that
come back.

Everything happens in one thread, one step at a time, as a seeded random number generator decides. Links are ordered;
when one is cut, passing messages are lost and kept ones come again, those that had arrived included.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
from agents import Agent, Died, copied
from clients import FUNCTION, Client
from disk import DECODE, HISTORY, Disk, loaded

from jupyter_fx.endpoint.talk import Work
from jupyter_fx.protocol.messages import (
    Attach,
    Cancel,
    ErrorInfo,
    Function,
    Functions,
    Nack,
    Outcomes,
    Outputs,
    Rejected,
    Results,
    SessionSpec,
    Submit,
    TaskSpec,
    Updates,
)
from jupyter_fx_hub.state.io import (
    AgentDown,
    AgentUp,
    CloseAgent,
    Confirmed,
    EndpointKnown,
    Found,
    FromAgent,
    FromClient,
    LinkGone,
    Need,
    Refused,
    Replay,
    SessionKnown,
    Tick,
    ToAgent,
    ToClient,
    ToOwner,
    Writes,
)
from jupyter_fx_hub.state.machine import HubState

EPOCH = 1_000_000.0
FAULTS = [
    "hub dies",
    "disk stalls",
    "client cut",
    "agent cut",
    "agent dies",
    "agent dies",
    "manager dies",
    "agent drains",
    "agent stopped",
    "journal torn",
    "machine restarted",
    "old message again",
    "submitted again",
]


class World:
    """All of it."""

    def __init__(self, seed: int, *, chaos: bool = True) -> None:
        """`chaos`: faults come by themselves, also."""
        self.chaos = chaos
        self.EPOCH = EPOCH
        self.rng = random.Random(seed)
        self.workers = 0
        self.cells: dict[str, list[str]] = {}
        """Of each session: its cells, in the order of their submission."""
        self.worker_of: dict[str, int] = {}
        self.running: dict[str, str] = {}
        self.broken: set[str] = set()
        """Tasks that were at an endpoint when something died there: their text has gaps."""
        self.now = 0.0
        self.disk = Disk()
        self.boot = 0
        self.steps = 0
        self.stalled = 0
        """The step until which the disk writes nothing; then the hub dies. 0: it writes."""
        self.starts: dict[str, int] = {}
        self.agents = {e: Agent(self, e, outlived=e[0] == "2") for e in ("1" * 32, "2" * 32)}
        self.names = {"1" * 32: "one", "2" * 32: "two"}
        self.clients = [Client(self, "u") for _ in range(2)]
        self.ids = 0
        self.links = 0
        self.past: deque[tuple[str, Any]] = deque(maxlen=200)
        self.faults: dict[str, int] = {}
        self.start_hub()

    @property
    def wall(self) -> float:
        return self.now + EPOCH

    def spec_of(self, task_id: str) -> TaskSpec:
        return next(c.specs[task_id] for c in self.clients if task_id in c.specs)

    def started(self, work: Work, endpoint_id: str, worker: int) -> None:
        """A worker begins with a task: at most once unless its author allowed more, and cells in order, in one
        worker.
        """
        task_id = work.task_id
        self.starts[task_id] = self.starts.get(task_id, 0) + 1
        spec = self.spec_of(task_id)
        allowed = 1 + (spec.options.retries if spec.options else 0)
        assert self.starts[task_id] <= allowed, (
            f"{task_id} was started {self.starts[task_id]} times, last at {endpoint_id}"
        )
        if spec.session:
            cells = self.cells[spec.session]
            later = cells[cells.index(task_id) + 1 :]
            assert not any(self.starts.get(one) for one in later), ("a cell ran after a later one", task_id)
            assert self.worker_of.setdefault(spec.session, worker) == worker, "a session got another worker"

    # --- the hub and its shell ---

    def start_hub(self) -> None:
        self.boot += 1
        self.state = HubState(self.boot, offset=EPOCH)
        self.acks: deque[tuple[int, Any, int, Any]] = deque()
        self.held: deque[tuple[int, Any, Any, Any]] = deque()
        self.confirming: deque[tuple[int, list[str]]] = deque()
        self.problems: dict[str, str] = {}
        self.position = 0
        self.replays: list[tuple[Client, int, Replay]] = []
        if not self.disk.endpoints:
            for endpoint_id, name in self.names.items():
                self.handle(EndpointKnown(endpoint_id, "u", name, 1.0, new=True))
            self.disk.commit(100)
        else:
            for op in self.disk.endpoints.values():
                self.handle(
                    EndpointKnown(op.endpoint_id, op.owner, op.name, op.created, int(op.state), op.seen, op.info)
                )
        for one in self.disk.sessions.values():
            if one.state < 10:
                spec = msgspec.msgpack.decode(one.spec, type=SessionSpec)
                self.handle(SessionKnown(spec, one.owner, one.endpoint_id, one.state, one.opened, one.info))
        rows = [r for r in self.disk.rows.values() if r.state < 10]
        inputs = {i for r in rows for t in [DECODE.decode(r.insert.spec)] if t.options for i in t.options.inputs}
        found = self.disk.find("u", sorted(inputs), list(self.disk.functions))
        order = [r for r in self.disk.rows.values() if r.state < 10]
        self.handle(Found([loaded(r) for r in order], found.finished, found.functions))

    def crash_hub(self) -> None:
        self.disk.crash()
        for side in [*self.clients, *self.agents.values()]:
            side.out.cut()
            side.back.cut()
        for client in self.clients:
            client.link = 0
        for agent in self.agents.values():
            agent.connection = 0
            agent.closed()
        self.start_hub()

    def handle(self, event: Any) -> None:
        for one in self.state.handle(event, self.now):
            self.carry_out(one)

    def carry_out(self, one: Any) -> None:
        late = self.position > self.disk.committed
        if isinstance(one, Writes):
            for op in one.ops:
                self.position = self.disk.write(op)
            if one.confirm:
                self.confirming.append((self.position, one.confirm))
        elif isinstance(one, ToAgent):
            agent = self.agents[one.endpoint_id]
            if agent.connection:
                queue = late and one.after or any(h[1] is agent for h in self.held)
                if queue:
                    self.held.append((self.position, agent, agent.connection, copied(one.message)))
                else:
                    agent.back.send(copied(one.message))
        elif isinstance(one, ToClient):
            client = next((c for c in self.clients if c.link == one.link and c.link), None)
            if client is not None:
                if one.after and late:
                    self.held.append((self.position, client, client.link, one.message))
                else:
                    client.back.send(one.message)
        elif isinstance(one, Need):
            # The store answers in its turn: after everything that was written before.
            self.commit(10_000_000)
            owner = "u"
            self.handle(self.disk.find(owner, one.task_ids, one.functions))
            event = one.event
            if isinstance(event, FromAgent):
                self.handle(FromAgent(event.endpoint_id, event.message, looked=True))
            else:
                self.handle(FromClient(event.link, event.owner, event.message, event.fresh, looked=True))
        elif isinstance(one, Replay):
            client = next((c for c in self.clients if c.link == one.link and c.link), None)
            if client is not None:
                self.commit(10_000_000)
                row = self.disk.rows.get(one.task_id)
                if row is None:
                    client.back.send(Rejected([one.task_id], ErrorInfo("UsageError", "no task")))
                elif row.outcome is not None and one.upto < 0:
                    client.back.send(Outcomes([row.outcome]))
        elif isinstance(one, ToOwner):
            for client in self.clients:
                if client.link:
                    client.back.send(one.message)
        elif isinstance(one, CloseAgent):
            agent = self.agents[one.endpoint_id]
            self.cut_agent(agent)

    def commit(self, count: int) -> None:
        for task_id, kind in self.disk.commit(count):
            self.problems[task_id] = kind
        done = self.disk.committed
        while self.held and self.held[0][0] <= done:
            _, side, connection, message = self.held.popleft()
            if connection == (side.link if isinstance(side, Client) else side.connection):
                side.back.send(message)
        while self.acks and self.acks[0][0] <= done:
            _, side, number, key = self.acks.popleft()
            if key == (side.link if isinstance(side, Client) else side.connection):
                side.back.send(("ack", number))
        while self.confirming and self.confirming[0][0] <= done:
            good = []
            for task_id in self.confirming.popleft()[1]:
                kind = self.problems.pop(task_id, "")
                if kind:
                    self.handle(Refused(task_id, kind))
                else:
                    good.append(task_id)
            self.handle(Confirmed(good))

    def acknowledge(self, side: Any, number: int) -> None:
        if not number:
            return
        key = side.link if isinstance(side, Client) else side.connection
        if self.position <= self.disk.committed:
            side.back.send(("ack", number))
        else:
            self.acks.append((self.position, side, number, key))

    # --- links ---

    def connect_client(self, client: Client) -> None:
        self.links += 1
        client.link = self.links
        client.sent_before = client.out.last
        client.out.join(0)
        client.back.up = True
        client.seen = dict.fromkeys(client.seen, -1)
        waiting = [t for t in client.specs if t not in client.outcomes and t not in client.rejected]
        if waiting:
            client.out.send(Attach([(t, 0, 0) for t in waiting if t in client.acked_tasks]))

    def cut_client(self, client: Client) -> None:
        if client.link:
            self.handle(LinkGone(client.link))
        client.link = 0
        client.out.cut()
        client.back.cut()

    def connect_agent(self, agent: Agent) -> None:
        self.links += 1
        agent.connection = self.links
        agent.out.join(0)
        agent.back.up = True
        self.handle(AgentUp(agent.endpoint_id, incarnation=f"{agent.endpoint_id}/{agent.process}"))
        self.at(agent, agent.opened)

    def cut_agent(self, agent: Agent) -> None:
        if agent.connection:
            agent.connection = 0
            self.handle(AgentDown(agent.endpoint_id))
        agent.out.cut()
        agent.back.cut()
        agent.closed()

    def at(self, agent: Agent, what: Callable[..., None], *args: Any) -> None:
        """Let something happen at an agent; it may be killed in the middle of it."""
        try:
            what(*args)
        except Died:
            self.cut_agent(agent)
            agent.crash()

    def deliver_to_hub(self, side: Any) -> None:
        message, number = side.out.flying.popleft()
        if isinstance(side, Client):
            fresh = number > side.sent_before
            self.handle(FromClient(side.link, side.name, message, fresh and isinstance(message, Submit)))
        else:
            if isinstance(message, Results | Updates | Outputs | Nack):
                self.past.append((side.endpoint_id, message))
            self.handle(FromAgent(side.endpoint_id, message))
        self.acknowledge(side, number)

    def deliver_from_hub(self, side: Any) -> None:
        message, _ = side.back.flying.popleft()
        told: tuple[Any, Any]
        told = (side.acked, message[1]) if isinstance(message, tuple) else (side.receive, message)
        if isinstance(side, Client):
            told[0](told[1])
        else:
            self.at(side, *told)

    # --- what may happen ---

    def new_id(self) -> str:
        self.ids += 1
        return f"{self.ids:012x}7{self.ids % 4096:03x}8{self.ids:015x}"

    def step(self) -> None:
        self.steps += 1
        self.now += 0.002
        rng = self.rng
        roll = rng.random()
        sides: list[Any] = [*self.clients, *self.agents.values()]
        side = rng.choice(sides)
        if roll < 0.34 and side.out.flying:
            self.deliver_to_hub(side)
        elif roll < 0.66 and side.back.flying:
            self.deliver_from_hub(side)
        elif roll < 0.84:
            agent = rng.choice(list(self.agents.values()))
            self.at(agent, agent.step)
        elif roll < 0.88:
            if self.steps > self.stalled:
                self.commit(rng.randrange(1, 12))
                if self.stalled:
                    # What was sent meanwhile is known to those who got it, and to nobody else.
                    self.stalled = 0
                    self.crash_hub()
        elif roll < 0.93:
            client = rng.choice(self.clients)
            if not client.link:
                self.connect_client(client)
            elif len(client.specs) - len(client.outcomes) - len(client.rejected) < 60:
                if not client.by_number:
                    client.out.send(Functions([Function(FUNCTION, b"f")]), keep=True)
                if rng.random() < 0.35:
                    client.session_asked()
                else:
                    client.submit(client.new_specs())
        elif roll < 0.97:
            agent = rng.choice(list(self.agents.values()))
            if not agent.connection:
                self.connect_agent(agent)
        elif roll < 0.985:
            self.now += rng.choice([0.01, 0.5, 3.0, 20.0])
            self.handle(Tick())
        elif roll < 0.993:
            client = rng.choice(self.clients)
            if client.specs:
                client.out.send(Cancel([rng.choice(list(client.specs))]), keep=True)
        elif self.chaos:
            self.fault()

    def fault(self, kind: str = "") -> None:
        """Something goes wrong: this, or anything."""
        kind = kind or self.rng.choice(FAULTS)
        agent = self.rng.choice(list(self.agents.values()))
        client = self.rng.choice(self.clients)
        if kind in {"journal torn", "machine restarted"} and not self.on_disk(agent):
            return
        self.faults[kind] = self.faults.get(kind, 0) + 1
        if kind == "disk stalls":
            self.stalled = self.steps + self.rng.randrange(1_000)
        elif kind == "hub dies":
            self.crash_hub()
        elif kind == "client cut":
            self.cut_client(client)
        elif kind == "agent cut":
            self.cut_agent(agent)
        elif kind == "agent dies":
            agent.countdown = self.rng.randrange(6)
        elif kind == "manager dies" and agent.outlived:
            self.at(agent, agent.manager_dies)
        elif kind == "agent drains":
            self.at(agent, agent.drain)
        elif kind == "agent stopped" and agent.state.draining:
            self.cut_agent(agent)
            agent.crash()
        elif kind in {"journal torn", "machine restarted"}:
            size = len(agent.journal)
            self.cut_agent(agent)
            left = self.rng.choice([0, size, max(0, size - self.rng.randrange(400))])
            agent.crash(torn=left, rebooted=kind == "machine restarted")
        elif kind == "old message again" and self.past:
            endpoint_id, message = self.rng.choice(list(self.past))
            if self.agents[endpoint_id].connection and self.state.core.endpoints[endpoint_id].ready:
                self.handle(FromAgent(endpoint_id, message))
        elif kind == "submitted again" and client.link and client.acked_tasks:
            spec = client.specs[self.rng.choice(sorted(client.acked_tasks))]
            self.handle(FromClient(client.link, client.name, Submit([spec]), fresh=False))

    def on_disk(self, agent: Agent) -> bool:
        """Whether the hub's disk knows of every lease that this agent has.

        When it does not, a loss of the agent's journal is the second fault at once, of a pair that is not covered
        (docs/decisions/0007).
        """
        for entry in agent.state.tasks.values():
            row = self.disk.rows.get(entry.task.task_id)
            if row is None or (row.state < 10 and (row.state < 3 or row.fence != entry.task.fence)):
                return False
        return True

    def heal(self, limit: int = 10_000) -> None:
        """No more faults and submissions: everything must come to its end."""
        for _ in range(limit):
            for client in self.clients:
                if not client.link:
                    self.connect_client(client)
            for agent in self.agents.values():
                agent.countdown = -1
                if agent.state.draining:
                    self.cut_agent(agent)
                    agent.crash()
                if not agent.connection:
                    self.connect_agent(agent)
                agent.step()
            for side in [*self.clients, *self.agents.values()]:
                if side.out.flying:
                    self.deliver_to_hub(side)
                if side.back.flying:
                    self.deliver_from_hub(side)
            self.commit(50)
            if self.state.next_timer() is not None and not any(
                s.out.flying or s.back.flying for s in [*self.clients, *self.agents.values()]
            ):
                self.now = max(self.now, self.state.next_timer() or 0.0) + 0.001
                self.handle(Tick())
            if all(len(c.outcomes.keys() | c.rejected.keys()) == len(c.specs) and not c.out.kept for c in self.clients):
                return
        raise AssertionError(("never at rest", self.unfinished()))

    def unfinished(self) -> list[Any]:
        tasks = self.state.core.tasks
        return [
            (t, tasks[t].state.name if t in tasks else "not in memory", tasks[t].hist if t in tasks else None)
            for c in self.clients
            for t in c.specs
            if t not in c.outcomes and t not in c.rejected
        ][:5]

    def check_end(self) -> None:
        """One outcome for every task that was acknowledged; logs in order and complete up to where they end."""
        for client in self.clients:
            for task_id in client.acked_tasks:
                if task_id in client.rejected and task_id not in self.disk.rows:
                    continue
                row = self.disk.rows.get(task_id)
                assert row is not None, f"{task_id} was acknowledged and is gone"
                assert row.outcome is not None
                assert client.outcomes[task_id].payload == row.outcome.payload
        for task_id, row in self.disk.rows.items():
            numbers = [e.n for e in row.events]
            assert numbers == sorted(set(numbers)), task_id
            by_attempt: dict[int, list[int]] = {}
            for event in row.events:
                if event.k >= 0 and isinstance(event.data, bytes):
                    by_attempt.setdefault(event.attempt, []).append(int(event.data))
            for pieces in by_attempt.values():
                assert pieces == sorted(set(pieces)), (task_id, pieces)
                whole = list(range(pieces[0], pieces[0] + len(pieces)))
                assert pieces == whole or task_id in self.broken, (task_id, pieces)
            assert sum(1 for h in HISTORY.decode(row.history) if h[1] >= 10) == 1, task_id
