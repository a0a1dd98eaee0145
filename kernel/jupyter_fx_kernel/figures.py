"""Figures that came home are shown as pictures, also where nothing has loaded pyplot yet."""

from __future__ import annotations

import functools
import os
from typing import Any

__all__ = ["show_figures"]

_KINDS = ("image/png", "image/svg+xml", "image/jpeg", "application/pdf")


def show_figures(shell: Any) -> None:
    """Have the shell draw matplotlib's figures from the first one on, as its inline backend would; imports nothing."""
    for kind in _KINDS:
        formatter = shell.display_formatter.formatters.get(kind)
        if formatter is not None:
            draw = functools.partial(_first, shell, formatter)
            formatter.for_type_by_name("matplotlib.figure", "Figure", draw)


def _first(shell: Any, formatter: Any, figure: Any) -> Any:
    """The first figure: from here on matplotlib's own formatters draw, in the formats that were asked for."""
    if "inline" not in os.environ.get("MPLBACKEND", ""):
        return None
    from IPython.core.pylabtools import select_figure_formats
    from matplotlib_inline.config import InlineBackend

    backend = InlineBackend.instance(parent=shell)
    select_figure_formats(shell, backend.figure_formats, **backend.print_figure_kwargs)
    try:
        draw = formatter.lookup(figure)
    except KeyError:  # a format that nobody asked for
        return None
    return draw(figure)
