"""A journal as bytes: how records are written, what can be read of them, and whether that can be believed. Pure.

A record is `!II` (length, crc32) and a msgpack `Record`. The first one (HEAD) names the journal's generation and the
machine's boot id. What follows a damaged or cut-off record is given up.

A journal that may lack its end is not believed: it goes on as another generation, with what could be read and a DOUBT
behind it, in one file that is put in place whole. So a START that was lost with the end never makes a task start twice,
however often the agent dies before it has told anybody.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, Final

import msgspec

from jupyter_fx.endpoint.events import Record
from jupyter_fx.endpoint.journal_kinds import ACCEPT, DOUBT, HEAD, LEASE, RESULT, SESSION, SESSION_AT
from jupyter_fx.protocol.messages import LeasedTask, Result, SessionSpec

__all__ = ["Judged", "begun", "encoded", "judged", "read_records"]

_LENGTHS: Final = struct.Struct("!II")
_RECORD_MAX: Final = 1 << 28
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
_TYPES: Final[dict[int, Any]] = {
    ACCEPT: list[LeasedTask],
    LEASE: list[LeasedTask],
    RESULT: list[tuple[Result, str]],
    SESSION: tuple[SessionSpec, str],
    SESSION_AT: tuple[SessionSpec, str, str],
}


def encoded(record: Record) -> bytes:
    """A record as it stands in the file."""
    body = _encode(record)
    return _LENGTHS.pack(len(body), zlib.crc32(body)) + body


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


class Judged(msgspec.Struct):
    """What an agent begins with. `why`: the reason for which the journal is not believed; empty when it is."""

    generation: str
    """Of a journal that goes on; empty: it must be `begun` under a new one."""
    records: list[Record]
    good: int
    """Bytes of the file that go on."""
    why: str = ""


def judged(data: bytes, boot_id: str, *, expected: bool) -> Judged:
    """Judge the bytes of a journal. `expected`: there has been one before, so that none is a lost one."""
    records, good, wrong = read_records(data)
    if not records or records[0].kind != HEAD:
        if data:
            return Judged("", [], 0, f"the journal cannot be read ({wrong or 'it has no head'})")
        return Judged("", [], 0, "the journal was lost" if expected else "")
    generation, boot = records[0].data
    if wrong:
        why = f"the end of the journal is torn: {wrong}"
    elif boot != boot_id:
        # It is in the page cache only, so a machine that went down may have taken the end with it.
        why = "the machine was restarted since the journal was written"
    else:
        return Judged(generation, records[1:], good)
    return Judged("", [*records[1:], Record(DOUBT, why)], 0, why)


def begun(found: Judged, generation: str, boot_id: str) -> list[Record]:
    """The records of a journal that begins anew with what was found."""
    return [Record(HEAD, [generation, boot_id]), *found.records]
