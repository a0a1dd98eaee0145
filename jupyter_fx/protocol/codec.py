"""Frames: the msgpack array ``[first, ack, [message, …]]``, encoded message by message and read in one go.

A message is encoded once, when it is sent; frames, redeliveries included, are made by joining those bytes. What arrives
is measured before it is decoded, so that a stranger's bytes cost no more memory than a frame may.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from jupyter_fx.errors import LocalProtocolError, RemoteProtocolError
from jupyter_fx.protocol.limits import FRAME_MAX
from jupyter_fx.protocol.messages import Message

__all__ = ["FRAME_OVERHEAD", "MESSAGE_MAX", "Frame", "decode_frame", "encode_frame", "encode_message"]

FRAME_OVERHEAD: Final = 24
"""Bytes that a frame adds to its messages at most: array (1), first (9), ack (9), array (5)."""
MESSAGE_MAX: Final = FRAME_MAX - FRAME_OVERHEAD
"""Bytes of one encoded message."""

_Number = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class Frame(NamedTuple):
    """A frame that was read. `first`: number of its first message, 0 when they are passing ones."""

    first: int
    ack: int
    messages: list[Message]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[_Number, _Number, list[Message]]).decode


def encode_message(message: Any) -> bytes:
    """The bytes of one message; LocalProtocolError if they are over MESSAGE_MAX or cannot be made."""
    try:
        data = _encode(message)
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise LocalProtocolError(f"a {type(message).__name__} cannot be encoded: {error}") from error
    if len(data) > MESSAGE_MAX:
        raise LocalProtocolError(
            f"a {type(message).__name__} of {len(data)} bytes is over the limit of {MESSAGE_MAX}: "
            "send its payload as a blob"
        )
    return data


def encode_frame(first: int, ack: int, messages: Sequence[bytes]) -> bytes:
    """A frame of messages that are encoded already. The caller sees to it that it does not grow over FRAME_MAX."""
    count = len(messages)
    if count < 16:
        head = bytes((0x90 | count,))
    elif count < 0x10000:
        head = b"\xdc" + count.to_bytes(2, "big")
    else:
        head = b"\xdd" + count.to_bytes(4, "big")
    return b"".join((b"\x93", _encode(first), _encode(ack), head, *messages))


def decode_frame(data: bytes | bytearray | memoryview) -> Frame:
    """Read a frame, or raise RemoteProtocolError that names what is wrong with it."""
    if len(data) > FRAME_MAX:
        raise RemoteProtocolError(f"a frame of {len(data)} bytes is over the limit of {FRAME_MAX}")
    try:
        return Frame(*_decode(data))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteProtocolError(f"a frame cannot be read: {error}") from error
