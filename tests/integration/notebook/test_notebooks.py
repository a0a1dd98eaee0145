"""The notebooks run as their readers run them; each cell shows what its text says."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parents[3]

# What the outputs of each code cell of the quickstart must match, in order.
QUICKSTART = [
    r"endpoint →local: online",
    r"1347 images to learn from, 450 to be examined on[\s\S]*digits stays on local \(larger than 1\.0 MiB\)",
    r"\(\(1347, 64\), True\)",
    r"epoch 1  loss [\d.]+  accuracy 0\.\d+[\s\S]*epoch 8  loss [\d.]+  accuracy 0\.9\d+[\s\S]*✓ local",
    r"\d+ of 450 images are read wrongly",
    r"image/png",
    r"gamma 0\.01  C 1 [\s\S]*best: \(0\.\d+, \d+\)",
    r"ZeroDivisionError[\s\S]*-> 3\S* share = half / 0[\s\S]*division by zero",
    r"673",
    r"<remote cell In\[\d+\] [0-9a-f]{8} (submitted|running)>",
    r"[0-9a-f]{8} \(wander\) is interrupted, its session keeps its variables",
    r"the session still knows its model: MLPClassifier[\s\S]*True",
    r"cancelled[\s\S]*wander",
]


class Watching(NotebookClient):
    """Notes what a cell had shown before it ended."""

    def __init__(self, notebook: Any, **how: Any) -> None:
        super().__init__(notebook, **how)
        self.live: dict[int, list[tuple[float, str]]] = {}

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        if msg["msg_type"] == "stream":
            now = asyncio.get_running_loop().time()
            self.live.setdefault(cell_index, []).append((now, msg["content"]["text"]))
        return super().process_message(msg, cell, cell_index)


def text_of(cell: Any) -> str:
    """Everything that a cell shows, streams first, in one text without colours."""
    shown = ["".join(output.text for output in cell.outputs if output.output_type == "stream")]
    for output in cell.outputs:
        if output.output_type == "error":
            shown.append(f"{output.ename}: {output.evalue}\n" + "\n".join(output.traceback))
        elif output.output_type != "stream":
            shown += [
                f"{mime}\n{data}" if mime.startswith("text/plain") else mime for mime, data in output.data.items()
            ]
    return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(shown))


@pytest.fixture(scope="module")
def quickstart(stack: Path) -> Watching:
    notebook = nbformat.read(ROOT / "notebooks" / "quickstart.ipynb", as_version=4)
    client = Watching(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(stack)}})
    try:
        client.execute()
    except CellExecutionError as error:
        pytest.fail(str(error))
    return client


def test_the_quickstart_is_committed_without_outputs() -> None:
    notebook = nbformat.read(ROOT / "notebooks" / "quickstart.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")


@pytest.mark.parametrize("number", range(len(QUICKSTART)))
def test_each_cell_of_the_quickstart_shows_what_it_should(quickstart: Watching, number: int) -> None:
    cells = [cell for cell in quickstart.nb.cells if cell.cell_type == "code"]
    assert len(cells) == len(QUICKSTART)
    assert re.search(QUICKSTART[number], text_of(cells[number])), text_of(cells[number])


def test_lines_of_the_training_arrive_while_it_runs(quickstart: Watching) -> None:
    at = next(i for i, cell in enumerate(quickstart.nb.cells) if "partial_fit" in cell.source)
    told = quickstart.live[at]
    first = next(when for when, text in told if "epoch 1" in text)
    last = next(when for when, text in told if "epoch 8" in text)
    assert last - first > 1.0
