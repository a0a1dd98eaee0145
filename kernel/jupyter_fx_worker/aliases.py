"""Names that share objects: two names of one list, an array and a view of it.

A change through one shows through the other, so such names travel together, in one pickle, and share there too.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterable
from itertools import islice
from typing import Any

__all__ = ["parts", "root_of", "shared_roots"]

_WALK_MAX = 5_000
_PLAIN = (type, types.ModuleType, types.FunctionType, str, bytes, int, float, complex, type(None))
_LARGER_THAN_VIEWS = 4
_SMALL = 1 << 20


def parts(value: Any, limit: int = _WALK_MAX) -> set[int]:
    """Identities of the objects inside of `value` that can be changed and that another name might share.

    Arrays count by the array whose memory they show. At most `limit` objects are looked at.
    """
    seen: set[int] = set()
    found: set[int] = set()
    todo: list[Any] = [value]
    left = limit
    while todo and left:
        left -= 1
        part = todo.pop()
        if isinstance(part, _PLAIN):
            continue
        part = root_of(part)
        if id(part) in seen:
            continue
        seen.add(id(part))
        if getattr(type(part), "_fx_handle_", False):
            # It stands for a value elsewhere; what it holds here, say its client, is no part of that.
            found.add(id(part))
        elif isinstance(part, dict):
            found.add(id(part))
            todo += islice(part.values(), left)
        elif isinstance(part, (list, set, tuple, frozenset)):
            if isinstance(part, (list, set)):
                found.add(id(part))
            todo += islice(part, left)
        elif type(part).__module__.partition(".")[0] == "pandas":
            # Frames copy on write; what they share inside nobody can change.
            found.add(id(part))
        else:
            inner = _attributes(part)
            if inner is not None:
                todo += islice(inner.values(), left)
            if inner is not None or isinstance(part, bytearray) or hasattr(type(part), "__array_interface__"):
                found.add(id(part))
    return found


def _attributes(value: Any) -> dict[str, Any] | None:
    try:
        inner = value.__dict__
    except Exception:
        return None
    return inner if isinstance(inner, dict) else None


def root_of(value: Any) -> Any:
    """Return the array whose memory `value` shows; anything but an array is its own."""
    array_type = getattr(sys.modules.get("numpy"), "ndarray", ())
    while isinstance(value, array_type) and isinstance(getattr(value, "base", None), array_type):
        value = value.base
    return value


def shared_roots(values: Iterable[Any]) -> dict[int, Any]:
    """Return, by identity, the arrays whose memory several of `values` show and that are worth sending whole."""
    array_type: Any = getattr(sys.modules.get("numpy"), "ndarray", None)
    if array_type is None:
        return {}
    shown: dict[int, list[Any]] = {}
    for value in values:
        if type(value) is array_type:
            shown.setdefault(id(root_of(value)), []).append(value)
    found = {}
    for views in shown.values():
        root: Any = root_of(views[0])
        small = root.nbytes <= max(_SMALL, _LARGER_THAN_VIEWS * sum(view.nbytes for view in views))
        if (
            len(views) > 1
            and type(root) is array_type
            and root.flags.c_contiguous
            and not root.dtype.hasobject
            and small
        ):
            found[id(root)] = root
    return found
