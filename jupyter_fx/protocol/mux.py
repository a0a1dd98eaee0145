"""Several byte streams on one: what carries an endpoint's connections over the standard streams of `ssh`. Sans-I/O.

A frame is `!BII` (kind, channel, length) and so many bytes. Each channel has a window: a side sends at most WINDOW
bytes more than the other has handed on, so that a stream which nobody reads (a large blob) holds no other up (SSH's own
channels do the same, RFC 4254, section 5.2). The side that opens channels is the one near the agent.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec

from jupyter_fx.errors import RemoteProtocolError

__all__ = ["CHANNELS_MAX", "CHUNK", "MARK", "WINDOW", "Frame", "Kind", "Reader", "Windows", "control", "frame", "more"]

MARK: Final = b"\n-- jupyter-fx bridge 1 --\n"
"""What the far side writes first. Whatever a login shell wrote before is left out."""
GREETING_MAX: Final = 64 * 1024
"""Bytes of such talk that are read before it counts as no answer."""
CHUNK: Final = 64 * 1024
"""Bytes of a DATA frame, at most."""
WINDOW: Final = 1024 * 1024
CHANNELS_MAX: Final = 16
CONTROL_MAX: Final = 64 * 1024

_HEAD: Final = struct.Struct("!BII")
_COUNT: Final = struct.Struct("!I")


class Kind:
    """Kinds of frames."""

    CONTROL = 1
    OPEN = 2
    DATA = 3
    CLOSE = 4
    MORE = 5
    """So many bytes (`!I`) were handed on: the window is wider by them."""


class Frame(NamedTuple):
    """A frame that was read."""

    kind: int
    channel: int
    data: bytes

    @property
    def amount(self) -> int:
        """The number that a MORE frame tells."""
        if len(self.data) != _COUNT.size:
            raise RemoteProtocolError("a MORE frame of the ssh bridge has no number")
        return int(_COUNT.unpack(self.data)[0])

    @property
    def told(self) -> dict[str, Any]:
        """What a CONTROL frame tells."""
        try:
            found = msgspec.json.decode(self.data)
        except msgspec.MsgspecError as error:
            raise RemoteProtocolError(f"a control frame of the ssh bridge is no JSON: {error}") from error
        if not isinstance(found, dict):
            raise RemoteProtocolError("a control frame of the ssh bridge is no object")
        return found


def frame(kind: int, channel: int = 0, data: bytes = b"") -> bytes:
    """The bytes of a frame."""
    return _HEAD.pack(kind, channel, len(data)) + data


def control(**told: Any) -> bytes:
    """The bytes of a CONTROL frame."""
    return frame(Kind.CONTROL, 0, msgspec.json.encode(told))


def more(channel: int, count: int) -> bytes:
    """The bytes of a MORE frame."""
    return frame(Kind.MORE, channel, _COUNT.pack(count))


class Reader:
    """From bytes to frames. `greeting`: look for MARK first."""

    def __init__(self, *, greeting: bool = False) -> None:
        self._buffer = bytearray()
        self._greeting = greeting

    @property
    def talk(self) -> str:
        """What stood there instead of MARK, so far."""
        return bytes(self._buffer[-2000:]).decode("utf-8", "replace").strip() if self._greeting else ""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take bytes, give the frames that are whole. RemoteProtocolError for what is none."""
        buffer = self._buffer
        buffer += data
        if self._greeting:
            # The mark stands on a line of its own, which may be the first one.
            at = (b"\n" + buffer).find(MARK)
            if at < 0:
                if len(buffer) > GREETING_MAX:
                    raise RemoteProtocolError(f"no bridge answered, but: {self.talk[-300:]}")
                return
            del buffer[: at + len(MARK) - 1]
            self._greeting = False
        while len(buffer) >= _HEAD.size:
            kind, channel, length = _HEAD.unpack_from(buffer)
            most = CONTROL_MAX if kind == Kind.CONTROL else CHUNK
            if not Kind.CONTROL <= kind <= Kind.MORE or length > most:
                raise RemoteProtocolError(f"the ssh bridge sent a frame of kind {kind} and {length} bytes")
            end = _HEAD.size + length
            if len(buffer) < end:
                return
            found = Frame(kind, channel, bytes(buffer[_HEAD.size : end]))
            del buffer[:end]
            yield found


class Windows:
    """What may be sent and what may come in on one channel."""

    def __init__(self) -> None:
        self.free = WINDOW
        """Bytes that may be sent now."""
        self._expected = WINDOW
        self._handed = 0

    def sent(self, count: int) -> None:
        """So many were sent."""
        self.free -= count

    def widened(self, count: int) -> None:
        """The other side has handed so many on. RemoteProtocolError when it never had them."""
        self.free += count
        if self.free > WINDOW:
            raise RemoteProtocolError("the other side of the ssh bridge acknowledged what was never sent")

    def came(self, count: int) -> None:
        """So many came in. RemoteProtocolError when there was no room for them."""
        self._expected -= count
        if self._expected < 0:
            raise RemoteProtocolError("the other side of the ssh bridge sent more than its window")

    def handed_on(self, count: int) -> int:
        """So many were handed on; how many to tell the other side now (0: later)."""
        self._handed += count
        if self._handed < WINDOW // 4:
            return 0
        told, self._handed = self._handed, 0
        self._expected += told
        return told
