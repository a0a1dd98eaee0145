"""The first failures of a map chunk in words, for whoever counts them without opening results: cards, the hub."""

from __future__ import annotations

import reprlib
from typing import Any

__all__ = ["MOST", "told"]

MOST = 3
"""Failures of one chunk that are told."""
_INPUT, _ERROR = 200, 300


class _Repr(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 160
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = 6


_shortened = _Repr().repr


def told(index: int, item: Any, error: BaseException) -> list[Any]:
    """[index, repr of the item, type and message of the error], whatever the user's classes do."""
    try:
        shown = _shortened(item)
    except Exception:
        shown = f"a {type(item).__name__}"
    kind = type(error).__name__
    try:
        said = str(error).partition("\n")[0]
    except Exception:
        said = ""
    return [index, shown[:_INPUT], (f"{kind}: {said}" if said else kind)[:_ERROR]]
