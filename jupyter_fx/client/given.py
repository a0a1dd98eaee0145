"""What calls were given, in short: for who shows that one of them failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jupyter_fx import payload
from jupyter_fx.client import watchers
from jupyter_fx.client.futures import TaskFuture
from jupyter_fx.ids import short_id
from jupyter_fx.payload.sizes import PLAIN
from jupyter_fx.payload.summaries import brief, brief_call

__all__ = ["call_of", "note_call", "note_chunk"]


def note_call(future: TaskFuture, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Keep what a call was given, as that was when it was made, if there is somebody to show it."""
    if watchers.on_wait is None:
        return
    if not kwargs and PLAIN.issuperset(map(type, args)):
        # Most calls: numbers do not change, and words are made of them when they are wanted.
        future._call = payload.name_of(function), args  # noqa: SLF001
    else:
        future._call = brief_call(function, args, kwargs)  # noqa: SLF001


def note_chunk(future: TaskFuture, function: Callable[..., Any], items: Sequence[Any]) -> None:
    """The same for a chunk of a map."""
    if watchers.on_wait is not None:
        future._call = f"{payload.name_of(function)} of each of {brief(items)}"  # noqa: SLF001


def call_of(future: Any) -> str:
    """Function and arguments of a call, shortened; where they are not known, what the task is called and its id."""
    if not isinstance(future, TaskFuture):
        return repr(future)
    call = future._call  # noqa: SLF001
    if isinstance(call, tuple):
        return f"{call[0]}({', '.join(map(brief, call[1]))})"
    return call or f"{future.name} (task {short_id(future.task_id)})".lstrip()
