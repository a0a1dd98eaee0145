"""Frames on a byte stream, each preceded by its length (`!I`): an asyncio protocol without tasks."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from typing import Any, Final, cast

from jupyter_fx.errors import RemoteProtocolError
from jupyter_fx.protocol.limits import FRAME_MAX
from jupyter_fx.transport.channel import WRITE_HIGH, Channel

__all__ = ["StreamChannel"]

_LENGTH: Final = struct.Struct("!I")


class StreamChannel(Channel, asyncio.Protocol):
    """A Channel on an asyncio stream transport; make one as the protocol of a connection."""

    def __init__(self, address: str = "") -> None:
        super().__init__(address)
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._error: Exception | None = None
        self._gone = False

    def known(self, name: str) -> Any:
        """What asyncio knows of the connection (see BaseTransport.get_extra_info)."""
        return None if self._transport is None else self._transport.get_extra_info(name)

    # Channel

    def start(self) -> None:
        """Begin to read."""
        self.resume_reading()

    def write(self, frames: Sequence[bytes]) -> None:
        """Write frames."""
        if self._transport is None or self._gone:
            return
        pieces: list[bytes] = []
        for frame in frames:
            pieces += (_LENGTH.pack(len(frame)), frame)
        self._transport.writelines(pieces)

    def close(self) -> None:
        """Write what is buffered, then close."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def pause_reading(self) -> None:
        """Read no more for now."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hold back reading until somebody listens."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH)
        self._transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """Cut frames out of what came; a rest waits for more. An oversized frame is refused on sight of its length."""
        if self._gone:
            return
        if self._buffer:
            self._buffer += data
            rest = self._cut(self._buffer)
            del self._buffer[:rest]
        else:
            rest = self._cut(data)
            if rest < len(data):
                self._buffer += data[rest:] if rest else data

    def _cut(self, data: bytes | bytearray) -> int:
        """Hand over the whole frames at the head of `data`; the number of bytes used."""
        at, end, unpack = 0, len(data), _LENGTH.unpack_from
        while end - at >= 4 and not self._gone:
            (length,) = unpack(data, at)
            if length > FRAME_MAX:
                self._refuse(RemoteProtocolError(f"a frame of {length} bytes is over the limit of {FRAME_MAX}"))
                return end
            stop = at + 4 + length
            if stop > end:
                break
            frame = data[at + 4 : stop]
            at = stop
            self.on_frame(frame if type(frame) is bytes else bytes(frame))
        return at

    def _refuse(self, error: Exception) -> None:
        self._gone = True
        self._error = error
        self.abort()

    def eof_received(self) -> bool:
        """Close when the other side does."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell it once."""
        self._gone = True
        self._buffer.clear()
        self.on_closed(self._error or exc)

    def pause_writing(self) -> None:
        """The write buffer is full."""
        self.paused = True

    def resume_writing(self) -> None:
        """It has room again."""
        self.paused = False
        self.on_writable()
