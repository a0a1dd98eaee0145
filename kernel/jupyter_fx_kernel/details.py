"""What else is known of an error of the machinery, beyond its sentence: folded where something can be folded."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any, Final

from jupyter_fx.errors import FxError
from jupyter_fx_kernel.screens import is_rich

__all__ = ["details_of", "folded"]

_ROWS: Final = {
    "signal": "signal",
    "exit_code": "exit code",
    "finished": "items finished",
    "node": "node",
    "job": "job",
    "attempt": "attempt",
}
_LINES: Final = 40


def details_of(error: BaseException) -> str:
    """Lines of plain text; empty when its sentence says all."""
    told: Mapping[str, Any] = getattr(error, "details", None) or {}
    rows = [f"{name}: {told[key]}" for key, name in _ROWS.items() if told.get(key) not in (None, "")]
    if rss := told.get("rss"):
        rows.append(f"peak memory: {rss / 2**20:,.0f} MiB")
    for key in ("last_lines", "log"):
        said = told.get(key)
        lines = said.splitlines() if isinstance(said, str) else [str(line) for line in said or ()]
        if lines:
            rows += ["the last lines that it wrote:", *(f"    {line}" for line in lines[-_LINES:])]
    return "\n".join(rows)


def folded(shell: Any, error: FxError) -> bool:
    """Show them below the cell, folded, for an error that has no card; whether there was a way to."""
    text = details_of(error)
    if not text or not is_rich(shell):
        return False
    fold = f"<details><summary>Details</summary><pre>{html.escape(text)}</pre></details>"
    shell.display_pub.publish({"text/html": fold, "text/plain": text})
    return True
