"""The complete text of each task, in files: `<task>.<attempt>.stdout` and `.stderr`, capped, deleted after their
time.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Final

from jupyter_fx.ids import is_id

__all__ = ["CAP", "RETENTION", "TaskLogs"]

CAP: Final = 256 * 1024 * 1024
"""Bytes of one file."""
RETENTION: Final = 14 * 86400.0
"""Seconds that a file is kept after its last byte."""
_OPEN: Final = 64
_NAMES: Final = {1: "stdout", 2: "stderr"}


class TaskLogs:
    """Appends; opens a file when a task writes for the first time and keeps a few open."""

    def __init__(self, folder: Path, *, cap: int = CAP, retention: float = RETENTION) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._cap = cap
        self.retention = retention
        """Seconds that a file is kept after its last byte."""
        self._files: dict[str, tuple[int, int]] = {}
        self.full = False
        """Whether the disk refused the last bytes."""

    def append(self, task_id: str, attempt: int, stream: int, data: bytes) -> None:
        """Add text (`stream`: EventKind.STDOUT or STDERR). What the cap or a full disk refuses is not in the file."""
        name = f"{task_id}.{attempt}.{_NAMES[stream]}"
        try:
            fd, size = self._files.get(name) or self._open(name)
            if size >= self._cap:
                return
            room = self._cap - size
            size += os.write(fd, data if len(data) <= room else data[:room])
            if size >= self._cap:
                size += os.write(fd, b"\n[the log file is full: what followed was not kept]\n")
            self._files[name] = (fd, size)
            self.full = False
        except OSError:
            self.full = True

    def _open(self, name: str) -> tuple[int, int]:
        if len(self._files) >= _OPEN:
            oldest = next(iter(self._files))
            os.close(self._files.pop(oldest)[0])
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        fd = os.open(self._folder / name, flags, 0o600)
        return fd, os.fstat(fd).st_size

    def ended(self, task_id: str, attempt: int) -> None:
        """The task writes no more."""
        for stream in _NAMES.values():
            if found := self._files.pop(f"{task_id}.{attempt}.{stream}", None):
                os.close(found[0])

    def read(self, task_id: str, attempt: int, stream: str, offset: int, length: int) -> tuple[bytes, int]:
        """`length` bytes from `offset` and the size of the whole; nothing when there is no such file."""
        if not is_id(task_id) or stream not in _NAMES.values():
            return b"", 0
        with contextlib.suppress(OSError), (self._folder / f"{task_id}.{attempt}.{stream}").open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, offset))
            return file.read(max(0, length)), size
        return b"", 0

    def sweep(self) -> int:
        """Delete what is past its time; how many files."""
        before = time.time() - self.retention
        count = 0
        for path in self._folder.iterdir():
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < before and path.name not in self._files:
                    path.unlink()
                    count += 1
        return count

    def close(self) -> None:
        """Close all files."""
        for fd, _size in self._files.values():
            os.close(fd)
        self._files.clear()
