"""Leases that stand in rows of their own, many in one, until the rows of their tasks tell more.

A lease of such a row is worth something as long as its task has not ended and the task's own row has an earlier
attempt: whatever is written of a task after its lease has the lease's attempt. A row goes when it is worth nothing
for all of its tasks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from jupyter_fx_hub.store.merge import Group
from jupyter_fx_hub.store.ops import LeaseTasks

__all__ = ["Lease", "Leases", "decode_leases"]

_PACK: Final = msgspec.msgpack.Encoder().encode
_ROWS: Final = msgspec.msgpack.Decoder(list[tuple[bytes, int, int, int]])


class Lease(NamedTuple):
    """What such a row says of one task."""

    attempt: int
    fence: tuple[int, int]
    n: int
    at: float


def decode_leases(rows: Iterable[tuple[int, float, bytes]]) -> dict[str, Lease]:
    """The latest lease of each task, from (boot, at, tasks) of rows."""
    found: dict[str, Lease] = {}
    for boot, at, data in rows:
        for task_id, attempt, counter, n in _ROWS.decode(data):
            known = found.get(task_id.hex())
            if known is None or known.attempt < attempt:
                found[task_id.hex()] = Lease(attempt, (boot, counter), n, at)
    return found


class Leases:
    """Belongs to the writer thread."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor
        self._of_task: dict[str, int] = {}
        self._left: dict[int, int] = {}
        self._done: list[int] = []
        self._next = 1
        for lease, data in cursor.execute("SELECT lease, tasks FROM leases ORDER BY lease").fetchall():
            self._next = lease + 1
            open_ones = []
            for task_id, attempt, _counter, _n in _ROWS.decode(data):
                row = cursor.execute("SELECT state, attempt FROM tasks WHERE task_id=?", (task_id,)).fetchone()
                if row is not None and row[0] < 10 and row[1] < attempt:
                    open_ones.append(task_id.hex())
            self._note(lease, open_ones)

    def _note(self, lease: int, task_ids: list[str]) -> None:
        self._left[lease] = len(task_ids)
        for task_id in task_ids:
            self.told(task_id)
            self._of_task[task_id] = lease
        if not task_ids:
            self._done.append(lease)

    def told(self, task_id: str) -> None:
        """The task's own row tells more now."""
        lease = self._of_task.pop(task_id, 0)
        if lease:
            left = self._left[lease] = self._left[lease] - 1
            if not left:
                self._done.append(lease)

    def apply(self, group: Group) -> None:
        """Write the leases of a group after its tasks, and drop rows that are worth nothing any more."""
        tasks = group.tasks
        for op in group.leases:
            kept = [
                one
                for one in op.tasks
                if (entry := tasks.get(one[0])) is None or (entry.finish is None and entry.attempt < one[1])
            ]
            if kept:
                self._insert(op, kept)
        if self._done:
            for lease in self._done:
                self._cursor.execute("DELETE FROM leases WHERE lease=?", (lease,))
                self._left.pop(lease, None)
            self._done = []

    def _insert(self, op: LeaseTasks, kept: list[tuple[str, int, int, int]]) -> None:
        lease = self._next
        self._next = lease + 1
        fromhex = bytes.fromhex
        data = _PACK([(fromhex(task_id), attempt, counter, n) for task_id, attempt, counter, n in kept])
        self._cursor.execute(
            "INSERT INTO leases (lease, endpoint_id, boot, at, tasks) VALUES (?, ?, ?, ?, ?)",
            (lease, op.endpoint_id, op.boot, op.at, data),
        )
        self._note(lease, [one[0] for one in kept])
