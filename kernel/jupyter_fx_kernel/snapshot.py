"""Cuts what a card says to the limits of its page, `card.schema.json`: the one place where they are written down.

Much of it comes from elsewhere (labels of bars, reasons, error messages), so nothing is taken as it is: text loses its
control characters and what is too long of it, lists their ends, numbers what JSON cannot say.
"""

from __future__ import annotations

import functools
import json
import math
import re
from importlib.resources import files
from typing import Any, Final

__all__ = ["MIME", "fit", "schema", "tail_of"]

MIME: Final = "application/vnd.jupyter-fx.task+json"
"""The MIME type of a card."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""What no text of a card holds: control characters, and those that turn the direction of writing."""
_CONTROL_BUT_ESCAPE = re.compile(_CONTROL.pattern.replace(r"\x0b-\x1f", r"\x0b-\x1a\x1c-\x1f"))
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?", re.DOTALL)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@functools.cache
def schema() -> dict[str, Any]:
    """The page, as data."""
    found: dict[str, Any] = json.loads((files("jupyter_fx_kernel") / "card.schema.json").read_text("utf-8"))
    return found


def fit(value: Any, part: dict[str, Any] | None = None) -> Any:
    """`value` within the limits of `part` of the page (by default: of a whole card)."""
    part = schema() if part is None else part
    if "$ref" in part:
        part = schema()["$defs"][part["$ref"].rpartition("/")[2]]
    if isinstance(value, dict):
        known = part["properties"]
        return {key: tail_of(item) if key == "tail" else fit(item, known[key]) for key, item in value.items()}
    if isinstance(value, list):
        return [fit(item, part["items"]) for item in value[: part["maxItems"]]]
    if isinstance(value, str):
        return _text(value, part.get("maxLength"))
    if isinstance(value, float):
        if not math.isfinite(value):
            value = None if "null" in part.get("type", ()) else 0.0
        else:
            value = round(value, 3)
    if value is not None and not isinstance(value, bool) and value < part.get("minimum", value):
        value = part["minimum"]
    return value


def _text(value: str, limit: int | None) -> str:
    if limit is not None:
        value = value[: 4 * limit]  # what is cut away is not looked at
    value = value.encode("utf-8", "replace").decode()
    value = _CONTROL.sub("", _ESCAPE.sub("", value) if "\x1b" in value else value)
    return value if limit is None or len(value) <= limit else value[: limit - 1] + "…"


def tail_of(text: str) -> str:
    """The last whole lines of what a task printed, as a card holds them: at most 8 KiB, of all escapes colours only."""
    limit: int = schema()["properties"]["tail"]["maxLength"]
    text = text[-4 * limit :].encode("utf-8", "replace").decode()
    text = _ESCAPE.sub(lambda found: found[0] if _COLOUR.fullmatch(found[0]) else "", text)
    lines = [_CONTROL_BUT_ESCAPE.sub("", line.rpartition("\r")[2]) for line in text.replace("\r\n", "\n").split("\n")]
    text = "\n".join(lines)
    data = text.encode()
    if len(data) > limit:
        cut = data[-limit:]
        newline = cut.find(b"\n")
        text = (cut[newline + 1 :] if 0 <= newline < limit - 1 else cut).decode("utf-8", "ignore")
    return text
