"""What comes home is opened while the notebook runs a cell: two threads that import one package can stop each other."""

from __future__ import annotations

import sys
import threading
import time
from types import FrameType

__all__ = ["wait_for_imports"]

_LOOK_EVERY = 0.02
_LIMIT = 60.0
"""Seconds; an import that takes longer may be waiting for what is to be opened."""
_IMPORT = "<frozen importlib._bootstrap>"


def wait_for_imports(limit: float = _LIMIT) -> None:
    """Return when the main thread is not in the midst of an import.

    Importing the same package beside it can fail there, in the user's cell, as a deadlock of import locks.
    """
    until = time.monotonic() + limit
    while _main_imports() and time.monotonic() < until:
        time.sleep(_LOOK_EVERY)


def _main_imports() -> bool:
    frame: FrameType | None = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001
    while frame is not None and frame.f_code.co_filename != _IMPORT:
        frame = frame.f_back
    return frame is not None
