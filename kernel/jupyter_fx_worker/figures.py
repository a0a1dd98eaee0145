"""Figures where matplotlib_inline is missing: after each cell its open figures are displayed and closed."""

from __future__ import annotations

import importlib.util
import io
import os
import sys
import traceback
import warnings
from typing import Any, Callable

__all__ = ["prepare", "show_all"]


def prepare() -> None:
    """Let matplotlib draw into memory. Imports nothing; programs that user code starts find this backend too."""
    if importlib.util.find_spec("matplotlib") is not None:
        # A notebook's kernel, whose child our endpoint may be, says what this environment does not have.
        if "inline" in os.environ.get("MPLBACKEND", "inline"):
            os.environ["MPLBACKEND"] = "agg"
        # plt.show() of this backend only says that it shows nothing; the figure comes with the end of the cell.
        warnings.filterwarnings("ignore", message=".*non-interactive, and thus cannot be shown")


def show_all(display: Callable[[str, dict[str, Any]], None]) -> None:
    """Display the figures that are open, and close them. What goes wrong is printed: the cell itself went well."""
    pyplot: Any = sys.modules.get("matplotlib.pyplot")
    if pyplot is None:
        return
    try:
        for number in pyplot.get_fignums():
            figure, png = pyplot.figure(number), io.BytesIO()
            figure.savefig(png, format="png", bbox_inches="tight", dpi=figure.dpi)
            data = {"text/plain": repr(figure), "image/png": png.getvalue()}
            display("display_data", {"data": data, "metadata": {}, "transient": {}})
    except Exception:
        traceback.print_exc()
    finally:
        pyplot.close("all")
