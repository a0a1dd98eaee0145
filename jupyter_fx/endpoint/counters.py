"""The 64-byte page that a manager shares with one worker: what it has started and finished is known even after a
SIGKILL.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path
from typing import Final

__all__ = ["Counters"]

_SIZE: Final = 64
_STARTED, _FINISHED, _ITEM, _MAIL, _AIM, _TAKEN = range(6)


class Counters:
    """`fd` goes to the worker; `forked` closes it here. The numbers are 64 bits, native order."""

    def __init__(self) -> None:
        self.fd = _shared()
        os.ftruncate(self.fd, _SIZE)
        self._map = mmap.mmap(self.fd, _SIZE)
        self._cells = memoryview(self._map).cast("Q")

    @property
    def started(self) -> int:
        """Tasks taken up since the worker began."""
        return self._cells[_STARTED]

    @property
    def finished(self) -> int:
        """Tasks whose outcome is known."""
        return self._cells[_FINISHED]

    @property
    def taken(self) -> int:
        """Number of the task that was taken up last; 0 before the first."""
        return self._cells[_TAKEN]

    @property
    def item(self) -> int:
        """Index of the map item in hand."""
        return self._cells[_ITEM]

    def mail(self) -> None:
        """Make the worker look at its channel before it takes up its next task."""
        self._cells[_MAIL] = 1

    def aim(self, number: int) -> None:
        """Let SIGINT interrupt only the task with this number."""
        self._cells[_AIM] = number

    def forked(self) -> None:
        """The worker has the descriptor: close ours."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def close(self) -> None:
        """Let go of the page."""
        self.forked()
        self._cells.release()
        self._map.close()


def _shared() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("jupyter-fx", os.MFD_CLOEXEC)
    fd, name = tempfile.mkstemp(prefix="jupyter-fx-")
    Path(name).unlink()
    return fd
