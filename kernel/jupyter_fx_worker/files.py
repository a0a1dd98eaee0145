"""Payloads and results that are too large for a frame: they travel as files."""

from __future__ import annotations

import mmap
import os
import secrets
from collections.abc import Sequence
from typing import Any

from jupyter_fx_worker import envelope

__all__ = ["MAX_INLINE", "contents", "shown", "spill"]

MAX_INLINE = 256 * 1024


def shown(path: str) -> memoryview:
    """The bytes of a file as memory that may be written to: pages are read when they are touched, copied when changed.

    The file itself is never changed, and may be deleted meanwhile.
    """
    with open(path, "rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))


def contents(path: str) -> bytes:
    """The bytes of a file."""
    with open(path, "rb") as file:
        return file.read()


def spill(parts: Sequence[envelope.Buffer], opts: dict[str, Any]) -> dict[str, Any] | None:
    """Write an envelope above `max_inline` to a file in `spill`.

    Return {path, bytes}, or None when it may travel inline.
    """
    folder = opts.get("spill") if opts else None
    size = envelope.size_of(parts)
    if not folder or size <= opts.get("max_inline", MAX_INLINE):
        return None
    path = os.path.join(folder, f"{secrets.token_hex(12)}.fxe")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(fd, "wb") as file:
            file.writelines(parts)
    except OSError:
        os.unlink(path)
        raise
    return {"path": path, "bytes": size}
