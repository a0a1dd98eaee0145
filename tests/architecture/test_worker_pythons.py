"""The worker under the Pythons that environments have: each that this machine has is tried for real."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import cloudpickle
import pytest

from tests import environments

ROOT = Path(__file__).resolve().parents[2]
IMPORT_ALL = """
import importlib, pkgutil, sys
import jupyter_fx_worker as package
names = [found.name for found in pkgutil.walk_packages(package.__path__, "jupyter_fx_worker.")]
for name in names:
    if not name.endswith((".shell", ".__main__")):  # shell.py is for environments with IPython
        importlib.import_module(name)
print(sys.version_info[0], sys.version_info[1], len(names))
"""


@pytest.mark.parametrize("minor", [9, 10, 11, 12, 13])
def test_worker_imports_in_a_bare_python(minor: int, tmp_path: Path) -> None:
    python = environments.python(minor)
    shutil.copytree(Path(cloudpickle.__file__).parent, tmp_path / "cloudpickle")
    path = os.pathsep.join([str(ROOT / "kernel"), str(tmp_path)])
    done = subprocess.run(
        [python, "-S", "-c", IMPORT_ALL],
        env={"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"]},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[:2] == ["3", str(minor)]
