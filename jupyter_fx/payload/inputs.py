"""Futures and refs inside arguments: each is replaced by a placeholder, and its task id is noted for
`TaskOptions.inputs`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jupyter_fx.errors import PayloadError
from jupyter_fx_worker import inputs as worker_inputs

__all__ = ["as_input", "collecting", "takes_inputs"]


class _Local(threading.local):
    wanted: list[str] | None = None


_local = _Local()


@contextmanager
def collecting() -> Iterator[list[str]]:
    """Within this, pickling a TaskFuture or Ref notes its task id in the list and leaves a placeholder."""
    before = _local.wanted
    wanted: list[str] = []
    _local.wanted = wanted
    try:
        yield wanted
    finally:
        _local.wanted = before


def takes_inputs() -> bool:
    """Whether what is pickled now may stand for the result of a task."""
    return _local.wanted is not None


def as_input(task_id: str, what: str) -> tuple[Any, ...]:
    """The `__reduce__` of something that stands for the result of a task; PayloadError where that means nothing."""
    wanted = _local.wanted
    if wanted is None:
        raise PayloadError(f"{what} can travel as an argument of a remote call only: use its result")
    if task_id not in wanted:
        wanted.append(task_id)
    return worker_inputs.take, (wanted.index(task_id),)
