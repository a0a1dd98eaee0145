"""Figures where there is no IPython: displayed when the cell is over, in a process of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

CELL = """
import asyncio, os, sys
os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
from jupyter_fx_worker import cells, plain
engine = plain.PlainEngine(cells.fresh_main())
assert "matplotlib" not in sys.modules and os.environ["MPLBACKEND"] == "agg"
shown = []
class Session:
    def display(self, kind, content):
        shown.append((kind, content["data"]))
engine._session = Session()
source = "%matplotlib inline\\nimport matplotlib.pyplot as plt\\nplt.plot([1, 2])\\nplt.show()\\nplt.figure();"
for _ in range(2):
    error = asyncio.run(engine.execute(source, "<cell>", 1, False))
    assert error is None, error
    engine.after(False)
kinds = [(kind, data["text/plain"], data["image/png"][:4]) for kind, data in shown]
assert kinds == [
    ("display_data", "<Figure size 640x480 with 1 Axes>", b"\\x89PNG"),
    ("display_data", "<Figure size 640x480 with 0 Axes>", b"\\x89PNG"),
] * 2, kinds
"""


def test_figures_come_with_the_end_of_the_cell() -> None:
    pytest.importorskip("matplotlib")
    command = [sys.executable, "-W", "error::UserWarning", "-c", CELL]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
