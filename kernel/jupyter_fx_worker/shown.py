"""The value of a cell's last expression on its way home, beside what is shown of it."""

from __future__ import annotations

import math
from typing import Any

from jupyter_fx_worker import envelope, names

__all__ = ["NAME", "pack"]

NAME = "_fx_value_"
"""The name under which it travels among a cell's values: an envelope of its own, so that one that cannot be opened at
home takes nothing else with it."""
_TEXT_SAYS_IT = 1 << 14
# Opened at home, a figure would be drawn there once more; what was drawn is shown already.
_NOT_FROM = frozenset({"matplotlib"})


def pack(value: Any, limit: int, *, same_python: bool) -> bytes | None:
    """Return a `result` envelope of up to `limit` bytes; None when the text says all, or the value cannot come."""
    kind = type(value)
    if kind in (int, bool) or (kind is float and math.isfinite(value)):
        return None
    if kind in (str, bytes) and len(value) < _TEXT_SAYS_IT:
        return None
    try:
        if names.estimate(value) > limit:
            return None
        with envelope.collecting_modules() as met:
            data, buffers, code = envelope.pickled(value, limit)
    except Exception:
        return None  # it is shown as it is there, and stays
    if (code == envelope.BOUND and not same_python) or _NOT_FROM.intersection(name.partition(".")[0] for name in met):
        return None
    extra = {"made": envelope.versions(), **({"code": True} if code else {})}
    return b"".join(envelope.assemble(data, buffers, "result", extra))
