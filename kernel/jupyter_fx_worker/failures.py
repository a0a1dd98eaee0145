"""The first failures of a map chunk in words, for whoever counts them without opening results: cards, the hub."""

from __future__ import annotations

import reprlib
from typing import Any

__all__ = ["MOST", "said", "shown_item", "told"]

MOST = 3
"""Failures of one chunk that are told."""
_INPUT, _ERROR = 200, 300


class _Repr(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 160
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = 6


_shortened = _Repr().repr


def shown_item(item: Any) -> str:
    """`repr` of an item, shortened, whatever its class does: it must not hide the failure that it belongs to."""
    try:
        return _shortened(item)
    except Exception:
        return f"a {type(item).__name__}"


def said(error: BaseException) -> str:
    """Type and message of an error in a line, whatever its class does: its type is known all the same."""
    kind = type(error).__name__
    try:
        message = str(error).partition("\n")[0]
    except Exception:
        message = ""
    return f"{kind}: {message}" if message else kind


def told(index: int, item: Any, error: BaseException) -> list[Any]:
    """[index, the item, the error], in words."""
    return [index, shown_item(item)[:_INPUT], said(error)[:_ERROR]]
