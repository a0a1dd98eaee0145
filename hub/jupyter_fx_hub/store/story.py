"""A task's story out of its rows: state events from its history, the others from `events`, text from its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from sqlalchemy import func, select

from jupyter_fx.protocol.messages import EventKind
from jupyter_fx_hub.store import schema
from jupyter_fx_hub.store.streams import TEXT_KINDS

if TYPE_CHECKING:
    from jupyter_fx_hub.store.queries import Reader

__all__ = ["read_events", "read_log"]

_C = schema.events.c
_G = schema.streams.c
_BYTES_AT_ONCE: Final = 512 * 1024

TaskEvent = tuple[int, int, float, Any]


class _Texts:
    """Text of event rows; knows the files of one task."""

    def __init__(self, reader: Reader, task: int) -> None:
        self._streams = reader.streams
        c = schema.segments.c
        self._names = {
            row.segment: row.name for row in reader.connection.execute(select(c.segment, c.name).where(c.task == task))
        }

    def of(self, row: Any) -> bytes:
        if not row.segment:
            return row.data or b""
        name = self._names.get(row.segment)
        return self._streams.read(name, row.place, row.length) if name else b""


def _gap(reader: Reader, task: int) -> tuple[int, int, int, int] | None:
    """(bytes, lines, first n, last n) that were dropped."""
    query = select(_G.dropped, _G.dropped_lines, _G.gap_first, _G.gap_last).where(_G.task == task, _G.dropped > 0)
    found = reader.connection.execute(query).first()
    return (found[0], found[1], found[2], found[3]) if found else None


def read_events(
    reader: Reader, task: int, history: list[tuple[int, int, float, str]], start: int, limit: int
) -> tuple[list[TaskEvent], int | None]:
    """Events from `start` on, at most `limit` and about 512 KiB of them, and the number to go on from or None.

    In place of text that was dropped stands one NOTE with {"dropped", "lines", "through"}: the bytes, the lines, and
    the last event number that it stands for; events of other kinds inside the gap are told.
    """
    made: list[TaskEvent] = []
    for n, state, t, reason in history:
        if n >= start:
            made.append(
                (n, int(EventKind.STATE), t, {"state": state, "reason": reason} if reason else {"state": state})
            )
    gap = _gap(reader, task)
    if gap is not None and gap[3] >= start:
        note = {"dropped": gap[0], "lines": gap[1], "through": gap[3]}
        made.append((max(start, gap[2]), int(EventKind.NOTE), 0.0, note))
    query = select(_C.n, _C.kind, _C.t, _C.segment, _C.place, _C.length, _C.data)
    # Row by row: all of them together may be large.
    rows = reader.connection.execute(query.where(_C.task == task, _C.n >= start).order_by(_C.n).limit(limit))
    texts = _Texts(reader, task)
    size = 0
    ends: int | None = None
    for count, row in enumerate(rows, 1):
        ends = row.n if count == limit else None
        data: Any = texts.of(row) if row.kind in TEXT_KINDS else msgspec.msgpack.decode(row.data)
        made.append((int(row.n), int(row.kind), float(row[2]), data))
        size += row.length or len(row.data or b"")
        if size >= _BYTES_AT_ONCE:
            ends = row.n
            rows.close()
            break
    made.sort(key=lambda event: event[0])
    if ends is not None:
        made = [event for event in made if event[0] <= ends]
    if len(made) > limit:
        made = made[:limit]
        ends = made[-1][0]
    return made, None if ends is None else ends + 1


def read_log(reader: Reader, task: int, kind: int | None, offset: int, limit: int) -> dict[str, Any]:
    """Text of a task, of one stream if `kind` is given.

    {"text": bytes, "next": offset to go on from or None, "size": bytes that are kept, "dropped": bytes, "lines":
    lines dropped}. Offsets count the kept text. Where text was dropped, the text says so in a line of its own.
    """
    kinds = TEXT_KINDS if kind is None else (kind,)
    mine = (_C.task == task) & _C.kind.in_(kinds)
    size = int(reader.connection.execute(select(func.coalesce(func.sum(_C.length), 0)).where(mine)).scalar() or 0)
    gap = _gap(reader, task)
    texts = _Texts(reader, task)
    parts: list[bytes] = []
    at = told = 0
    query = select(_C.n, _C.segment, _C.place, _C.length, _C.data).where(mine).order_by(_C.n)
    for row in reader.connection.execute(query):
        if gap is not None and row.n > gap[3] and at >= offset:
            parts.append(b"\n[%d lines, %d bytes dropped]\n" % (gap[1], gap[0]))
            gap = (gap[0], gap[1], gap[2], 1 << 62)
        at += row.length
        if at <= offset:
            continue
        skip = max(0, offset - (at - row.length))
        piece = texts.of(row)[skip : skip + limit - told]
        parts.append(piece)
        told += len(piece)
        if told >= limit:
            break
    return {
        "text": b"".join(parts),
        "next": offset + told if offset + told < size and told else None,
        "size": size,
        "dropped": gap[0] if gap else 0,
        "lines": gap[1] if gap else 0,
    }
