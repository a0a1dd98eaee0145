"""What came back of a map, counted chunk by chunk without opening anything: for who looks at it from beside."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jupyter_fx.client.futures import TaskFuture
from jupyter_fx.client.watchers import MISSING
from jupyter_fx.protocol.lifecycle import TaskState

__all__ = ["Tally"]

MOST_TROUBLED = 64
"""Chunks with failures that are remembered for who asks for the first failures."""


class Tally:
    """Counts items: `back`, whose outcome is here, whichever; of these `failed` and `cancelled`.

    What can be looked up in the arguments of the map is not kept; what iterators gave is, with `keep`, until it went
    well.
    """

    def __init__(self, iterables: tuple[Iterable[Any], ...], *, keep: bool) -> None:
        self.back = self.failed = self.cancelled = 0
        self.troubled: list[TaskFuture] = []
        """The first chunks with failures."""
        self._items = iterables if all(hasattr(items, "__getitem__") for items in iterables) else None
        self._kept: dict[int, list[Any]] | None = {} if keep and self._items is None else None

    def sent(self, start: int, chunk: list[Any]) -> None:
        """A chunk is on its way; `start` is the index of its first item."""
        if self._kept is not None:
            self._kept[start] = chunk

    def came(self, future: TaskFuture, start: int, count: int) -> None:
        """A chunk of `count` items came back: how many of them went well is in its outcome."""
        self.back += count
        outcome = future.outcome
        usage = (outcome.usage if outcome is not None else None) or {}
        bad, finished = int(usage.get("failed", 0)), int(usage.get("items", 0))
        if outcome is None or outcome.state != TaskState.SUCCEEDED:
            if outcome is not None and outcome.error is not None:
                finished = finished or int(outcome.error.details.get("finished", 0))
            if future.cancelled():
                self.cancelled += max(0, count - finished)
            else:
                bad += max(0, count - finished)
        self.failed += bad
        if bad and len(self.troubled) < MOST_TROUBLED:
            self.troubled.append(future)
        elif self._kept is not None:
            self._kept.pop(start, None)

    def item(self, start: int, at: int, *, star: bool) -> Any:
        """An item: the one at `at` of the chunk that begins at `start`; MISSING when it is not at hand."""
        try:
            if self._items is not None:
                items = [items[start + at] for items in self._items]  # type: ignore[index]
                return tuple(items) if star else items[0]
            return self._kept[start][at] if self._kept is not None else MISSING
        except Exception:  # noqa: BLE001 - whatever the user's container says, the failure is told
            return MISSING
