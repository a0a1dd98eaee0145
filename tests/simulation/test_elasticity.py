"""Waves of work come; blocks follow them up and back to zero, and no task is lost: the real state, book of blocks and
scaling on a simulated cluster. The trace is funcX's (Chard et al., HPDC 2020): 1 task of 1 s, 5 of 10 s, 20
of 20 s, 120 s apart.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from jupyter_fx.endpoint.block_records import Cancel, Drain, Ended, JobInfo, Submit
from jupyter_fx.endpoint.blocks import BlockBook
from jupyter_fx.endpoint.events import BlockDrains, Came, From, Opened, Replayed, Send, Tell, Write
from jupyter_fx.endpoint.fleet import Fleet
from jupyter_fx.endpoint.need import NodeSize
from jupyter_fx.endpoint.scaling import Plan, decide
from jupyter_fx.endpoint.state import AgentState
from jupyter_fx.endpoint.talk import (
    Back,
    Capacity,
    Done,
    Go,
    Place,
    Report,
    Want,
)
from jupyter_fx.endpoint.talk import (
    Drain as DrainManager,
)
from jupyter_fx.endpoint.talk import (
    Ended as TaskEnded,
)
from jupyter_fx.ids import new_id
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import Credit, Demand, DemandItem, Dispatch, LeasedTask, Resources, Results, Updates

STEP = 0.5
SLOTS = 4
WAVES = ((0.0, 1, 1.0), (120.0, 5, 10.0), (240.0, 20, 20.0))
END = 480.0


class Cluster:
    """Jobs wait for `queue` seconds, their managers take 1 s more; a job ends when it is told to, or by itself."""

    def __init__(self, seed: int = 0, *, dies: bool = False) -> None:
        self.now = 0.0
        self.random = random.Random(seed)
        self.dies = dies
        self.plan = Plan(max_blocks=5, node=NodeSize(SLOTS), idle_seconds=20.0)
        self.book = BlockBook(label="Slurm", wall=0.0)
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
        self.hub: list[tuple[str, float]] = []
        """Tasks that wait at the hub, and how long each takes."""
        self.length: dict[str, float] = {}
        self.attempt: dict[str, int] = {}
        self.credit = 0
        self.jobs: dict[str, tuple[str, float]] = {}
        """Jobs that live: their block, and when they start."""
        self.managers: dict[str, list[str]] = {}
        """What each manager holds, by its block's name."""
        self.running: dict[str, tuple[str, float]] = {}
        """Tasks that run: where, and when they end."""
        self.draining: set[str] = set()
        self.succeeded: set[str] = set()
        self.starts: dict[str, int] = {}
        self.fence = 0
        self.trace: list[tuple[float, int, int]] = []
        self(Replayed([]))
        self(Opened("me"))

    def __call__(self, event: Any) -> None:
        self.do(self.state.handle(event, self.now))
        self.state.validate()

    def do(self, out: list[Any]) -> None:
        for one in out:
            if isinstance(one, Write):
                self.do(one.then)
            elif isinstance(one, Send):
                self.hear(one.message)
            elif isinstance(one, Tell):
                self.tell(one.to, one.message)

    def hear(self, message: Any) -> None:
        """What the agent says to the hub."""
        if isinstance(message, Credit):
            self.credit = dict(message.shapes).get("", 0)
        elif isinstance(message, Results):
            for result in message.results:
                if result.state == TaskState.SUCCEEDED:
                    assert result.task_id not in self.succeeded
                    self.succeeded.add(result.task_id)
                else:
                    assert result.lost
                    self.hub.insert(0, (result.task_id, self.length[result.task_id]))
        elif isinstance(message, Updates):
            for update in message.updates:
                if update.phase == "requeue":
                    self.hub.insert(0, (update.task_id, self.length[update.task_id]))

    def tell(self, manager: str, message: Any) -> None:
        """What the agent says to a manager."""
        if isinstance(message, Place):
            assert manager not in self.draining
            self.managers[manager] += [work.task_id for work in message.work]
        elif isinstance(message, Go):
            for task in message.tasks:
                self.running[task] = (manager, self.now + self.length[task])
                self.starts[task] = self.starts.get(task, 0) + 1
        elif isinstance(message, DrainManager):
            self.draining.add(manager)

    def carry_out(self, out: list[Any]) -> None:
        for one in out:
            if isinstance(one, Submit):
                job = f"{len(self.trace)}-{one.record.block_id[-6:]}"
                self.jobs[job] = (one.record.block_id, self.now + self.random.uniform(0.5, 6.0))
                self.carry_out(self.book.submitted(one.record.block_id, job, self.now))
            elif isinstance(one, Cancel):
                held = self.managers.get(one.record.block_id, [])
                assert not held, "a block is ended only when nothing is in it"
                self.jobs.pop(one.record.job, None)
            elif isinstance(one, Drain):
                self(BlockDrains(one.record.block_id, one.back, one.record.leaving))
            elif isinstance(one, Ended):
                self.dead(one.record.block_id)

    def dead(self, block: str) -> None:
        if block in self.managers:
            self.draining.discard(block)
            for task in self.managers.pop(block):
                self.running.pop(task, None)
            self(From(block, Report([], [], gone=True, why="its block ended")))

    def step(self) -> None:
        self.now += STEP
        for at, count, seconds in WAVES:
            if at < self.now <= at + STEP:
                fresh = [(new_id(), seconds) for _ in range(count)]
                self.length |= dict(fresh)
                self.hub += fresh
        for job, (block, start) in list(self.jobs.items()):
            if start + 1.0 <= self.now and block not in self.managers and self.book.record(block) is not None:
                self.managers[block] = []
                self.carry_out(self.book.came(block, block, self.now))
                self(Came(block, block))
                self(From(block, Report([], [])))
                self(From(block, Capacity(SLOTS, True, {})))
            if self.dies and self.running and self.random.random() < 0.01:
                del self.jobs[job]
        for manager, held in self.managers.items():
            if manager in self.draining and (back := [one for one in held if one not in self.running]):
                self.managers[manager] = [one for one in held if one in self.running]
                self(From(manager, Back(back, home=True, reason="drained")))
            busy = sum(1 for at, _ in self.running.values() if at == manager)
            idle = [one for one in self.managers[manager] if one not in self.running]
            for task in idle[: SLOTS - busy]:
                self(From(manager, Want(1, [task])))
        for task, (manager, until) in list(self.running.items()):
            if until <= self.now:
                del self.running[task]
                self.managers[manager].remove(task)
                self(From(manager, Done([TaskEnded(task, "ok", b"", until - self.length[task], until)])))
        self.lease()
        self(Demand([DemandItem("", len(self.hub), Resources())] if self.hub else []))
        listed = {
            job: JobInfo(job, block, "running" if start <= self.now else "pending")
            for job, (block, start) in self.jobs.items()
        }
        self.carry_out(self.book.looked(listed, self.now))
        load = self.state.load()
        self.carry_out(self.book.tick(load.busy, self.now))
        decision = decide(load, self.book.views(self.now), self.plan)
        if decision.start:
            self.carry_out(self.book.ask([(new_id(), new_id()) for _ in range(decision.start)], self.now))
        for block in decision.stop:
            assert not self.managers.get(block), "a block is given back only when nothing is in it"
            self.carry_out(self.book.leave(block, "nothing needs it", self.now))
        assert len(self.book.records()) <= self.plan.max_blocks
        self.trace.append((self.now, len(self.hub) + len(self.running), len(self.managers)))

    def lease(self) -> None:
        """The hub sends what there is credit for."""
        made = []
        while self.credit and self.hub:
            task, _ = self.hub.pop(0)
            self.credit -= 1
            self.fence += 1
            self.attempt[task] = self.attempt.get(task, 0) + 1
            made.append(LeasedTask(task, "me", self.attempt[task], (1, self.fence), 0, "f", b""))
        if made:
            self(Dispatch(made))

    def run(self) -> None:
        while self.now < END:
            self.step()


def peak(cluster: Cluster, since: float, until: float) -> int:
    return max(blocks for at, _, blocks in cluster.trace if since <= at < until)


def test_blocks_follow_the_three_waves_up_and_back_to_zero() -> None:
    cluster = Cluster()
    cluster.run()
    assert cluster.succeeded == cluster.length.keys()
    assert set(cluster.starts.values()) == {1}
    assert peak(cluster, 0, 120) == 1
    assert peak(cluster, 120, 240) == 2
    assert peak(cluster, 240, END) == 5
    for before_next in (119.0, 239.0, END - STEP):
        assert [blocks for at, _, blocks in cluster.trace if at == before_next] == [0]
    waited = [at for at, work, _ in cluster.trace if at > 240 and work]
    assert waited[-1] <= 240 + 20 + 10, "20 tasks of 20 s on 20 slots, and the start of their blocks"


@pytest.mark.parametrize("seed", range(12))
def test_no_task_is_lost_when_jobs_end_at_any_time(seed: int) -> None:
    cluster = Cluster(seed, dies=True)
    cluster.run()
    assert cluster.succeeded == cluster.length.keys()
    assert not cluster.managers
    assert not cluster.book.records()
