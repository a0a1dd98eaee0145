"""Story: what a task tells from now on and how it ends, without its result. For whoever shows tasks of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

from jupyter_fx.protocol.messages import Event, Outcome

__all__ = ["Story"]

_NO_RUNS: Final[Mapping[int, Any]] = MappingProxyType({})


class Story:
    """A task that is followed. The callbacks run on the client's thread, which must not wait.

    `on_end` is called once: with the outcome (a result that is a blob is not fetched), or with the error that says why
    the story cannot be told. After a reconnect the hub tells what was missed.
    """

    LIVE: ClassVar[int] = 2**31
    """Number of an event that no task reaches: nothing of what was before is replayed."""
    _sent = True
    _fetches = False
    _runs: Mapping[int, Any] = _NO_RUNS

    def __init__(
        self,
        task_id: str,
        watch: int,
        on_event: Callable[[Event], None],
        on_end: Callable[[Outcome | BaseException], None],
    ) -> None:
        self.task_id = task_id
        self._next_event, self._watch = 0, watch
        self._on_event, self._on_end = on_event, on_end

    def watch_more(self, watch: int) -> None:
        """How much of it is told from now on."""
        self._watch = watch

    # --- for the client's thread ---

    def _tell(self, event: Event) -> None:
        self._next_event = max(self._next_event, event.n + 1)
        self._on_event(event)

    def unfetched(self) -> list[Any]:
        """Nothing is fetched."""
        return []

    def _keep_run(self, _first: int, _run: Any) -> None:
        """Nothing is kept."""

    def _finish(self, outcome: Outcome) -> None:
        self._on_end(outcome)

    def _fail(self, error: BaseException) -> None:
        self._on_end(error)
