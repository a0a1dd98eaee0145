"""What an error record says of a frame beside its place: the lines around it, and the values in it if that was asked.

Both are bounded before they are made into text. Values travel only when the notebook asked for them: a `repr` runs the
user's code, and the record is kept with its task.
"""

from __future__ import annotations

import linecache
import re
import reprlib
from typing import Any

__all__ = ["is_secret", "more_of"]

_AROUND = 2
_LINE = 160
_FRAMES = 12
"""Innermost frames of which more is told than their place."""
_NAMES = 30
_VALUE = 200
_SECRET = re.compile(r"pass(word|wd|phrase)?|secret|token|api_?key|credential", re.IGNORECASE)

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = _VALUE
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = _SHORT.maxset = _SHORT.maxfrozenset = 6


def is_secret(name: str) -> bool:
    """Whether what is called so is not to be told: a password, a token."""
    return _SECRET.search(name) is not None


def more_of(frames: list[tuple[Any, int]], values: bool) -> list[dict[str, Any]]:
    """For each (frame, line), the innermost last: {"around": [first line, [lines]], "locals": {name: repr}}."""
    skipped = max(0, len(frames) - _FRAMES)
    made: list[dict[str, Any]] = [{} for _ in range(skipped)]
    for frame, line in frames[skipped:]:
        told: dict[str, Any] = {}
        lines = linecache.getlines(frame.f_code.co_filename, frame.f_globals)
        if lines and line:
            first = max(1, line - _AROUND)
            told["around"] = [first, [text.rstrip("\n")[:_LINE] for text in lines[first - 1 : line + _AROUND]]]
        if values:
            told["locals"] = _values(frame)
        made.append(told)
    return made


def _values(frame: Any) -> dict[str, str]:
    """Reprs of a function's locals; of a cell's frame, of the names that its code mentions."""
    names = list(frame.f_locals)
    if frame.f_locals is frame.f_globals:
        mentioned = set(frame.f_code.co_names)
        names = [name for name in names if name in mentioned]
    names = [name for name in names if not name.startswith("__")]
    return {name: _shown(name, frame.f_locals.get(name)) for name in names[:_NAMES]}


def _shown(name: str, value: Any) -> str:
    if is_secret(name):
        return "<not sent: its name sounds like a secret>"
    try:
        return _SHORT.repr(value)[: 2 * _VALUE]
    except Exception as problem:
        return f"<a {type(value).__name__}; its repr raised {type(problem).__name__}>"
