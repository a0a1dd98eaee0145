"""How large a value is, told before any memory is spent on it, and the sentence for one that is too large."""

from __future__ import annotations

from typing import Any, Final

from jupyter_fx.errors import PayloadError
from jupyter_fx.protocol.limits import BLOB_MAX

__all__ = ["CURE", "PLAIN", "known_size", "mib", "too_big"]

PLAIN: Final = frozenset((int, float, bool, type(None), complex))
CURE: Final = (
    "keep the data there (make it in a remote cell, or read it from a file at the endpoint) and pass a reference to it"
)


def known_size(value: Any, depth: int = 2) -> int:
    """Bytes of `value` as far as they can be told without pickling it: buffers, arrays, frames, text, one or two
    levels of containers."""
    kind = type(value)
    if kind in PLAIN:
        return 0
    if kind in {bytes, bytearray, str}:
        return len(value)
    if kind is memoryview:
        return int(value.nbytes)
    if depth and kind in {list, tuple, set, frozenset}:
        return sum(known_size(item, depth - 1) for item in value) if len(value) <= 10_000 else 0
    if depth and kind is dict:
        return sum(known_size(item, depth - 1) for item in value.values()) if len(value) <= 10_000 else 0
    return _own_size(value)


def _own_size(value: Any) -> int:
    # Only types of libraries known to mean bytes by nbytes: asking an arbitrary object could run anything.
    module = type(value).__module__.partition(".")[0]
    if module in {"numpy", "pandas", "torch", "cupy", "xarray", "pyarrow", "polars", "array"}:
        try:
            if module == "pandas" and hasattr(value, "memory_usage"):
                used = value.memory_usage()
                return int(used.sum() if hasattr(used, "sum") else used)
            return int(getattr(value, "nbytes", 0))
        except Exception:  # noqa: BLE001 a size is only a hint; pickling will tell
            return 0
    return 0


def too_big(name: str, value: Any, size: int = 0) -> PayloadError:
    """The refusal of a value above the limit of a blob; `size` 0: as far as it can be told."""
    known = size or known_size(value, depth=6)
    has = mib(known) if known > BLOB_MAX else f"more than {mib(BLOB_MAX)}"
    return PayloadError(f"{name} ({type(value).__name__}) has {has}, the limit is {mib(BLOB_MAX)}: {CURE}")


def mib(size: int) -> str:
    """A number of bytes for people."""
    return f"{size / 2**20:,.0f} MiB" if size >= 1 << 20 else f"{size:,} bytes"
