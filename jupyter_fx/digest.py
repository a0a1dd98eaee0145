"""BLAKE3 digests of bytes: the names of functions, payloads and blobs."""

from __future__ import annotations

from collections.abc import Iterable

from blake3 import blake3

__all__ = ["digest", "digest_parts"]

_THREADED = 1 << 20  # above this many bytes the threads of BLAKE3 pay


def digest(data: bytes | bytearray | memoryview) -> str:
    """The BLAKE3 digest of `data`: 64 hexadecimal digits."""
    if len(data) >= _THREADED:
        return blake3(data, max_threads=blake3.AUTO).hexdigest()
    return blake3(data).hexdigest()


def digest_parts(parts: Iterable[bytes | bytearray | memoryview]) -> str:
    """The digest of the parts one after another, without joining them."""
    parts = list(parts)
    large = any(memoryview(part).nbytes >= _THREADED for part in parts)
    hasher = blake3(max_threads=blake3.AUTO) if large else blake3()
    for part in parts:
        hasher.update(part)
    return hasher.hexdigest()
