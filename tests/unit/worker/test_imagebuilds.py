"""Building images: what is allowed, once for each digest, whole or not at all. Apptainer has a stand-in here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jupyter_fx_worker import imagebuilds, specenvs
from jupyter_fx_worker.definitions import DEF, DOCKERFILE
from jupyter_fx_worker.kept import BuildError

_TEXT = "Bootstrap: localimage\nFrom: /apps/base.sif\n%files\n  one.txt /opt/\n%post\n  true\n"
_FILES = [("data/one.txt", False, b"of the folder")]
_BUILD = "import sys; from jupyter_fx_worker import imagebuilds as b; b.build({!r}, {!r}, 'a.def', [])"


def until(there: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not there():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An endpoint that has an `apptainer`: it notes its arguments, waits while there is a file `wait`, and copies."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "apptainer").write_text(
        f'#!/bin/sh\nsetsid sh -c "while [ -e {tmp_path}/wait ]; do sleep 0.05; done" & echo $$ $! > {tmp_path}/pids\n'
        f'echo "$@" >> {tmp_path}/calls\nwhile [ -e {tmp_path}/wait ]; do sleep 0.05; done\n'
        f"[ ! -e {tmp_path}/fail ] || {{ echo '+ nosuch'; echo 'nosuch: not found'; exit 255; }}\n"
        'echo "INFO: building"; cat data/one.txt "$3" > "$2" 2>/dev/null; exit 0\n'
    )
    (programs / "apptainer").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setenv(specenvs.ROOT, str(tmp_path / "environments"))
    rules(monkeypatch)
    return tmp_path / "environments"


def rules(monkeypatch: pytest.MonkeyPatch, **more: Any) -> None:
    said = {"build": True, "pull": False, "images": [], "runtime": "apptainer", "options": {}, **more}
    monkeypatch.setenv(imagebuilds.RULES, json.dumps(said))


def test_it_is_built_once_and_kept_whole(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    built = imagebuilds.build(DEF, _TEXT, "a.def", _FILES)
    assert built["built"]
    assert built["form"] == "sif"
    assert "INFO: building" in capfd.readouterr().out
    kept = root / built["name"]
    assert (kept / "root.sif").read_text() == f"of the folder{_TEXT}"
    assert sorted(path.name for path in kept.iterdir() if path.name != "definition.built") == [
        "built.json",
        "definition",
        "root.sif",
    ]
    assert not imagebuilds.build(DEF, _TEXT, "other.def", _FILES)["built"]
    assert (root.parent / "calls").read_text().count("build") == 1
    assert not list(root.glob("*.part-*"))


def test_two_at_the_same_time_build_once(root: Path) -> None:
    (root.parent / "wait").touch()
    told: list[dict[str, Any]] = []
    threads = [
        threading.Thread(target=lambda: told.append(imagebuilds.build(DEF, _TEXT, "a.def", _FILES))) for _ in "ab"
    ]
    for one in threads:
        one.start()
    until((root.parent / "calls").exists)
    (root.parent / "wait").unlink()
    for one in threads:
        one.join(60)
    assert sorted(one["built"] for one in told) == [False, True]


def test_a_failure_names_the_line_and_leaves_nothing(root: Path) -> None:
    (root.parent / "fail").touch()
    with pytest.raises(BuildError, match=r"^line 5, `%post`, ended with status 255: nosuch: not found$"):
        imagebuilds.build(DEF, _TEXT, "a.def", _FILES)
    assert [path.suffix for path in root.iterdir()] == [".lock"]
    (root.parent / "fail").unlink()
    assert imagebuilds.build(DEF, _TEXT, "a.def", _FILES)["built"]


def test_a_build_that_is_killed_leaves_nothing_half_used(root: Path) -> None:
    (root.parent / "wait").touch()
    program = _BUILD.format(DEF, _TEXT)
    process = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    try:
        until((root.parent / "calls").exists)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert list(root.glob("*.part-*"))
    assert not imagebuilds.is_there(str(root), imagebuilds.name_of(DEF, _TEXT, []))
    (root.parent / "wait").unlink()
    assert imagebuilds.build(DEF, _TEXT, "a.def", [])["built"]
    assert not list(root.glob("*.part-*"))


_LATE = """
import os, signal
def late(*_):
    pid = int(open({pids!r}).read().split()[0])
    while os.getpgid(pid) == os.getpgrp() and ") Z" not in open(f"/proc/{{pid}}/stat").read():
        os.sched_yield()
    raise KeyboardInterrupt
signal.signal(signal.SIGINT, late)
"""
"""Who is interrupted sees it only when an interrupt of the builder itself has done its work."""


def test_who_is_interrupted_ends_the_builder_and_what_it_started(root: Path) -> None:
    (root.parent / "wait").touch()
    pids = root.parent / "pids"
    program = _LATE.format(pids=str(pids)) + _BUILD.format(DEF, _TEXT)
    process = subprocess.Popen([sys.executable, "-c", program], start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        until((root.parent / "calls").exists)
        apart = int(pids.read_text().split()[1])
        until(lambda: bool(_members(apart)))
        # As a task is cancelled: its whole group, in which who starts programs is not alone.
        os.killpg(process.pid, signal.SIGINT)
        process.wait(30)
        until(lambda: not _members(process.pid) and not _members(apart))
        assert not list(root.glob("*.part-*"))
    finally:
        (root.parent / "wait").unlink()
        process.wait(30)


def _members(session: int) -> list[int]:
    """The processes of a session."""
    ran = subprocess.run(["/bin/ps", "-o", "pid=", "-s", str(session)], capture_output=True, text=True, check=False)
    return [int(one) for one in ran.stdout.split()]


@pytest.mark.parametrize(
    ("kind", "text", "more", "why"),
    [
        (DEF, _TEXT, {"build": False}, r"builds no images from definitions \(c.Containers.build\)"),
        (DEF, _TEXT, {"images": ["/other/*"]}, r"line 2: /apps/base.sif is not among the images"),
        (DOCKERFILE, "FROM x\n", {}, "started by apptainer .* takes no Dockerfile: write a NAME.def"),
        (DEF, "Bootstrap: docker\nFrom: x\n", {}, "line 2: x would be fetched from the network"),
        (DOCKERFILE, "FROM x\nNOT\n", {}, "line 2: there is no instruction 'NOT'"),
    ],
)
def test_what_the_owner_does_not_allow_is_refused_before_anything_runs(
    root: Path, monkeypatch: pytest.MonkeyPatch, kind: str, text: str, more: dict[str, Any], why: str
) -> None:
    rules(monkeypatch, **more)
    with pytest.raises(BuildError, match=why):
        imagebuilds.build(kind, text, "a", [])
    assert not (root.parent / "calls").exists()


def test_what_is_allowed_is_built(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules(monkeypatch, images=["/apps/*"], options={"apptainer": ["--fakeroot"]})
    assert imagebuilds.build(DEF, _TEXT, "a.def", _FILES)["built"]
    assert (root.parent / "calls").read_text().startswith("build --fakeroot ")


def test_files_are_written_below_their_folder_alone(root: Path) -> None:
    for path in ("../x", "/x", "a/../../x", ""):
        with pytest.raises(BuildError, match="is no file of the definition's folder"):
            imagebuilds.build(DEF, _TEXT, "a.def", [(path, False, b"")])
    assert not list(root.parent.glob("**/x"))


def test_another_ch_image_at_work_is_waited_for_and_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "ch-image"
    program.write_text(
        f"#!/bin/sh\necho x >> {tmp_path}/calls\n[ $(wc -l < {tmp_path}/calls) -gt 3 ] && {{ echo fine; exit 0; }}\n"
        "echo 'error: storage directory is already in use'\nexit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(imagebuilds, "_AGAIN", 0.01)
    assert imagebuilds._in_turn([str(program)], dict(os.environ)) == (0, "fine\n")
    said = capfd.readouterr().out
    assert said.count("waiting for it") == 1
    assert "already in use" not in said
