"""Messages between agent and manager that survive a reconnect, and a new agent. Pure.

A frame is the msgpack array `[first, ack, [message, …]]` as on the hub's links; the first frame of a connection is a
Greeting, which says what has come in. What is not acknowledged goes again after it. An agent that starts anew has
received nothing and takes what comes. A message that is larger than a frame goes in pieces, which are acknowledged
together, so that who starts anew gets all of them.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import msgspec

from jupyter_fx.protocol.limits import BLOB_MAX, FRAME_MAX

__all__ = ["VERSION", "Greeting", "Mailbox", "fits"]

VERSION: Final = 1
"""Of what an agent and a manager say to each other (`talk`). A manager may be from an installation on a node that is
newer or older than its agent's, or have outlived an upgrade of it.
"""

_FRAME: Final = FRAME_MAX - 4096
_PIECE: Final = _FRAME - 64
_encode = msgspec.msgpack.Encoder().encode


class Greeting(msgspec.Struct, array_like=True, tag=0):
    """The first message of each side: who speaks, and the last number that it received of `of`."""

    process: str
    of: str
    received: int
    version: int = 1


def fits(version: int) -> bool:
    """Whether this side understands one that speaks `version`: the one before its own, and the one after."""
    return abs(version - VERSION) <= 1


class Piece(msgspec.Struct, array_like=True, tag=64):
    """A part of the encoded message that is too large for a frame."""

    data: bytes
    last: bool = False


class Mailbox:
    """One side. `kinds`: the union of messages that may come. `greeted`: whether the other side has greeted on this
    connection.
    """

    def __init__(self, process: str, kinds: Any) -> None:
        self._decode = msgspec.msgpack.Decoder(tuple[int, int, list[Greeting | Piece | kinds]]).decode
        self._decode_whole = msgspec.msgpack.Decoder(kinds).decode
        self._process = process
        self._out: deque[bytes] = deque()
        self._acked = self._last = self._next = 0
        self._received = self._whole = 0
        """The last number that came, and the last with which a message was whole: that is what is acknowledged."""
        self._pieces: list[bytes] = []
        self.other = ""
        """The process at the other end; "" before it has greeted."""
        self.greeted = False
        self.version = VERSION
        """What the other end speaks."""
        self.size = 0
        """Bytes that wait for an ack."""

    def post(self, message: Any) -> None:
        """Send this when there is a connection."""
        data = _encode(message)
        if len(data) <= _FRAME:
            self._put(data)
            return
        for at in range(0, len(data), _PIECE):
            self._put(_encode(Piece(data[at : at + _PIECE], at + _PIECE >= len(data))))

    def _put(self, data: bytes) -> None:
        self._last += 1
        self._out.append(data)
        self.size += len(data)

    def connected(self) -> bytes:
        """A new connection: the frame to send first."""
        self.greeted = False
        return _encode((0, 0, [Greeting(self._process, self.other, self._whole, VERSION)]))

    def frames(self, *, ack: bool = True) -> list[bytes]:
        """What may be sent now."""
        if not self.greeted:
            return []
        found: list[bytes] = []
        while self._next < self._last:
            first = self._next + 1
            parts: list[msgspec.Raw] = []
            size = 0
            while self._next < self._last:
                data = self._out[self._next - self._acked]
                if parts and size + len(data) > _FRAME:
                    break
                parts.append(msgspec.Raw(data))
                size += len(data)
                self._next += 1
            found.append(_encode((first, self._whole, parts)))
        if not found and ack:
            found.append(_encode((0, self._whole, [])))
        return found

    def take(self, frame: bytes) -> list[Any]:
        """What is new in a frame. Raises msgspec.MsgspecError when it is none of ours."""
        first, ack, messages = self._decode(frame)
        if not first:
            for message in messages:
                if isinstance(message, Greeting):
                    self._greet(message)
            self._forget(ack)
            return []
        self._forget(ack)
        if self._received == 0:
            self._received = self._whole = first - 1
        new: list[Any] = []
        for message in messages[max(0, self._received + 1 - first) :]:
            self._received += 1
            if type(message) is not Piece:
                new.append(message)
            elif not self._joined(message):
                continue
            else:
                new.append(self._decode_whole(b"".join(self._pieces)))
                self._pieces.clear()
            self._whole = self._received
        return new

    def _joined(self, piece: Piece) -> bool:
        """Whether it was the last of its message."""
        self._pieces.append(piece.data)
        if len(self._pieces) * _PIECE > BLOB_MAX:
            raise msgspec.ValidationError(f"a message of more than {BLOB_MAX} bytes")
        return piece.last

    def _greet(self, greeting: Greeting) -> None:
        self.greeted = True
        self.version = greeting.version
        if greeting.process != self.other:
            # Another process: its numbers begin anew, and what the last one had not taken is for it, too.
            self.other = greeting.process
            self._received = self._whole = 0
            self._pieces.clear()
        # What it received of another process than this one says nothing about what this one sent.
        received = greeting.received if greeting.of == self._process else self._acked
        self._next = self._acked
        self._forget(received)

    def _forget(self, ack: int) -> None:
        while self._acked < min(ack, self._last):
            self._acked += 1
            self.size -= len(self._out.popleft())
        self._next = max(self._next, self._acked)
