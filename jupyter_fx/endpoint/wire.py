"""Frames over a non-blocking socket on an event loop: the manager's end of a zygote's or worker's channel."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from jupyter_fx_worker import frames

__all__ = ["FrameSocket"]

_READ = 1 << 18
_PIECES = 512


_text_of = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def _header_of(raw: bytearray) -> Any:
    """A frame's header. What is no strict JSON (half a surrogate pair in a name) is left to who is slower."""
    try:
        return _decode(raw)
    except msgspec.MsgspecError:
        return json.loads(raw.decode("utf-8"))


class FrameSocket:
    """Calls `on_frame(header, body)` for each frame and `on_closed()` once, at end of file or on an error."""

    def __init__(
        self,
        sock: socket.socket,
        on_frame: Callable[[dict[str, Any], memoryview], None],
        on_closed: Callable[[], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._loop = loop
        self._on_frame = on_frame
        self._on_closed = on_closed
        self._reader = frames.Reader(header_of=_header_of)
        self._out: deque[memoryview] = deque()
        self.closed = False
        loop.add_reader(sock.fileno(), self.read)

    def read(self) -> bool:
        """Read once; whether there was something."""
        if self.closed:
            return False
        try:
            data = self._sock.recv(_READ)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        if not data:
            self._ended()
            return False
        try:
            found = self._reader.feed(data)
        except frames.FrameError:
            self._ended()
            return False
        for header, body in found:
            self._on_frame(header, body)
        return True

    def send(self, header: dict[str, Any], parts: Iterable[frames.Buffer] = ()) -> None:
        """Send a frame; what the socket does not take now goes when it can."""
        if self.closed:
            return
        pieces = frames.pack(header, parts, _text_of)
        small = self._out or sum(map(len, pieces)) > 1 << 16
        if not small:
            data = b"".join(pieces)
            try:
                sent = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                return
            if sent == len(data):
                return
            pieces = [memoryview(data)[sent:]]
        armed = bool(self._out)
        self._out.extend(memoryview(piece).cast("B") for piece in pieces if len(piece))
        if not armed:
            self._loop.add_writer(self._sock.fileno(), self._write)
            self._write()

    def send_fds(self, header: dict[str, Any], fds: list[int]) -> None:
        """Send a small frame with file descriptors."""
        frames.send_fds(self._sock, header, fds)

    def _write(self) -> None:
        while self._out:
            try:
                sent = self._sock.sendmsg([self._out[i] for i in range(min(len(self._out), _PIECES))])
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self._out.clear()
                break
            while self._out and sent >= len(self._out[0]):
                sent -= len(self._out.popleft())
            if sent:
                self._out[0] = self._out[0][sent:]
        if not self.closed:
            self._loop.remove_writer(self._sock.fileno())

    def drain(self) -> None:
        """Read all that is there: the other side has ended."""
        while self.read():
            pass

    def _ended(self) -> None:
        if not self.closed:
            self.close()
            self._on_closed()

    def close(self) -> None:
        """Close without telling."""
        if not self.closed:
            self.closed = True
            self._loop.remove_reader(self._sock.fileno())
            self._loop.remove_writer(self._sock.fileno())
            self._sock.close()
