"""BLAKE3 digests of bytes: the names of functions, payloads and blobs."""

from __future__ import annotations

import os
from collections.abc import Iterable

from blake3 import blake3

__all__ = ["digest", "digest_parts"]

_THREADED = 1 << 20  # above this many bytes the threads of BLAKE3 pay
_threads = blake3.AUTO


def _forked() -> None:
    # BLAKE3's threads were not forked: who gave them work would wait for ever.
    global _threads  # noqa: PLW0603
    _threads = 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def digest(data: bytes | bytearray | memoryview) -> str:
    """The BLAKE3 digest of `data`: 64 hexadecimal digits."""
    if len(data) >= _THREADED:
        return blake3(data, max_threads=_threads).hexdigest()
    return blake3(data).hexdigest()


def digest_parts(parts: Iterable[bytes | bytearray | memoryview]) -> str:
    """The digest of the parts one after another, without joining them."""
    parts = list(parts)
    large = any(memoryview(part).nbytes >= _THREADED for part in parts)
    hasher = blake3(max_threads=_threads) if large else blake3()
    for part in parts:
        hasher.update(part)
    return hasher.hexdigest()
