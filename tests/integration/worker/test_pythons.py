"""Between real Pythons of different minor versions: what one pickles the other opens and runs, or refuses by name."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from jupyter_fx_worker import bundle
from tests.environments import python
from tests.integration.worker.conftest import Zygote

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
HOMES = (11, 12, 13)
WORKERS = (9, 11)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where cloudpickle is, and nothing else that the interpreters may not have."""
    folder = tmp_path_factory.mktemp("library")
    shutil.copytree(Path(cloudpickle.__file__).parent, folder / "cloudpickle")
    return os.pathsep.join([str(ROOT / "kernel"), str(folder)])


def run(minor: int, library: str, verb: str, target: Path) -> str:
    done = subprocess.run(
        [python(minor), "-S", str(HERE / "crossing.py"), verb, str(HERE / "things.py"), str(target)],
        env={"PYTHONPATH": library, "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"]},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize(
    ("source", "target"),
    [(home, there) for home in HOMES for there in WORKERS if home != there]
    + [(there, home) for home in HOMES for there in WORKERS if home != there],
)  # fmt: skip
def test_what_notebooks_define_crosses(source: int, target: int, library: str, tmp_path: Path) -> None:
    python(target)
    run(source, library, "write", tmp_path / "made")
    told = dict(line.split("\t", 1) for line in run(target, library, "read", tmp_path / "made").splitlines())
    refused = told.pop("sourceless")
    assert refused.startswith(
        f"PythonMismatch: sourceless was made by Python 3.{source} and cannot run on Python 3.{target}, "
        "because its source is not known"
    )
    assert {name: said for name, said in told.items() if said != "same"} == {}
    assert len(told) == 31


# --- Python 3.9 with nothing installed, as a real zygote's workers ---


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    started = Zygote(python=python(9), path=bundle.path(str(tmp_path_factory.mktemp("zip"))))
    assert started.ready["python"][:2] == [3, 9]
    yield started
    started.close()


def test_cells_run_where_there_is_no_ipython(bare: Zygote) -> None:
    if bare.ready["ipython"]:
        pytest.skip("that Python has IPython")
    worker = bare.fork()
    outcome, home, _ = worker.cell("%%remote\nprint('hello')\nx = 6\nx * 7")
    assert (outcome, home["values"]) == ("ok", {"x": 6})
    shown = next(one for kind, one in worker.log if kind == "display")
    assert (shown["kind"], shown["content"]["data"]) == ("execute_result", {"text/plain": "42"})
    assert worker.text() == "hello\n"
    assert worker.cell("import asyncio\nawait asyncio.sleep(0)\ny = x")[1]["values"]["y"] == 6
    outcome, error, _ = worker.cell("%%remote\n\ndef f():\n    1 / 0\nf()")
    assert (outcome, error["etype"]) == ("error", "ZeroDivisionError")
    assert [frame[1] for frame in error["frames"]] == [5, 4]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("%timeit 1", r"line 2 \(%timeit 1\) is a magic"),
        ("%%time\nx = 1", r"line 2 \(%%time\) is a magic"),
        ("files = !ls", "is a shell command"),
        ("print?", "asks for help"),
    ],
)
def test_what_needs_ipython_says_so(line: str, what: str, bare: Zygote) -> None:
    if bare.ready["ipython"]:
        pytest.skip("that Python has IPython")
    outcome, error, _ = bare.fork().cell(f"%%remote\n{line}")
    assert (outcome, error["etype"], error["module"]) == ("error", "UsageError", "jupyter_fx.errors")
    assert re.search(
        what + ".*no IPython where this ran: install it there with .*pip install ipython", error["message"]
    )


def test_a_cell_that_only_prepares_figures_runs(bare: Zygote) -> None:
    assert bare.fork().cell("%matplotlib inline\nx = 1")[1]["values"] == {"x": 1}
    outcome, error, _ = bare.fork().cell("%matplotlib inline\nx = = 1")
    assert (outcome, error["etype"]) == ("error", "SyntaxError")


def test_a_cell_is_interrupted_and_the_session_lives(bare: Zygote) -> None:
    worker = bare.fork()
    worker.cell("kept = 5")
    number = worker.cell_no("import time\nprint('begun', flush=True)\ntime.sleep(60)")
    worker.until(lambda: "begun" in worker.text())
    worker.interrupt()
    assert worker.wait(number)[0] == "interrupted"
    assert worker.cell("again = kept")[1]["values"] == {"again": 5}


def adder(step: int) -> Any:
    def add(value: int) -> int:
        return value + step

    return add


def test_functions_go_there_and_come_home(bare: Zygote) -> None:
    worker = bare.fork()
    assert worker.call(adder(5), 37)[:2] == ("ok", 42)
    number = worker.map(adder(1), [1, 2, 3])
    assert worker.wait(number)[0] == "ok" and worker.item_values(number) == [2, 3, 4]
    outcome, home, _ = worker.cell(
        "%%remote\ndef made(x):\n    return add(x) * 2\nclass Made:\n    size = 3\npicked = eval('lambda: 1')",
        {"add": adder(4)},
    )
    assert outcome == "ok"
    assert home["values"]["Made"].size == 3
    # Without its globals: the notebook binds it to its own.
    assert types.FunctionType(home["values"]["made"].__code__, {"add": adder(4)})(1) == 10
    assert "code without a source" in home["why"]["picked"]


def test_arrays_need_the_same_library_and_nothing_else_does(bare: Zygote) -> None:
    numpy = pytest.importorskip("numpy")
    outcome, error, _ = bare.fork().cell("1", {"a": numpy.arange(3)})
    if outcome == "error":
        assert error["etype"] == "ModuleNotFoundError"
        assert "numpy is not installed where this ran (Python 3.9" in error["notes"][0]
