"""Between real Pythons of different minor versions: what one pickles the other opens and runs, or refuses by name."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import cloudpickle
import pytest

from tests.architecture.test_worker_pythons import interpreter

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


def python(minor: int) -> Path:
    found = interpreter(minor)
    if found is None:
        pytest.skip(f"no Python 3.{minor} on this machine")
    return found


def run(minor: int, library: str, verb: str, target: Path) -> str:
    done = subprocess.run(
        [str(python(minor)), "-S", str(HERE / "crossing.py"), verb, str(HERE / "things.py"), str(target)],
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
