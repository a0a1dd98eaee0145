"""Warnings of a cell name it as the notebook does: `Cell In[3], line 2`, not the name its code was compiled under."""

from __future__ import annotations

import re
import warnings
from typing import Any

__all__ = ["install"]

_CELL = re.compile(r"<fx-cell:[0-9a-f]+-(\d+)>:(\d+): ")


def install() -> None:
    """Have warnings written so, in this process."""
    before = warnings.formatwarning
    if getattr(before, "fx_cells", False):
        return

    def formatwarning(*args: Any, **kwargs: Any) -> str:
        return _CELL.sub(r"Cell In[\1], line \2: ", before(*args, **kwargs), count=1)

    formatwarning.fx_cells = True  # type: ignore[attr-defined]
    warnings.formatwarning = formatwarning
