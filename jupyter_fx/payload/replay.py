"""The value of a cell's last expression, out of what was shown of it there."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

__all__ = ["Replay", "value_of"]


class Replay:
    """A value that stayed there, shown by the representation that was made there."""

    def __init__(self, data: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        self._data = dict(data)
        self._metadata = dict(metadata)

    def _repr_mimebundle_(self, **_options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return self._data, self._metadata

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # what front ends and libraries look for, of any object
            raise AttributeError(name)
        raise AttributeError(
            f"no .{name} here: this value stayed there, because it is large or cannot be pickled, and what was shown "
            "of it came; assign it to a variable in the remote cell, and use that"
        )

    def __repr__(self) -> str:
        return str(self._data.get("text/plain", "<a remote value>"))


def value_of(data: Mapping[str, Any], metadata: Mapping[str, Any]) -> Any:
    """The value of a last expression: plain data itself when its text says exactly what it is, else a Replay."""
    text = data.get("text/plain")
    if set(data) == {"text/plain"} and isinstance(text, str) and len(text) < 1 << 16:
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return Replay(data, metadata)
        if repr(value) == text:
            return value
    return Replay(data, metadata)
