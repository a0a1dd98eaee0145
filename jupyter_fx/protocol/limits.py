"""Every limit of the wire, in one place. Enforced before memory is spent."""

from __future__ import annotations

from typing import Final

__all__ = [
    "BLOB_CHUNK",
    "BLOB_MAX",
    "FRAME_MAX",
    "HOME_LIMIT",
    "INLINE_MAX",
    "MAP_ITEMS_MAX",
    "NAME_MAX",
    "PARTS_MAX",
    "PART_MIN",
    "PAYLOAD_MAX",
    "REQUESTS_MAX",
    "RESULT_HOME_MAX",
    "STREAM_FRAME_MAX",
    "STREAM_HEAD",
    "STREAM_TAIL",
    "TASKS_PER_FRAME",
    "UNACKED_MAX",
    "WANTED_MAX",
]

KIB: Final = 1024
MIB: Final = 1024 * KIB

FRAME_MAX: Final = 1 * MIB
"""Bytes of one frame."""
INLINE_MAX: Final = 256 * KIB
"""Bytes of a payload or result inside a message; a larger one travels as a blob."""
BLOB_CHUNK: Final = 512 * KIB
"""Bytes of one chunk of a blob."""
BLOB_MAX: Final = 1024 * MIB
"""Bytes of one blob: the largest argument or captured value that travels through the hub."""
PART_MIN: Final = 1 * MIB
"""Bytes from which on a buffer of a payload (an array's memory) is a blob of its own, a *part*."""
PARTS_MAX: Final = 64
"""Parts of one payload; the largest buffers are."""
PAYLOAD_MAX: Final = 4 * BLOB_MAX
"""Bytes of one payload with its parts."""
RESULT_HOME_MAX: Final = 64 * MIB
"""Bytes of a result that comes home by itself; a larger one stays at its endpoint as a result ref."""
WANTED_MAX: Final = BLOB_MAX - 64 * MIB
"""Bytes of all that a cell is asked to bring home: what else it assigned is in the same blob."""
HOME_LIMIT: Final = 1 * MIB
"""Bytes of one assigned name of a cell that comes home by itself."""
TASKS_PER_FRAME: Final = 4096
"""Tasks in one Submit or Dispatch message."""
MAP_ITEMS_MAX: Final = 1_000_000
"""Items in one map chunk."""
UNACKED_MAX: Final = 64 * MIB
"""Bytes that one side of a link keeps for redelivery before its sender has to wait."""
REQUESTS_MAX: Final = 256
"""Requests of one link that are being answered at a time."""
STREAM_FRAME_MAX: Final = 64 * KIB
"""Bytes of text in one Output."""
STREAM_HEAD: Final = 256 * KIB
STREAM_TAIL: Final = 1 * MIB
"""Bytes of a task's text that the hub keeps from its beginning and from its end."""
NAME_MAX: Final = 200
"""Characters of a display name (task, function)."""
