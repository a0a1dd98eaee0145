"""The notebooks beyond the quickstart, run as their readers run them: each cell shows what its text says."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.integration.notebook.conftest import Kernel
from tests.integration.notebook.test_notebooks import ROOT, text_of

pytestmark = pytest.mark.slow
NOTEBOOKS = ROOT / "notebooks"
SECONDS = 90
"""On a machine that is busy with other tests; alone each takes 5 to 15 s."""

# What the outputs of each code cell must match, in order.
STORIES = {
    "parameter_sweep": [
        r"",
        r"-0\.24\d+",
        r"exponent on local · failed .* 47 of 47 done · 2 failed\n\s+item 45 \(\(1\.5, -2\.0\)\): ValueError[\s\S]*47$",
        r"45 settings done, 2 failed\n\(1\.5, -2\.0\) → a pendulum of quality -2\.0 cannot swing\n\(1\.0, 0\.0\) → ",
        r"image/png",
        r"15 of 45 settings are chaotic, with q = 2 at drives of 1\.15, 1\.20, 1\.25, 1\.50",
        r"(drive 1\.\d\d  exponent -0\.\d{3}\s+){6}",
    ],
    "long_training": [
        r"",
        r"<remote cell In\[\d+\] [0-9a-f]{8} (submitted|running)>",
        r"<remote cell In\[\d+\]",
        r"nearest neighbour: 0\.96\d; the training is (RUNNING|SUCCEEDED)",
        r"epoch  4  loss [\s\S]*epoch 20  loss [\s\S]*with loss and accuracy \(0\.\d+, 0\.9\d+\)\s+its names came",
        r"accuracy 0\.9\d+ after 20 epochs, with MLPClassifier; the baseline was 0\.96",
        r"image/png",
        r"epoch  4  loss [\s\S]*epoch 20  loss ",
    ],
    "big_data_stays": [
        r"",
        r"4,800,000 readings, 9\d MiB[\s\S]*readings stays on local \(larger than 1\.0 MiB\)",
        r"<remote readings: pandas\.DataFrame, \(4800000, 3\), 9\d\.\d MiB, on local; .*>\nndarray \(400,\)",
        r"mean\s+min\s+max[\s\S]*\n0 ",
        r"station\s+hour\s+celsius\s+month[\s\S]*\(np\.int64\(\d\), 17\)",
        r"image/png",
        r"readings +DataFrame \(4800000, 4\) +\d+\.\d MiB +In\[\d+\] +stays there",
        r"^\s*$",
        r"mask  ndarray \(4096000,\) float64  31\.\d MiB  will travel[\s\S]*31\.\d MiB would travel to local; no",
        r"",
        r"mask  ndarray \(4096000,\) float64  31\.\d MiB  already there[\s\S]*nothing would travel to local but",
        r"share 0\.250",
        r"[\d,]{9} hours of frost at \d+ stations",
    ],
    "function_library": [
        r"",
        r"4 lines, the deepest at \d{3}\.\d nm",
        r"4 lines found by spectra there",
        r"True True[\s\S]*Line\(center=\d{3}\.",
        r"40 stars, from -\d+ to \d+ km/s",
        r"\[4400, 4400\]",
        r"image/png",
    ],
}


@pytest.fixture(scope="module")
def folder(stack: Path) -> Path:
    """A copy: what a notebook writes beside itself is not the repository's."""
    return Path(shutil.copytree(NOTEBOOKS, Path(tempfile.mkdtemp(prefix="n", dir=stack)) / "notebooks"))


@pytest.fixture(scope="module", params=sorted(STORIES))
def story(request: pytest.FixtureRequest, folder: Path) -> tuple[str, Any, float]:
    name = str(request.param)
    notebook = nbformat.read(folder / f"{name}.ipynb", as_version=4)
    begun = time.monotonic()
    NotebookClient(
        notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    return name, notebook, time.monotonic() - begun


def test_each_cell_shows_what_it_should(story: tuple[str, Any, float]) -> None:
    name, notebook, took = story
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) == len(STORIES[name])
    for cell, expected in zip(cells, STORIES[name], strict=True):
        assert re.search(expected, text_of(cell)), f"{cell.source}\n\nshowed\n{text_of(cell)}"
    print(f"{name}: {took:.1f} s")


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_are_committed_without_outputs_and_are_linked(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")
    assert f"notebooks/{path.name}" in (ROOT / "docs" / "user-guide.md").read_text(encoding="utf-8")


def test_the_training_is_found_after_its_notebook_is_gone(kernels: Callable[..., Any]) -> None:
    """Its kernel is killed while it runs, as a closed laptop or a crashed server would."""
    notebook = nbformat.read(NOTEBOOKS / "long_training.ipynb", as_version=4)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    first = kernels()
    first.run(cells[1].replace("digits-training", "left-alone"))
    first.manager.restart_kernel(now=True)
    later = kernels()
    seen = later.run("again = %fx attach left-alone")
    assert "epoch  4" in seen.stream() and "epoch 20" in seen.stream(), seen.stream()
    assert later.value("again.result() == curve[-1], len(curve), type(model).__name__") == "(True, 20, 'MLPClassifier')"


def test_two_notebooks_share_the_library_and_see_its_edits(folder: Path, kernels: Callable[..., Any]) -> None:
    place = Path(tempfile.mkdtemp(prefix="l", dir=folder.parent))
    library = Path(shutil.copy(folder / "spectra.py", place))
    one, two = (_notebook_in(kernels, place) for _ in range(2))
    for kernel in (one, two):
        kernel.remote("import spectra\nfound = len(spectra.find_lines(*spectra.observe(seed=3)))")
        assert kernel.value("found") == "4"
    library.write_text(library.read_text().replace("below: float = 0.8", "below: float = 0.0"))
    for kernel in (one, two):
        kernel.remote("found = len(spectra.find_lines(*spectra.observe(seed=3)))")
        assert kernel.value("found") == "0"


def _notebook_in(kernels: Callable[..., Any], place: Path) -> Kernel:
    kernel: Kernel = kernels()
    kernel.run(f"import os, sys\nos.chdir({str(place)!r})\nsys.path.insert(0, '')")
    return kernel
