"""Who wants to see maps and waits from beside them: the notebook's cards. Nobody does in a script.

The client knows nothing of notebooks: the kernel's extension puts what it wants to be told here.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from jupyter_fx.client.maps import MapResult

__all__ = ["Counts", "Failure", "Watcher", "on_map", "on_wait"]


class Counts(NamedTuple):
    """How many of the items of a map, or of the futures of a wait. `total` is None as long as it is not known."""

    total: int | None
    done: int
    running: int
    failed: int
    cancelled: int


@dataclass(frozen=True)
class Failure:
    """One item that failed: its index, the item (`MISSING` when it was not kept), its error."""

    index: int
    item: Any
    error: BaseException


class _Missing:
    def __repr__(self) -> str:
        return "not kept: it came from an iterator"


MISSING = _Missing()


class Watcher(Protocol):
    """What is told that something has come to its end, in the thread that waited for it."""

    def ended(self) -> None:
        """Say the last word now: the cell is about to end."""


on_map: Callable[[MapResult], Watcher | None] | None = None
"""Called with each new map."""
on_wait: Callable[[Sequence[concurrent.futures.Future[Any]]], Watcher | None] | None = None
"""Called when somebody begins to wait for futures."""
