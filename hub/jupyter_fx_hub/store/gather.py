"""What the event loop has written in a turn goes to the writer thread in one piece: to wake a thread for every op, and
to have it fight for the interpreter's lock with the loop that writes the next one, costs more than the ops.

**Hold.** Nothing but new tasks waits up to `HOLD` seconds for their results: then each is one row, inserted as terminal
already, and one sync. Anything else (a result of an older task, a read) ends the hold with the turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from jupyter_fx_hub.store.ops import AddEvents, FinishTask, InsertTask, LeaseTasks, MoveTask, Op

__all__ = ["HOLD", "HOLD_OUTPUT", "Gatherer"]

HOLD: Final = 0.001
"""Seconds that a new task waits for its result."""
HOLD_OUTPUT: Final = 0.01
"""Seconds that output waits for more output: nobody waits for its commit."""


class Gatherer:
    """Belongs to one event loop; `give(ops)` gets lists of ops in the order in which they were added."""

    __slots__ = ("_calm", "_fresh", "_give", "_hold", "_looked", "_loop", "_ops", "_timer", "_turn", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, give: Callable[[list[Op]], None], hold: float) -> None:
        self._loop = loop
        self._give = give
        self._hold = hold
        self._ops: list[Op] = []
        self._turn: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._begin()

    def _begin(self) -> None:
        self._looked = 0
        """Ops that have been classified."""
        self._calm = True
        """Nothing but new tasks, what merges into them, and output."""
        self._fresh: set[str] = set()
        """New tasks …"""
        self._waiting: set[str] = set()
        """… and those of them that have not ended."""

    def add(self, ops: list[Op]) -> None:
        """Add ops; what is to become of them is decided at the end of this turn of the loop."""
        self._ops += ops
        if self._turn is None:
            self._turn = self._loop.call_soon(self._turn_ends)

    def release(self) -> None:
        """Hand over what is here, now."""
        for handle in (self._turn, self._timer):
            if handle is not None:
                handle.cancel()
        self._turn = self._timer = None
        if self._ops:
            ops, self._ops = self._ops, []
            self._begin()
            self._give(ops)

    def _turn_ends(self) -> None:
        self._turn = None
        if self._may_wait():
            if self._timer is None:
                self._timer = self._loop.call_later(self._hold if self._fresh else HOLD_OUTPUT, self.release)
        else:
            self.release()

    def _may_wait(self) -> bool:
        if not self._hold:
            return False
        ops = self._ops
        while self._calm and self._looked < len(ops):
            self._look(ops[self._looked])
            self._looked += 1
        return self._calm and not (self._fresh and not self._waiting)

    def _look(self, op: Op) -> None:
        kind = type(op)
        if kind is InsertTask:
            self._fresh.add(op.task_id)  # type: ignore[union-attr]
            if op.state < 10:  # type: ignore[union-attr]
                self._waiting.add(op.task_id)  # type: ignore[union-attr]
        elif kind is FinishTask:
            self._waiting.discard(op.task_id)  # type: ignore[union-attr]
            self._calm = op.task_id in self._fresh  # type: ignore[union-attr]
        elif kind is MoveTask:
            self._calm = op.task_id in self._fresh  # type: ignore[union-attr]
        elif kind is LeaseTasks:
            self._calm = all(lease[0] in self._fresh for lease in op.tasks)  # type: ignore[union-attr]
        elif kind is not AddEvents:
            self._calm = False
