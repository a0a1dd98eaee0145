"""A task's text, bundled: the first piece goes at once, then at most 20 frames a second, each at most 64 KiB.

When more than 256 KiB wait, the oldest text is dropped and a line says how many lines were: a slow reader of logs never
makes the memory of an agent grow nor a worker wait. The complete text is in the task's log file. Pure.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from jupyter_fx.protocol.limits import STREAM_FRAME_MAX

__all__ = ["BUFFER_MAX", "INTERVAL", "Coalescer", "whole_characters"]

INTERVAL: Final = 0.05
"""Seconds between two frames of one task."""
BUFFER_MAX: Final = 256 * 1024
"""Bytes that may wait."""


def whole_characters(data: bytes) -> int:
    """How many bytes of `data` end at a character's boundary (UTF-8): at most three stay behind."""
    end = len(data)
    for back in range(1, min(4, end + 1)):
        byte = data[end - back]
        if byte & 0xC0 == 0x80:
            continue
        need = 2 if byte & 0xE0 == 0xC0 else 3 if byte & 0xF0 == 0xE0 else 4 if byte & 0xF8 == 0xF0 else 1
        return end if need <= back else end - back
    return end


class Coalescer:
    """The text of one task that is on its way. Streams are small integers (EventKind.STDOUT, STDERR)."""

    __slots__ = ("_dropped", "_dropped_stream", "_next", "_pieces", "_size", "_stuck")

    def __init__(self) -> None:
        self._pieces: deque[tuple[int, bytes]] = deque()
        self._size = 0
        self._next = 0.0
        self._dropped = 0
        self._dropped_stream = 0
        self._stuck = False
        """Whether all that waits is the beginning of a character."""

    @property
    def waiting(self) -> int:
        """Bytes that wait."""
        return self._size

    def add(self, stream: int, data: bytes) -> None:
        """Take text; drop the oldest when too much waits."""
        if not data:
            return
        self._pieces.append((stream, data))
        self._size += len(data)
        self._stuck = False
        while self._size > BUFFER_MAX:
            self._drop(self._size - BUFFER_MAX)

    def _drop(self, count: int) -> None:
        stream, data = self._pieces.popleft()
        cut = len(data)
        if count < cut:
            # Whole lines where there are any: what is left begins at the start of one.
            newline = data.find(b"\n", count)
            cut = newline + 1 if newline >= 0 else count
        gone, rest = data[:cut], data[cut:]
        lines = gone.count(b"\n")
        self._dropped += lines if lines or rest else 1
        self._dropped_stream = stream
        self._size -= len(gone)
        if rest:
            self._pieces.appendleft((stream, rest))

    def due(self) -> float | None:
        """When `take` will give something next; None when nothing waits."""
        return self._next if (self._size or self._dropped) and not self._stuck else None

    def take(self, now: float, *, final: bool = False) -> list[tuple[int, bytes]]:
        """The frames that may go now: one, or with `final` everything."""
        frames: list[tuple[int, bytes]] = []
        if not final and now < self._next:
            return frames
        if self._dropped and (self._size or final):
            note = f"[{self._dropped} line{'s' if self._dropped != 1 else ''} dropped]\n".encode()
            frames.append((self._dropped_stream, note))
            self._dropped = 0
        while self._pieces:
            frame = self._frame(final)
            if frame is None:
                break
            frames.append(frame)
            if not final:
                break
        if frames:
            self._next = now + INTERVAL
        return frames

    def _frame(self, final: bool) -> tuple[int, bytes] | None:
        """Join pieces of one stream up to the limit of a frame."""
        stream = self._pieces[0][0]
        parts: list[bytes] = []
        size = 0
        while self._pieces and self._pieces[0][0] == stream and size < STREAM_FRAME_MAX:
            data = self._pieces.popleft()[1]
            if size + len(data) > STREAM_FRAME_MAX:
                room = STREAM_FRAME_MAX - size
                self._pieces.appendleft((stream, data[room:]))
                data = data[:room]
            parts.append(data)
            size += len(data)
        data = b"".join(parts)
        cut = whole_characters(data)
        follows = bool(self._pieces)
        if cut < len(data) and (self._pieces[0][0] == stream if follows else not final):
            self._hold(stream, data[cut:])
            data = data[:cut]
            self._stuck = not data and not follows
        if not data:
            return None
        self._size -= len(data)
        return stream, data

    def _hold(self, stream: int, rest: bytes) -> None:
        """Keep the beginning of a character for the bytes that complete it."""
        if self._pieces and self._pieces[0][0] == stream:
            self._pieces[0] = (stream, rest + self._pieces[0][1])
        else:
            self._pieces.appendleft((stream, rest))
