"""Room on the disk: when to refuse new tasks, and a ballast that is thrown overboard so that results still land.

A full SQLite cannot even DELETE: every change is written to the log first. So a file of `ballast` bytes is kept
beside the database; when a commit finds the disk full it is deleted and the commit tried again. It is made anew once
there is ample room.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from pathlib import Path
from typing import Final

__all__ = ["BALLAST", "FRACTION_FREE", "MIN_FREE", "Space"]

MIN_FREE: Final = 512 * 1024 * 1024
"""Free bytes below which no new tasks are taken …"""
FRACTION_FREE: Final = 0.05
"""… or this part of the disk, whichever is more."""
BALLAST: Final = 64 * 1024 * 1024
"""Bytes of the ballast."""
_CHECK_EVERY: Final = 1.0
_TEND_EVERY: Final = 5.0


class Space:
    """The disk under `folder`. `full` may be asked from any thread, as often as one likes."""

    def __init__(
        self, folder: Path, *, min_free: int = MIN_FREE, fraction: float = FRACTION_FREE, ballast: int = BALLAST
    ) -> None:
        self._folder = folder
        self._min_free = min_free
        self._fraction = fraction
        self._size = ballast
        self._file = folder / "ballast"
        self._full = False
        self._checked = -_CHECK_EVERY
        self._thrown = False
        self._tended = 0.0

    @property
    def full(self) -> bool:
        """Whether new tasks have to be refused (checked at most once a second)."""
        now = time.monotonic()
        if now - self._checked >= _CHECK_EVERY:
            self._checked = now
            self._full = self._is_low()
        return self._full

    def _is_low(self) -> bool:
        try:
            total, _, free = shutil.disk_usage(self._folder)
        except OSError:
            return True
        return free < max(self._min_free, int(total * self._fraction))

    def note_full(self) -> None:
        """A write found the disk full: `full` until the next check says otherwise."""
        self._full = True
        self._checked = time.monotonic()

    def release(self) -> bool:
        """Throw the ballast overboard; whether there was any."""
        try:
            self._file.unlink()
        except OSError:
            return False
        self._thrown = True
        self._tended = time.monotonic()
        return True

    def tend(self) -> None:
        """After a commit: take ballast in again if it was thrown and there is room (looked at every few seconds)."""
        if self._thrown and time.monotonic() - self._tended >= _TEND_EVERY:
            self._tended = time.monotonic()
            self._thrown = not self.restore()

    def restore(self) -> bool:
        """Take ballast in if it is missing and there is room for it beyond the limit; whether it is aboard."""
        try:
            if self._file.stat().st_size >= self._size:
                return True
        except OSError:
            pass
        if not self._size:
            return False
        try:
            total, _, free = shutil.disk_usage(self._folder)
            if free - self._size < max(self._min_free, int(total * self._fraction)):
                return False
            self._fill()
        except OSError:
            self._file.unlink(missing_ok=True)
            return False
        return True

    def _fill(self) -> None:
        file = os.open(self._file, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            if hasattr(os, "posix_fallocate"):
                try:
                    os.posix_fallocate(file, 0, self._size)
                    return
                except OSError as error:
                    if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL}:
                        raise
            # Real bytes: a file with a hole holds no room. Random ones, for file systems that compress.
            block = os.urandom(1 << 20)
            left = self._size
            while left > 0:
                left -= os.write(file, block[: min(left, len(block))])
            os.fsync(file)
        finally:
            os.close(file)
