"""What is told of tasks on their way: their steps, late enough for a result to make them needless. Pure."""

from __future__ import annotations

from typing import Any, Final

from jupyter_fx.endpoint.books import Books
from jupyter_fx.endpoint.entry import ACCEPTED, STARTED, Entry
from jupyter_fx.endpoint.events import Send
from jupyter_fx.protocol.messages import Update, Updates

__all__ = ["NO_TIME", "UPDATE_DELAY", "UPDATE_DELAY_CROWD", "Steps"]

UPDATE_DELAY: Final = 0.02
"""Seconds that a step may wait for the result that makes it needless."""
UPDATE_DELAY_CROWD: Final = 0.25
"""The same for one of a crowd of short tasks: each would else cost the hub a row or two more than its result does."""
NO_TIME: Final = float("inf")
_PER_MESSAGE: Final = 4000


class Steps:
    """`due` is when the next ones must be told; infinity when none are."""

    __slots__ = ("_books", "_fresh", "due")

    def __init__(self, books: Books) -> None:
        self._books = books
        self._fresh: dict[str, Entry] = {}
        self.due = NO_TIME

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._fresh

    def note(self, entries: list[Entry], now: float) -> None:
        """Something is to be told of these, unless a result comes first."""
        soon, later = now + UPDATE_DELAY, now + UPDATE_DELAY_CROWD
        crowd = self._books.crowd
        first = self.due
        for entry in entries:
            self._fresh[entry.task.task_id] = entry
            entry.tell_at = at = later if crowd(entry.shape) else soon
            first = min(first, at)
        self.due = first

    def drop(self, task_id: str) -> None:
        """Nothing needs to be told of this one."""
        self._fresh.pop(task_id, None)
        if not self._fresh:
            self.due = NO_TIME

    def tell(self, entries: list[Entry]) -> list[Any]:
        """Tell how far these are, if that is not known."""
        updates: list[Update] = []
        for entry in entries:
            task = entry.task
            self._fresh.pop(task.task_id, None)
            if entry.told < 1:
                updates.append(Update(task.task_id, task.attempt, task.fence, ACCEPTED, entry.accepted))
                entry.told = 1
            if entry.told < 2 and entry.phase == STARTED:
                updates.append(Update(task.task_id, task.attempt, task.fence, STARTED, entry.started))
                entry.told = 2
        if not self._fresh:
            self.due = NO_TIME
        parts = (updates[at : at + _PER_MESSAGE] for at in range(0, len(updates), _PER_MESSAGE))
        return [Send(Updates(part), keep=True) for part in parts]

    def tell_due(self, now: float) -> list[Any]:
        """Tell what no result has made needless in time."""
        if now < self.due:
            return []
        due = [entry for entry in self._fresh.values() if entry.tell_at <= now]
        out = self.tell(due) if due else []
        self.due = min((entry.tell_at for entry in self._fresh.values()), default=NO_TIME)
        return out
