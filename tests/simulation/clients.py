"""Those who submit in the small world, come back, and compare what they are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from agents import Wire

from jupyter_fx.protocol.messages import (
    BlobRef,
    CloseSession,
    ErrorInfo,
    Events,
    Kind,
    OpenSession,
    Outcome,
    Outcomes,
    Rejected,
    SessionEvent,
    SessionSpec,
    Submit,
    TaskOptions,
    TaskSpec,
)

if TYPE_CHECKING:
    from world import World

FUNCTION = "a" * 64


class Client:
    """Somebody who submits, comes back, and compares what is told."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.out, self.back = Wire(), Wire()
        self.link = 0
        self.sent_before = 0
        self.specs: dict[str, TaskSpec] = {}
        self.acked_tasks: set[str] = set()
        self.by_number: dict[int, list[str]] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.rejected: dict[str, ErrorInfo] = {}
        self.seen: dict[str, int] = {}
        self.sessions: dict[str, int] = {}
        """Sessions that it may send cells to, and their states as far as it was told."""

    def submit(self, specs: list[TaskSpec]) -> None:
        self.out.send(Submit(specs), keep=True)
        self.by_number[self.out.last] = [s.task_id for s in specs]
        for spec in specs:
            self.specs[spec.task_id] = spec

    def receive(self, message: Any) -> None:
        if isinstance(message, Outcomes):
            for outcome in message.outcomes:
                old = self.outcomes.get(outcome.task_id)
                assert old is None or (old.state, old.payload) == (outcome.state, outcome.payload), (old, outcome)
                row = self.world.disk.rows.get(outcome.task_id)
                assert row is not None and row.outcome is not None, "an outcome was told before it was on disk"
                self.outcomes[outcome.task_id] = outcome
        elif isinstance(message, Rejected):
            for task_id in message.tasks:
                self.rejected[task_id] = message.error
            self.sessions.pop(message.session_id, None)
        elif isinstance(message, SessionEvent):
            if message.session_id in self.sessions and message.state >= 4:
                del self.sessions[message.session_id]
        elif isinstance(message, Events):
            for event in message.events:
                assert event.n > self.seen.get(event.task_id, -1), ("told twice or out of order", event)
                self.seen[event.task_id] = event.n

    def acked(self, number: int) -> None:
        self.out.acked(number)
        for n in [n for n in self.by_number if n <= number]:
            self.acked_tasks |= set(self.by_number.pop(n))

    # --- what they may want ---

    def new_specs(self) -> list[TaskSpec]:
        world, rng = self.world, self.world.rng
        specs = []
        for _ in range(rng.randrange(1, 6)):
            options = TaskOptions()
            if rng.random() < 0.3:
                options.retries = rng.randrange(1, 5)
            if rng.random() < 0.1:
                options.expires = rng.uniform(0.5, 300.0)
            known = list(self.specs)
            if known and not world.stalled and rng.random() < 0.15:
                options.inputs = rng.sample(known[-20:], min(len(known), rng.randrange(1, 3)))
            if rng.random() < 0.1:
                options.resources = msgspec.structs.replace(options.resources, cores=2)
            if rng.random() < 0.05:
                options.blob = BlobRef(f"{rng.randrange(8):064x}", 1 << 20)
            kind = Kind.MAP if rng.random() < 0.1 else Kind.CALL
            options.items = 3 if kind is Kind.MAP else 0
            endpoint = rng.choice(["", "", "one", "two", "one"])
            # Most tasks leave their options out, and go another way because of it.
            given = None if options == TaskOptions() else options
            specs.append(TaskSpec(world.new_id(), kind, FUNCTION, b"p", endpoint, "", rng.choice([0, 0, 1, 2]), given))
        return specs

    def new_cells(self, session: str) -> list[TaskSpec]:
        specs = [
            TaskSpec(self.world.new_id(), Kind.CELL, "", b"x = 1", "", session, 2)
            for _ in range(self.world.rng.randrange(1, 4))
        ]
        self.world.cells[session] += [spec.task_id for spec in specs]
        return specs

    def session_asked(self) -> None:
        """Open one, send cells to one, close one."""
        roll = self.world.rng.random()
        if not self.sessions or (roll < 0.1 and len(self.sessions) < 4):
            session = self.world.new_id()
            self.sessions[session] = 1
            self.world.cells[session] = []
            endpoint = self.world.rng.choice(["one", "two"])
            self.out.send(OpenSession(SessionSpec(session, endpoint, "kernel", "epoch")), keep=True)
            return
        session = self.world.rng.choice(sorted(self.sessions))
        if roll < 0.16:
            self.out.send(CloseSession(session, "closed", self.world.rng.random() < 0.3), keep=True)
            del self.sessions[session]
        else:
            self.submit(self.new_cells(session))
