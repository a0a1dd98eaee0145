"""The write-ahead log's file is made longer than it is yet, before it is needed.

To sync what was appended to a file, the file system writes its own journal too, behind what everybody else on the disk
does meanwhile; what lies inside of the file is synced alone. Measured on ext4: a commit takes two thirds of the time on
a quiet disk, a third beside others. SQLite reads its log up to the first frame that does not continue it, so that zeros
behind its end mean nothing; it goes back to the beginning of the file after a checkpoint, which keeps the length.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

__all__ = ["LENGTH", "Runway"]

LENGTH: Final = 34 * 1024 * 1024
"""Bytes that the log has at its next checkpoint, and a little more (`sqlite`: pages times page size)."""
STEP: Final = 2 * 1024 * 1024
ROOM: Final = 2 * 1024 * 1024 * 1024
"""Bytes that must be free on the disk for it."""


class Runway:
    """Of the database at `path`. Only who writes the database, and only between two transactions, may call `grow`."""

    def __init__(self, path: Path, *, length: int = LENGTH, step: int = STEP, room: int = ROOM) -> None:
        self._log = path.with_name(path.name + "-wal")
        self._length, self._step, self._room = length, step, room

    def grow(self) -> bool:
        """Add a step; False when it is long enough, or the disk is not the place for it."""
        try:
            size = self._log.stat().st_size
            if size >= self._length or shutil.disk_usage(self._log.parent).free < self._room:
                return False
            file = os.open(self._log, os.O_WRONLY | os.O_APPEND | getattr(os, "O_CLOEXEC", 0))
            try:
                os.write(file, bytes(self._step))
                os.fsync(file)
            finally:
                os.close(file)
        except OSError:
            return False
        return True
