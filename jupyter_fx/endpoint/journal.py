"""The agent's journal: an append-only file of records, in the page cache (no fsync: it outlives the agent, not the
machine).

A record is `!II` (length, crc32) and a msgpack `Record`. The first one names the journal's generation and the machine's
boot id. What follows a damaged or cut-off record is given up, and the inventory then says that it is not sure. When
most of the file speaks of tasks that are gone, it is written anew and put in place by rename.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from jupyter_fx.endpoint.events import Record
from jupyter_fx.endpoint.journal_kinds import ACCEPT, HEAD, LEASE, RESULT, SESSION
from jupyter_fx.protocol.messages import LeasedTask, Result, SessionSpec

__all__ = ["Journal", "read_records"]

_LENGTHS: Final = struct.Struct("!II")
_RECORD_MAX: Final = 1 << 28
_COMPACT_ABOVE: Final = 8 * 1024 * 1024
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
_TYPES: Final[dict[int, Any]] = {
    ACCEPT: list[LeasedTask],
    LEASE: list[LeasedTask],
    RESULT: list[tuple[Result, str]],
    SESSION: tuple[SessionSpec, str],
}


def read_records(data: bytes) -> tuple[list[Record], int, str]:
    """The records of a journal's bytes, how many bytes of it are whole, and what is wrong with the rest ("" when
    nothing is).
    """
    records: list[Record] = []
    view = memoryview(data)
    at = 0
    while at < len(data):
        if len(data) - at < _LENGTHS.size:
            return records, at, "the last record is cut off"
        length, crc = _LENGTHS.unpack_from(data, at)
        body = view[at + _LENGTHS.size : at + _LENGTHS.size + length]
        if length > _RECORD_MAX or len(body) < length:
            return records, at, "the last record is cut off"
        if zlib.crc32(body) != crc:
            return records, at, "a record is damaged"
        try:
            kind, content = _decode(body)
            if kind in _TYPES:
                content = msgspec.convert(content, _TYPES[kind])
        except (msgspec.MsgspecError, TypeError, ValueError):
            return records, at, "a record cannot be read"
        records.append(Record(kind, content))
        at += _LENGTHS.size + length
    return records, at, ""


class Journal:
    """Open with `Journal(path, boot_id, fresh_generation)`; `records` is what it held, `sure` whether that is all of
    it.
    """

    def __init__(self, path: Path, *, boot_id: str, fresh_generation: str, expected: bool = False) -> None:
        """`expected`: this endpoint has had a journal before, so that a missing one is a lost one."""
        self._path = path
        self.generation = fresh_generation
        self.boot_id = boot_id
        self.sure = True
        self.why = ""
        self.records: list[Record] = []
        self.size = 0
        data = path.read_bytes() if path.exists() else b""
        records, good, wrong = read_records(data)
        if records and records[0].kind == HEAD:
            self._take(records, wrong)
        elif data or expected:
            self._unsure(
                "the journal was lost" if not data else f"the journal cannot be read ({wrong or 'it has no head'})"
            )
        fresh = not (records and records[0].kind == HEAD)
        if fresh and data:
            with contextlib.suppress(OSError):
                path.replace(path.with_suffix(".damaged"))
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if fresh:
            self.append(Record(HEAD, [self.generation, boot_id]))
        else:
            os.ftruncate(self._fd, good)
            os.lseek(self._fd, good, os.SEEK_SET)
            self.size = good
        self._base = self.size

    def _take(self, records: list[Record], wrong: str) -> None:
        generation, boot = records[0].data
        self.generation = generation
        self.records = records[1:]
        if wrong:
            self._unsure(f"the end of the journal is torn: {wrong}")
        elif boot != self.boot_id:
            self._unsure("the machine was restarted since the journal was written")

    def _unsure(self, why: str) -> None:
        self.sure, self.why = False, why

    def append(self, record: Record) -> None:
        """Write one record whole, or nothing of it: raises OSError (a full disk) and leaves the file as it was."""
        body = _encode(record)
        data = _LENGTHS.pack(len(body), zlib.crc32(body)) + body
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
        fresh = self._path.with_suffix(".new")
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        old, size, before = self._fd, self.size, self._base
        self._fd, self.size = fd, 0
        try:
            self.append(Record(HEAD, [self.generation, self.boot_id]))
            for record in live:
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
