"""The hub's store in the simulated world: what was committed is there after a crash, what was only written is not."""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import Function, Outcome, TaskSpec
from jupyter_fx_hub.state.io import FinishedTask, Found, LoadedTask
from jupyter_fx_hub.store.ops import (
    AddEvents,
    FinishTask,
    InsertTask,
    LeaseTasks,
    MoveTask,
    PutEndpoint,
    PutFunction,
    PutSession,
)

HISTORY = msgspec.msgpack.Decoder(list[tuple[int, int, float, str]])
DECODE = msgspec.msgpack.Decoder(TaskSpec)
_PACK = msgspec.msgpack.Encoder().encode


class Row:
    """A task on disk."""

    def __init__(self, op: InsertTask) -> None:
        self.insert = op
        self.state, self.attempt, self.fence, self.endpoint_id = op.state, 0, (0, 0), op.endpoint_id
        self.history, self.started = op.history, 0.0
        self.outcome: Outcome | None = None
        self.events: list[Any] = []


class Disk:
    """The store: ops are applied in order by `commit`; what was not is gone after a crash."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.functions: dict[tuple[str, str], Function] = {}
        self.endpoints: dict[str, PutEndpoint] = {}
        self.sessions: dict[str, PutSession] = {}
        self.queue: deque[tuple[int, Any]] = deque()
        self.written = self.committed = 0

    def write(self, op: Any) -> int:
        self.written += 1
        self.queue.append((self.written, op))
        return self.written

    def crash(self) -> None:
        self.queue.clear()
        self.written = self.committed = 0

    def commit(self, count: int) -> list[tuple[str, str]]:
        """Apply ops; (task_id, kind) of insertions that were refused."""
        problems = []
        for _ in range(min(count, len(self.queue))):
            self.committed, op = self.queue.popleft()
            if isinstance(op, InsertTask):
                old = self.rows.get(op.task_id)
                if old is None:
                    self.rows[op.task_id] = Row(op)
                else:
                    problems.append((op.task_id, "exists" if old.insert.hash == op.hash else "conflict"))
            elif isinstance(op, MoveTask | FinishTask):
                row = self.rows[op.task_id]
                if row.state >= 10:
                    continue
                row.state, row.attempt, row.fence, row.endpoint_id = int(op.state), op.attempt, op.fence, op.endpoint_id
                row.history, row.started = op.history, op.started
                if isinstance(op, FinishTask):
                    row.outcome = Outcome(
                        op.task_id,
                        int(op.state),
                        op.payload,
                        op.error,
                        op.blob,
                        op.ref,
                        op.times,
                        op.usage,
                        op.endpoint_id,
                        op.attempt,
                    )
            elif isinstance(op, LeaseTasks):
                for task_id, attempt, counter, n in op.tasks:
                    row = self.rows[task_id]
                    if row.state >= 10 or row.attempt >= attempt:
                        continue
                    row.state, row.attempt, row.fence = int(TaskState.LEASED), attempt, (op.boot, counter)
                    row.history = _PACK([*HISTORY.decode(row.history), (n, row.state, op.at, "")])
            elif isinstance(op, AddEvents):
                self.rows[op.task_id].events += op.events
            elif isinstance(op, PutFunction):
                self.functions[op.owner, op.digest] = Function(op.digest, op.payload, op.name, op.blob)
            elif isinstance(op, PutEndpoint):
                self.endpoints[op.endpoint_id] = op
            elif isinstance(op, PutSession):
                self.sessions[op.session_id] = op
        return problems

    def find(self, owner: str, task_ids: list[str], functions: list[tuple[str, str]]) -> Found:
        found = Found([], [], [(key[0], self.functions[key]) for key in map(tuple, functions) if key in self.functions])
        for task_id in task_ids:
            row = self.rows.get(task_id)
            if row is None or row.insert.owner != owner:
                continue
            if row.outcome is not None:
                found.finished.append(FinishedTask(owner, row.insert.hash, row.outcome))
            else:
                found.tasks.append(loaded(row))
        return found


def loaded(row: Row) -> LoadedTask:
    history = HISTORY.decode(row.history)
    numbers = [h[0] for h in history] + [e.n for e in row.events]
    attempts = [e.attempt for e in row.events if e.k >= 0]
    top = max(attempts, default=0)
    return LoadedTask(
        row.insert.owner,
        DECODE.decode(row.insert.spec),
        row.insert.hash,
        row.state,
        row.attempt,
        row.fence,
        row.endpoint_id,
        row.insert.submitted,
        history,
        max(numbers) + 1,
        top,
        max((e.k for e in row.events if e.attempt == top), default=-1),
        row.started,
        row.insert.expires_at,
    )
