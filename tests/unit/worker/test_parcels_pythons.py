"""What an engine is given to run, under the Pythons that its workers may have."""

from __future__ import annotations

import pickle
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jupyter_fx.endpoint.engines import boot
from jupyter_fx_worker import bundle, envelope, frames

_WORKER = "import pickle, sys; sys.stdout.buffer.write(pickle.dumps(eval(*pickle.load(sys.stdin.buffer)), 4))"


def interpreter(minor: int) -> str:
    found = [*(Path.home() / ".pyenv" / "versions").glob(f"3.{minor}.*/bin/python"), shutil.which(f"python3.{minor}")]
    found = [one for one in found if one]
    if not found:
        pytest.skip(f"no Python 3.{minor} here")
    return str(found[0])


def pack(value: object, kind: str) -> bytes:
    return b"".join(bytes(piece) for piece in envelope.dumps(value, kind))


@pytest.mark.parametrize("minor", [8, 9, 13])
def test_a_worker_of_another_python_runs_it_or_says_that_it_is_too_old(tmp_path: Path, minor: int) -> None:
    python = interpreter(minor)
    (tmp_path / "mine.py").write_text("def twice(x):\n    return 2 * x\n")
    twice = runpy.run_path(str(tmp_path / "mine.py"))["twice"]
    (tmp_path / "fence").mkdir()
    (tmp_path / "code").mkdir(mode=0o700)
    parcel = {
        "fence": str(tmp_path / "fence"),
        "name": "p",
        "functions": {"f": pack(twice, "fn")},
        "tasks": [{"id": "t", "verb": "call", "fn": "f", "payload": pack(((21,), {}), "args")}],
        "spill": str(tmp_path),
    }
    job = boot.job(bundle.path(str(tmp_path / "code")), parcel)
    done = subprocess.run([python, "-c", _WORKER], input=pickle.dumps(job, 4), capture_output=True, check=True)
    answer = pickle.loads(done.stdout)
    if minor < 9:
        assert (answer["refused"], answer["said"][:3]) == ("python", f"3.{minor}")
        return
    header, body = frames.Reader().feed(answer["log"])[-1]
    assert header["outcome"] == "ok", bytes(body)
    # A plain value: whichever Python made it, it is read here.
    assert envelope.loads(bytearray(body))[1] == 42
    assert sys.version_info[1] != minor
