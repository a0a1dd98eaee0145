"""What a task is called where people read of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jupyter_fx.errors import UsageError

__all__ = ["name_of_task"]


_known: dict[str, str] = {}


def name_of_task(client: Any, info: Mapping[str, Any], known: dict[str, str] = _known) -> str:
    """A task's name for people: its own, else its function's. `known` remembers {digest: name} between calls."""
    digest = info.get("function") or ""
    if info.get("name") or not digest:
        return str(info.get("name") or "")
    if digest not in known:
        try:
            known[digest] = str(client.request("functions.get", {"digest": digest}).get("name", ""))
        except UsageError:
            known[digest] = ""
    return known[digest]
