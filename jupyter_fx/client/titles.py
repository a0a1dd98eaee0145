"""What a task is called where people read of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from jupyter_fx.errors import UsageError

__all__ = ["name_of_task"]

_names: dict[str, str] = {}
"""Of functions, by digest. One that a hub does not have now may come, or be at another hub: that is not remembered."""
_MOST: Final = 1000


def name_of_task(client: Any, info: Mapping[str, Any], known: dict[str, str] | None = None) -> str:
    """A task's name for people: its own, else its function's.

    `known`: {digest: name} for as long as one list is made, with "" for functions that the hub does not have.
    """
    digest = info.get("function") or ""
    if info.get("name") or not digest:
        return str(info.get("name") or "")
    names = _names if known is None else known
    if digest in names:
        return names[digest]
    try:
        name = str(client.request("functions.get", {"digest": digest}).get("name", ""))
    except UsageError:
        name = ""
    if known is not None or name:
        if len(names) >= _MOST:
            names.clear()
        names[digest] = name
    return name
