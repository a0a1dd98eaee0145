"""Frames between manager, zygote and worker: two lengths, a JSON header, raw bytes.

`Reader` is sans-I/O: bytes in, frames out. The helpers below it are for blocking sockets, which is what zygote and
worker use. A frame that announces more than the limits is refused from its first eight bytes, before anything is
stored.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from collections.abc import Iterable, Sequence
from typing import Any, Callable, Union

__all__ = ["MAX_BODY", "MAX_HEADER", "Buffer", "FrameError", "Header", "Reader", "pack", "recv_fds", "send", "send_fds"]

MAX_HEADER = 1 << 20
MAX_BODY = 1 << 30
LENGTHS = struct.Struct("!II")

Buffer = Union[bytes, bytearray, memoryview]
Header = dict[str, Any]
Frame = tuple[Header, memoryview]

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
# One sendmsg takes at most 1024 pieces (IOV_MAX); small pieces are cheaper joined than listed.
_PIECES = 512
_JOIN_BELOW = 1 << 16


class FrameError(ValueError):
    """The other side sent something that is no frame, or one above the limits: close the channel."""


def _text_of(header: Header) -> bytes:
    return _encode(header).encode("utf-8", "backslashreplace")


def _header_of(raw: bytearray) -> Any:
    return json.loads(raw.decode("utf-8"))


def pack(header: Header, parts: Iterable[Buffer] = (), text_of: Callable[[Header], bytes] = _text_of) -> list[Buffer]:
    """Return the pieces of one frame, in order, without copying large parts.

    `text_of` and a Reader's `header_of` make JSON and read it, for a side that has something faster. Raises FrameError
    when the header or the body is above its limit, ValueError when the header is not JSON.
    """
    text = text_of(header)
    if len(text) > MAX_HEADER:
        raise FrameError(f"header of {len(text)} bytes is above the limit of {MAX_HEADER}")
    pieces: list[Buffer] = [b"", text]
    size = 0
    small: list[Buffer] = []
    for part in parts:
        length = part.nbytes if isinstance(part, memoryview) else len(part)
        size += length
        if length < _JOIN_BELOW:
            small.append(part)
        else:
            if small:
                pieces.append(b"".join(small))
                small = []
            pieces.append(part)
    if small:
        pieces.append(b"".join(small))
    if size > MAX_BODY:
        raise FrameError(f"body of {size} bytes is above the limit of {MAX_BODY}")
    pieces[0] = LENGTHS.pack(len(text), size)
    return pieces


class Reader:
    """Cut a byte stream into frames.

    `feed(data)` returns the frames that are complete now, each `(header, body)`; the body is a writable memoryview over
    memory of its own frame, so that arrays built on it are writable and keep nothing else alive. After a FrameError the
    reader is done for: close the channel.
    """

    def __init__(
        self,
        max_header: int = MAX_HEADER,
        max_body: int = MAX_BODY,
        header_of: Callable[[bytearray], Any] = _header_of,
    ) -> None:
        self._header_of = header_of
        self._max_header = max_header
        self._max_body = max_body
        self._buffer = bytearray()

    @property
    def partial(self) -> bool:
        """True when the last bytes fed belong to a frame whose rest has not come yet."""
        return bool(self._buffer)

    def feed(self, data: Buffer) -> list[Frame]:
        """Take `data`, return the frames that it completes (possibly none). Raises FrameError."""
        buffer = self._buffer
        buffer += data
        frames: list[Frame] = []
        start = 0
        have = len(buffer)
        while have - start >= LENGTHS.size:
            head, size = LENGTHS.unpack_from(buffer, start)
            if head > self._max_header or size > self._max_body:
                raise FrameError(f"frame announces a header of {head} and a body of {size} bytes: above the limits")
            body_at = start + LENGTHS.size + head
            end = body_at + size
            if have < end:
                break
            header = self._header(buffer[start + LENGTHS.size : body_at])
            if end == have and start == 0:
                # A large frame usually ends its buffer: hand the buffer over instead of copying the body.
                self._buffer = bytearray()
                frames.append((header, memoryview(buffer)[body_at:end]))
                return frames
            frames.append((header, memoryview(buffer[body_at:end])))
            start = end
        if start:
            del buffer[:start]
        return frames

    def _header(self, raw: bytearray) -> Header:
        try:
            header = self._header_of(raw)
        except (ValueError, RecursionError) as error:
            raise FrameError(f"header is not JSON: {error}") from None
        if not isinstance(header, dict) or not isinstance(header.get("op"), str):
            raise FrameError("header is not an object with a string `op`")
        return header


def send(sock: socket.socket, header: Header, parts: Iterable[Buffer] = ()) -> None:
    """Send one frame on a blocking socket, whole. Raises OSError when the other side is gone."""
    send_pieces(sock, pack(header, parts))


def send_pieces(sock: socket.socket, pieces: Sequence[Buffer]) -> None:
    """Send what `pack` returned."""
    for at in range(0, len(pieces), _PIECES):
        views = [memoryview(piece).cast("B") for piece in pieces[at : at + _PIECES]]
        while views:
            sent = sock.sendmsg(views)
            while views and sent >= len(views[0]):
                sent -= len(views[0])
                del views[0]
            if sent:
                views[0] = views[0][sent:]


def send_fds(sock: socket.socket, header: Header, fds: Sequence[int]) -> None:
    """Send one frame without a body; `fds` travel with its first byte (SCM_RIGHTS)."""
    data = b"".join(pack(header))
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
    sent = sock.sendmsg([data], rights)
    if sent < len(data):
        sock.sendall(data[sent:])


def recv_fds(sock: socket.socket, size: int = 65536, max_fds: int = 64) -> tuple[bytes, list[int]]:
    """Receive some bytes and the file descriptors that came with them (close-on-exec). Empty bytes: end of file."""
    fds = array.array("i")
    data, ancillary, _flags, _address = sock.recvmsg(size, socket.CMSG_SPACE(max_fds * fds.itemsize))
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    for fd in fds:
        os.set_inheritable(fd, False)
    return data, list(fds)
