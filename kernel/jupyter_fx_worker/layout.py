"""The bytes of envelopes: a JSON header that says what one is, one pickled value, its out-of-band buffers.

Layout: `b"FXE1"`, `!I` header length, JSON header, pickle, then each out-of-band buffer at the next multiple of 64
bytes (counted from the start of the envelope; the gaps are zeros). The sizes are in the header's `b`. Protocol 5 (PEP
574).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Collection, Sequence
from typing import Any, Union

from jupyter_fx_worker.codes import PYTHON

__all__ = [
    "ALIGN",
    "MAGIC",
    "MAX_HEADER",
    "MAX_INLINE_EVER",
    "PYTHON",
    "Buffer",
    "EnvelopeError",
    "Header",
    "assemble",
    "peek",
    "size_of",
]

MAGIC = b"FXE1"
MAX_HEADER = 1 << 20
ALIGN = 64
# A frame body holds at most 1 GiB; this leaves room for the other results of the same frame.
MAX_INLINE_EVER = (1 << 30) - (1 << 22)

Buffer = Union[bytes, bytearray, memoryview]
Header = dict[str, Any]

_PREFIX = struct.Struct("!4sI")
_PY_JSON = f'"py":[{PYTHON[0]},{PYTHON[1]}]'
_ZEROS = bytes(ALIGN)
_headers: dict[bytes, Header] = {}


class EnvelopeError(ValueError):
    """These bytes are no envelope, or a damaged one."""


def assemble(
    data: bytes, buffers: Sequence[memoryview], kind: str, extra: Header, apart: Collection[int] = ()
) -> list[Buffer]:
    """Return the pieces of an envelope from what `pickled` returned, without the buffers whose numbers are in `apart`.

    Those have to be given to `loads`, in their order.
    """
    if not extra and not buffers:
        text = f'{{"k":"{kind}",{_PY_JSON},"b":[{len(data)}]}}'.encode()
        return [_PREFIX.pack(MAGIC, len(text)) + text + data]
    header = {"k": kind, "py": PYTHON, "b": [len(data), *(buffer.nbytes for buffer in buffers)], **extra}
    if apart:
        header["x"] = sorted(apart)
    text = json.dumps(header, separators=(",", ":"), default=str).encode("utf-8")
    if len(text) > MAX_HEADER:
        raise EnvelopeError(f"the header of this envelope has {len(text)} bytes, the limit is {MAX_HEADER}")
    pieces: list[Buffer] = [_PREFIX.pack(MAGIC, len(text)) + text, data]
    at = _PREFIX.size + len(text) + len(data)
    for number, buffer in enumerate(buffers):
        if number in apart:
            continue
        gap = -at % ALIGN
        if gap:
            pieces.append(_ZEROS[:gap])
        pieces.append(buffer)
        at += gap + buffer.nbytes
    return pieces


def size_of(pieces: Sequence[Buffer]) -> int:
    """Return how many bytes the pieces have together."""
    return sum(piece.nbytes if isinstance(piece, memoryview) else len(piece) for piece in pieces)


def peek(buffer: Buffer) -> tuple[Header, int]:
    """Return the header of an envelope and the offset of its pickle, without opening it.

    The header is shared: do not change it.
    """
    if len(buffer) < _PREFIX.size:
        raise EnvelopeError("too short for an envelope")
    magic, length = _PREFIX.unpack_from(buffer)
    end = _PREFIX.size + length
    if magic != MAGIC or length > MAX_HEADER or len(buffer) < end:
        raise EnvelopeError("not an envelope")
    text = bytes(buffer[_PREFIX.size : end])
    header = _headers.get(text)
    if header is None:
        try:
            header = json.loads(text)
        except ValueError:
            raise EnvelopeError("the header is not JSON") from None
        if not isinstance(header, dict) or not isinstance(header.get("b"), list) or not header["b"]:
            raise EnvelopeError("the header lacks its sizes")
        if len(text) < 512:
            # Small calls of one function differ in their pickles only: parsing their headers once is enough.
            if len(_headers) > 256:
                _headers.clear()
            _headers[text] = header
    return header, end
