"""From a run of ops to row operations: pure, so that it can be tested without a database.

`Group` takes ops in order as long as applying *all tasks first, then leases, events, and the rest* is the same as
applying them one after another (a lease counts for nothing beside a row that has its attempt or a later one); `take`
answers False for the first op for which that would not hold, and the caller begins another group in the same
transaction. So ops of one task keep their order (FIFO per task), and a task that is inserted, moved and finished
within one group costs one row.
"""

from __future__ import annotations

import msgspec

from jupyter_fx_hub.store.ops import (
    AddEvents,
    DeleteFinished,
    DeleteTasks,
    FinishTask,
    InsertTask,
    LeaseTasks,
    MoveTask,
    Op,
)

__all__ = ["Group", "Pending", "grouped"]


class Pending(msgspec.Struct, gc=False):
    """What a group does to one task: an INSERT when `insert` is there, else an UPDATE."""

    owner: str
    insert: InsertTask | None = None
    finish: FinishTask | None = None
    names: tuple[str, ...] = ()
    state: int = 0
    attempt: int = 0
    fence: tuple[int, int] = (0, 0)
    endpoint_id: str = ""
    history: bytes = b""
    started: float = 0.0
    pk: int = 0

    def move(self, op: MoveTask | FinishTask, name: str) -> None:
        """Overlay a later op; what it does not say (`started` 0) stays."""
        self.names += (name,)
        self.state = op.state
        self.attempt = op.attempt
        self.fence = op.fence
        self.endpoint_id = op.endpoint_id
        self.history = op.history
        if op.started:
            self.started = op.started


class Group:
    """Ops that may be applied together."""

    __slots__ = ("closed", "events", "leases", "others", "tasks", "told")

    def __init__(self) -> None:
        self.tasks: dict[str, Pending] = {}
        self.events: list[AddEvents] = []
        self.leases: list[LeaseTasks] = []
        self.told: set[str] = set()
        self.others: list[Op] = []
        self.closed = False

    def take(self, op: Op) -> bool:
        """Add `op`, or answer False: it belongs to the next group."""
        if self.closed:
            return False
        kind = type(op)
        if kind is InsertTask:
            return self._insert(op)  # type: ignore[arg-type]
        if kind is MoveTask or kind is FinishTask:
            return self._move(op)  # type: ignore[arg-type]
        if kind is AddEvents:
            self.events.append(op)  # type: ignore[arg-type]
            self.told.add(op.task_id)  # type: ignore[union-attr]
        elif kind is LeaseTasks:
            self.leases.append(op)  # type: ignore[arg-type]
        else:
            self.others.append(op)
            self.closed = kind is DeleteTasks or kind is DeleteFinished
        return True

    def _insert(self, op: InsertTask) -> bool:
        # Output that came before its task was refused, and stays so.
        if op.task_id in self.tasks or op.task_id in self.told:
            return False
        entry = self.tasks[op.task_id] = Pending(op.owner)
        entry.insert = op
        entry.state = op.state
        entry.endpoint_id = op.endpoint_id
        entry.history = op.history
        return True

    def _move(self, op: MoveTask | FinishTask) -> bool:
        entry = self.tasks.get(op.task_id)
        if entry is None:
            entry = self.tasks[op.task_id] = Pending(op.owner)
        elif entry.finish is not None or (op.owner and entry.owner != op.owner):
            return False
        if type(op) is FinishTask:
            entry.move(op, "FinishTask")
            entry.finish = op
        else:
            entry.move(op, "MoveTask")
        return True


def grouped(ops: list[Op]) -> list[Group]:
    """All of `ops` in as few groups as keep their meaning."""
    group = Group()
    groups = [group]
    for op in ops:
        if not group.take(op):
            group = Group()
            groups.append(group)
            group.take(op)
    return groups
