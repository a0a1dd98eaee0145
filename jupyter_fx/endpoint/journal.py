"""The agent's journal: an append-only file of records, in the page cache (no fsync: it outlives the agent, not the
machine).

What its bytes mean, and when they are not believed, is in `journal_records`. When most of the file speaks of tasks that
are gone, it is written anew and put in place by rename.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from jupyter_fx.endpoint.events import Record
from jupyter_fx.endpoint.journal_kinds import HEAD
from jupyter_fx.endpoint.journal_records import begun, encoded, judged

__all__ = ["Journal"]

_COMPACT_ABOVE: Final = 8 * 1024 * 1024


class Journal:
    """Open with `Journal(path, boot_id, fresh_generation)`; `records` is what it held, `sure` whether that is all of
    it. One that is not sure goes on under the fresh generation.
    """

    def __init__(self, path: Path, *, boot_id: str, fresh_generation: str, expected: bool = False) -> None:
        """`expected`: this endpoint has had a journal before, so that a missing one is a lost one. Raises OSError."""
        self._path = path
        self.boot_id = boot_id
        data = path.read_bytes() if path.exists() else b""
        found = judged(data, boot_id, expected=expected)
        self.sure, self.why = not found.why, found.why
        self.generation = found.generation or fresh_generation
        self.records = found.records
        """Let go of by who has taken them."""
        if data and not found.generation and not found.records:
            path.replace(path.with_suffix(".damaged"))
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.size = self._base = found.good
        if found.generation:
            os.ftruncate(self._fd, found.good)
            os.lseek(self._fd, found.good, os.SEEK_SET)
        else:
            self._anew(begun(found, fresh_generation, boot_id))

    def append(self, record: Record) -> None:
        """Write one record whole, or nothing of it: raises OSError (a full disk) and leaves the file as it was."""
        data = encoded(record)
        try:
            done = os.write(self._fd, data)
            while done < len(data):
                done += os.write(self._fd, data[done:])
        except OSError:
            os.ftruncate(self._fd, self.size)
            os.lseek(self._fd, self.size, os.SEEK_SET)
            raise
        self.size += len(data)

    @property
    def wants_compaction(self) -> bool:
        """Whether it has grown to twice what it held after the last compaction, and is large."""
        return self.size > _COMPACT_ABOVE and self.size > 2 * self._base

    def compact(self, live: Iterable[Record]) -> None:
        """Write the journal anew with only these records. On OSError the old one stays."""
        self._anew([Record(HEAD, [self.generation, self.boot_id]), *live])

    def _anew(self, records: Iterable[Record]) -> None:
        fresh = self._path.with_suffix(".new")
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        old, size, before = self._fd, self.size, self._base
        self._fd, self.size = fd, 0
        try:
            for record in records:
                self.append(record)
            fresh.replace(self._path)
        except OSError:
            self._fd, self.size, self._base = old, size, max(before, size)
            os.close(fd)
            fresh.unlink(missing_ok=True)
            raise
        os.close(old)
        self._base = self.size

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)
