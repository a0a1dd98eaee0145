"""The text that tasks print: inline while it is short, else in append-only segment files.

The first `INLINE` bytes of a task's text stand in its event rows: most tasks print little and cost no file. What
follows goes to segments, files with names of their own in sharded directories, and the event row says (segment,
place, length). The head segment takes text up to `STREAM_HEAD`; behind it segments of an eighth of `STREAM_TAIL`
roll: the oldest is deleted, with the event rows that point into it, once the rest still holds `STREAM_TAIL`. What was
dropped is counted in bytes and lines, with the event numbers of the gap.

What durability this gives: the bytes are written at the size that the database last committed (what a crash left
beyond it is overwritten), and the files are fdatasynced before the commit that counts them. So an event is readable
after a power cut exactly if its commit was acknowledged. Files of dropped segments go after that commit; a crash
between the two leaves a file that nobody names, and `sweep` removes it at the next start.

All of it runs in the writer thread.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from jupyter_fx.protocol.limits import STREAM_HEAD, STREAM_TAIL
from jupyter_fx.protocol.messages import EventKind
from jupyter_fx_hub.store.ops import EventRow

__all__ = ["INLINE", "TEXT_KINDS", "Streams", "sync_dir"]

INLINE: Final = 4096
"""Bytes of a task's text that stay in its event rows."""
TEXT_KINDS: Final = (int(EventKind.STDOUT), int(EventKind.STDERR))
_STREAMS_CACHED: Final = 4096
_FILES_OPEN: Final = 64
_FLAGS: Final = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class _Segment:
    """One file."""

    __slots__ = ("dirty", "first_n", "head", "last_n", "lines", "name", "segment", "size", "task")

    def __init__(
        self, segment: int, task: int, name: str, head: int, size: int, lines: int, first_n: int, last_n: int
    ) -> None:
        self.segment, self.task, self.name, self.head = segment, task, name, head
        self.size, self.lines, self.first_n, self.last_n = size, lines, first_n, last_n
        self.dirty = False


class _Stream:
    """What is known of one task's text. `segments` is empty while all of it is inline."""

    __slots__ = ("bytes", "dirty", "dropped", "dropped_lines", "gap_first", "gap_last", "segments")

    def __init__(
        self, total: int, dropped: int = 0, dropped_lines: int = 0, gap_first: int = -1, gap_last: int = -1
    ) -> None:
        self.bytes, self.dropped, self.dropped_lines = total, dropped, dropped_lines
        self.gap_first, self.gap_last = gap_first, gap_last
        self.segments: list[_Segment] = []
        self.dirty = False


class Streams:
    """The texts of all tasks of one database."""

    def __init__(
        self,
        root: Path,
        cursor: sqlite3.Cursor,
        *,
        inline: int = INLINE,
        head: int = STREAM_HEAD,
        tail: int = STREAM_TAIL,
    ) -> None:
        self._root = root
        self._cursor = cursor
        self._inline, self._head, self._tail = inline, head, tail
        self._known: OrderedDict[int, _Stream] = OrderedDict()
        self._changed: dict[int, _Stream] = {}
        self._files: OrderedDict[str, int] = OrderedDict()
        self._unsynced: set[str] = set()
        self._new_dirs: set[Path] = set()
        self._garbage: list[str] = []
        self._rolled: set[int] = set()
        self._next = int(cursor.execute("SELECT coalesce(max(segment), 0) FROM segments").fetchone()[0]) + 1
        root.mkdir(mode=0o700, parents=True, exist_ok=True)

    # --- writing: called between BEGIN and COMMIT ---

    def add(self, task: int, rows: Iterable[EventRow]) -> list[tuple[Any, ...]]:
        """Write the text of these events of the task with row number `task`; the rows for the table `events`."""
        made: list[tuple[Any, ...]] = []
        for row in rows:
            segment = place = length = 0
            data: bytes | None
            if row.kind in TEXT_KINDS:
                text = row.data.encode("utf-8", "replace") if isinstance(row.data, str) else bytes(row.data)
                segment, place, length, data = self._place(task, row.n, text)
            else:
                data = msgspec.msgpack.encode(row.data)
            made.append((task, row.n, row.attempt, row.k, row.kind, row.t, segment, place, length, data))
        return made

    def has_rolled(self, segment: int) -> bool:
        """Whether this transaction dropped the segment again: then a row that points into it is not worth writing."""
        return segment in self._rolled

    def _place(self, task: int, n: int, text: bytes) -> tuple[int, int, int, bytes | None]:
        stream = self._stream(task)
        self._changed[task] = stream
        if not stream.segments and stream.bytes + len(text) <= self._inline:
            stream.bytes += len(text)
            return 0, 0, len(text), text
        segment = self._open_segment(task, stream, n)
        self._pwrite(segment, text)
        place = segment.size
        segment.size += len(text)
        segment.lines += text.count(b"\n")
        segment.last_n = n
        segment.dirty = stream.dirty = True
        stream.bytes += len(text)
        self._roll(task, stream)
        return segment.segment, place, len(text), None

    def _stream(self, task: int) -> _Stream:
        stream = self._known.get(task)
        if stream is not None:
            self._known.move_to_end(task)
            return stream
        row = self._cursor.execute(
            "SELECT bytes, dropped, dropped_lines, gap_first, gap_last FROM streams WHERE task=?", (task,)
        ).fetchone()
        if row is None:
            total = self._cursor.execute(
                "SELECT coalesce(sum(length), 0) FROM events WHERE task=?", (task,)
            ).fetchone()[0]
            stream = _Stream(int(total))
        else:
            stream = _Stream(*row)
            stream.segments = [
                _Segment(*found)
                for found in self._cursor.execute(
                    "SELECT segment, task, name, head, size, lines, first_n, last_n FROM segments"
                    " WHERE task=? ORDER BY segment",
                    (task,),
                )
            ]
        self._known[task] = stream
        if len(self._known) > _STREAMS_CACHED:
            for old in list(self._known)[: _STREAMS_CACHED // 4]:
                if old not in self._changed:
                    del self._known[old]
        return stream

    def _open_segment(self, task: int, stream: _Stream, n: int) -> _Segment:
        last = stream.segments[-1] if stream.segments else None
        if last is not None and last.size < (self._head if last.head else self._tail // 8):
            return last
        made = _Segment(self._next, task, uuid.uuid4().hex, int(last is None), 0, 0, n, n)
        self._next += 1
        stream.segments.append(made)
        return made

    def _roll(self, task: int, stream: _Stream) -> None:
        kept = sum(s.size for s in stream.segments if not s.head)
        while True:
            oldest = next((s for s in stream.segments if not s.head), None)
            if oldest is None or kept - oldest.size < self._tail:
                return
            kept -= oldest.size
            stream.segments.remove(oldest)
            stream.dropped += oldest.size
            stream.dropped_lines += oldest.lines
            if stream.gap_first < 0:
                stream.gap_first = oldest.first_n
            stream.gap_last = oldest.last_n
            self._cursor.execute("DELETE FROM segments WHERE segment=?", (oldest.segment,))
            self._cursor.execute(
                "DELETE FROM events WHERE task=? AND n BETWEEN ? AND ? AND segment=?",
                (task, oldest.first_n, oldest.last_n, oldest.segment),
            )
            self._unsynced.discard(oldest.name)
            self._garbage.append(oldest.name)
            self._rolled.add(oldest.segment)

    def flush(self) -> None:
        """Bring files and their rows to where COMMIT may be said."""
        for task, stream in self._changed.items():
            if not stream.dirty:
                continue
            stream.dirty = False
            self._cursor.execute(
                "INSERT INTO streams (task, bytes, dropped, dropped_lines, gap_first, gap_last) VALUES (?,?,?,?,?,?)"
                " ON CONFLICT (task) DO UPDATE SET bytes=excluded.bytes, dropped=excluded.dropped,"
                " dropped_lines=excluded.dropped_lines, gap_first=excluded.gap_first, gap_last=excluded.gap_last",
                (task, stream.bytes, stream.dropped, stream.dropped_lines, stream.gap_first, stream.gap_last),
            )
            for s in stream.segments:
                if s.dirty:
                    s.dirty = False
                    self._cursor.execute(
                        "INSERT INTO segments (segment, task, name, head, size, lines, first_n, last_n)"
                        " VALUES (?,?,?,?,?,?,?,?)"
                        " ON CONFLICT (segment) DO UPDATE SET size=excluded.size, lines=excluded.lines,"
                        " last_n=excluded.last_n",
                        (s.segment, s.task, s.name, s.head, s.size, s.lines, s.first_n, s.last_n),
                    )
        for name in self._unsynced:
            _datasync(self._file(name))
        for folder in self._new_dirs:
            sync_dir(folder)
        self._unsynced.clear()
        self._new_dirs.clear()

    def committed(self) -> None:
        """COMMIT succeeded: what it dropped may go."""
        self._changed.clear()
        for name in self._garbage:
            self._close(name)
            self._path(name).unlink(missing_ok=True)
        self._garbage.clear()
        self._rolled.clear()

    def rolled_back(self) -> None:
        """COMMIT did not happen: believe the database again, not the memory."""
        self._known.clear()
        self._changed.clear()
        self._unsynced.clear()
        self._garbage.clear()
        self._rolled.clear()

    def forget(self, tasks: Iterable[int]) -> None:
        """Delete the text of these tasks with the transaction that is under way (rows and, after COMMIT, files)."""
        for task in tasks:
            stream = self._known.pop(task, None)
            self._changed.pop(task, None)
            names = {name for (name,) in self._cursor.execute("SELECT name FROM segments WHERE task=?", (task,))}
            # Segments of this very transaction have no rows yet.
            names |= {segment.name for segment in stream.segments} if stream else set()
            for name in names:
                self._unsynced.discard(name)
                self._garbage.append(name)
            self._cursor.execute("DELETE FROM segments WHERE task=?", (task,))
            self._cursor.execute("DELETE FROM streams WHERE task=?", (task,))

    # --- reading ---

    def read(self, name: str, place: int, length: int) -> bytes:
        """Bytes of a segment; short if the file is damaged, never an error."""
        try:
            return _pread(self._file(name, make=False), length, place)
        except OSError:
            return b""

    def sweep(self) -> int:
        """Remove the files that no row names (left by a crash); how many there were."""
        named = {name for (name,) in self._cursor.execute("SELECT name FROM segments")}
        strays = [p for p in self._root.glob("??/*") if p.name not in named]
        for stray in strays:
            stray.unlink(missing_ok=True)
        return len(strays)

    def close(self) -> None:
        """Close all files."""
        for name in list(self._files):
            self._close(name)

    # --- files ---

    def _path(self, name: str) -> Path:
        return self._root / name[:2] / name

    def _file(self, name: str, *, make: bool = True) -> int:
        found = self._files.get(name)
        if found is not None:
            self._files.move_to_end(name)
            return found
        path = self._path(name)
        try:
            made = os.open(path, os.O_RDWR | _FLAGS)
        except FileNotFoundError:
            if not make:
                raise
            if not path.parent.is_dir():
                path.parent.mkdir(mode=0o700, exist_ok=True)
                self._new_dirs.add(self._root)
            made = os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600)
            self._new_dirs.add(path.parent)
        self._files[name] = made
        while len(self._files) > _FILES_OPEN:
            self._close(next(iter(self._files)))
        return made

    def _close(self, name: str) -> None:
        found = self._files.pop(name, None)
        if found is not None:
            os.close(found)

    def _pwrite(self, segment: _Segment, text: bytes) -> None:
        file = self._file(segment.name)
        self._unsynced.add(segment.name)
        place = segment.size
        view = memoryview(text)
        while view:
            wrote = _pwrite(file, view, place)
            place += wrote
            view = view[wrote:]


def _pwrite(file: int, data: memoryview, place: int) -> int:
    if hasattr(os, "pwrite"):
        return os.pwrite(file, data, place)
    os.lseek(file, place, os.SEEK_SET)
    return os.write(file, data)


def _pread(file: int, length: int, place: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(file, length, place)
    os.lseek(file, place, os.SEEK_SET)
    return os.read(file, length)


def _datasync(file: int) -> None:
    getattr(os, "fdatasync", os.fsync)(file)


def sync_dir(folder: Path) -> None:
    """Make new names in `folder` durable."""
    if os.name != "posix":
        return
    file = os.open(folder, os.O_RDONLY | _FLAGS)
    try:
        os.fsync(file)
    finally:
        os.close(file)
