"""Public notebooks give under `%%remote` what they give locally.

They are not part of the project: JUPYTER_FX_NOTEBOOKS names folders or notebooks, separated by `:`.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

WHERE = os.environ.get("JUPYTER_FX_NOTEBOOKS", "")
LEAST = {"every": 0.98, "second": 0.97}
"""The share of cells that must show the same, by mode."""


def _fidelity() -> Any:
    """The module beside this file; it runs from the command line too."""
    spec = importlib.util.spec_from_file_location("fidelity", Path(__file__).with_name("fidelity.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["fidelity"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fidelity = _fidelity()


@pytest.fixture(scope="module")
def compared() -> Iterator[list[Any]]:
    """Each notebook in each mode."""
    if not WHERE:
        pytest.skip("no notebooks: JUPYTER_FX_NOTEBOOKS names the folders or notebooks to compare, separated by ':'")
    found = fidelity.notebooks_in([Path(place) for place in WHERE.split(":")])
    if not found:
        pytest.skip(f"there is no notebook in JUPYTER_FX_NOTEBOOKS={WHERE}")
    with fidelity.private_hub():
        yield [one for path in found for one in fidelity.compare(path, list(fidelity.MODES))]


@pytest.mark.parametrize("mode", list(LEAST))
def test_remote_cells_show_what_local_ones_do(compared: list[Any], mode: str) -> None:
    of_mode = [one for one in compared if one.mode == mode]
    print(fidelity.report(of_mode))
    assert fidelity.share(of_mode) >= LEAST[mode], fidelity.report(of_mode)


def test_what_differs_from_run_to_run_is_made_alike() -> None:
    folder = Path("/tmp/some/nb")
    text = "<object at 0x7f3a2b4c5d6e> in /tmp/some/nb/data.csv\r\nCPU times: user 3 ms\ntook 1.25 ms"
    assert fidelity.alike(text, folder) == "<object at 0x…> in <folder>/data.csv\n<timing>\ntook <time>"


def test_cells_that_no_two_local_runs_agree_on_are_counted_apart() -> None:
    shown = fidelity.Shown
    one = fidelity.Comparison(
        "n",
        "every",
        ["a", "b", "c"],
        local=[shown("1"), shown("2"), shown("3")],
        again=[shown("1"), shown("5"), shown("3")],
        remote=[shown("1"), shown("6"), shown(error="NameError")],
    )
    assert (one.repeatable, one.different) == ([0, 2], [2])
    assert fidelity.share([one]) == 0.5
    assert "1 of 2 the same (50.0%); 1 differ between local runs, 0 not run" in fidelity.report([one])
