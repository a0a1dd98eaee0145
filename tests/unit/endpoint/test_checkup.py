"""What `jupyter fx doctor` finds wrong with an endpoint, each provoked for real."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_fx import __version__, paths
from jupyter_fx.endpoint import identity
from jupyter_fx.endpoint.checkup import Finding, checkup, image
from jupyter_fx.endpoint.logfiles import tail
from jupyter_fx.endpoint.settings import config_path, load_settings


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of an endpoint that is enrolled and does not run."""
    for name in ("STATE", "CONFIG", "RUNTIME"):
        monkeypatch.setenv(f"JUPYTER_FX_{name}_DIR", str(tmp_path / name.lower()))
    home = paths.endpoint_dir("box")
    identity.save(home, identity.Identity("box", "e" * 32, "secret", "unix:/nowhere"))
    return home


def configure(*lines: str) -> None:
    config_path("box").write_text("\n".join(["c = get_config()", *lines, ""]))


def found(grade: str) -> list[tuple[str, str]]:
    return [(what, cure) for how, what, cure in checkup("box") if how == grade]


def test_an_agent_that_does_not_run_is_told_with_its_last_words(box: Path) -> None:
    (box / "agent.log").write_text("2026 INFO started\nc.Blocks.walltime is too long\n")
    said = "no agent of box runs on this host; its last words: c.Blocks.walltime is too long"
    assert found("warn") == [(said, "jupyter fx endpoint start box")]
    assert not found("bad")


def test_a_typo_in_its_settings(box: Path) -> None:
    configure("c.Endpoint.wrokers = 2")
    ((what, cure),) = found("bad")
    assert "nearest: workers" in what
    assert cure.startswith("mend ")


def test_commands_of_the_scheduler_that_are_not_on_the_path(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure("c.Blocks.provider = 'lsf'", "c.Blocks.max_blocks = 1")
    monkeypatch.setenv("PATH", str(box))
    ((what, cure),) = found("bad")
    assert what == "the agent does not find bsub, bjobs, bkill on its PATH"
    assert "load their module before `jupyter fx endpoint start`" in cure


def test_a_scheduler_that_fails_when_it_is_asked(box: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("parsl")
    commands = tmp_path / "bin"
    commands.mkdir()
    for word in ("sbatch", "squeue", "scancel", "sinfo", "scontrol"):
        (commands / word).write_text("#!/bin/sh\necho 'Unable to contact slurm controller' >&2\nexit 1\n")
        (commands / word).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    configure("c.Blocks.provider = 'slurm'", "c.Blocks.max_blocks = 1")
    ((what, cure),) = found("bad")
    assert what == "slurm cannot be asked: scontrol: Unable to contact slurm controller"
    assert cure


def test_a_python_for_nodes_without_us_or_with_another_version(box: Path, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S -I "$@"\n')
    python.chmod(0o755)
    configure("c.Blocks.provider = 'local'", f"c.Blocks.python = {str(python)!r}")
    ((what, cure),) = found("bad")
    assert what.endswith("cannot run a manager: ModuleNotFoundError: No module named 'jupyter_fx'")
    assert cure == f"{python} -m pip install 'jupyter-fx=={__version__}'"
    older = tmp_path / "older" / "jupyter_fx" / "endpoint"
    older.mkdir(parents=True)
    (older.parent / "__init__.py").write_text("__version__ = '0.0.9'\n")
    for name in ("__init__", "node"):
        (older / f"{name}.py").touch()
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path / "older"} exec {sys.executable} -S "$@"\n')
    ((what, cure),) = found("bad")
    assert what == f"jupyter-fx is 0.0.9 in c.Blocks.python ({python}) and {__version__} here"
    assert cure.startswith(f"{python} -m pip install")


def test_a_python_for_workers_that_is_none(box: Path) -> None:
    configure("c.Endpoint.python = '/usr/bin/pyhton3'")
    ((what, _cure),) = found("bad")
    assert "c.Endpoint.python = '/usr/bin/pyhton3': there is no such file" in what


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    there = tmp_path / "small"
    there.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "none", there], check=False, capture_output=True
        ).returncode
    ):
        pytest.skip("a small file system can be mounted by root alone")
    yield there
    subprocess.run(["umount", there], check=True)


def test_a_disk_that_is_nearly_full(box: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(box.parent, small_disk / "endpoints")
    monkeypatch.setenv("JUPYTER_FX_STATE_DIR", str(small_disk))
    ((what, cure),) = found("bad")
    assert "only 0 MiB are free in" in what
    assert "JUPYTER_FX_STATE_DIR" in cure
    configure("c.Endpoint.disk_reserve_mb = 0")
    (small_disk / "filler").write_bytes(b"")
    with pytest.raises(OSError, match="No space left"), (small_disk / "filler").open("wb") as filler:
        while True:
            filler.write(b"x" * 65536)
    ((what, _cure),) = found("bad")
    assert what.startswith("nothing can be written to ")


def test_images_without_python_not_there_not_allowed(box: Path, tmp_path: Path) -> None:
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    rootfs = tmp_path / "rootfs"
    for name in ("usr/bin", "bin", "tmp", "proc", "dev"):
        (rootfs / name).mkdir(parents=True)
    configure(f"c.Containers.images = ['{rootfs}', '/images/*']", "c.Containers.runtime = 'bubblewrap'")
    ((what, _cure),) = found("bad")
    assert what.startswith(f"image {rootfs} has no 'python3': install Python 3.9 or newer in it")

    def one(name: str) -> Finding:
        (told,) = image(name, load_settings(config_path("box")))
        return told

    assert "is not among those that this endpoint allows" in one("/other/image")[1]
    assert "there is no image '/images/none'" in one("/images/none")[1]


def test_of_a_log_that_has_grown_the_end_alone_is_read(tmp_path: Path) -> None:
    log = tmp_path / "manager.log"
    with log.open("wb") as file:
        file.truncate(64 << 20)
        file.seek(0, 2)
        file.write(b"\nthe one before\nthe last one\n")
    tracemalloc.start()
    try:
        assert tail(log)[-2:] == ["the one before", "the last one"]
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert tail(tmp_path / "none") == []
