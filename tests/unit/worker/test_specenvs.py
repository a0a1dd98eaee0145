"""Environments from specifications: built by the real uv from wheels of the test's own, without a network."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_fx_worker import kept, specenvs

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="endpoints for others run on Linux")

_UV = Path(sys.executable).parent / "uv"
_BUILD = "import sys; from jupyter_fx_worker import specenvs; specenvs.build(sys.argv[1])"


def wheel(folder: Path, name: str, version: str, *needs: str) -> None:
    about = f"{name}-{version}.dist-info"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}.py", f"version = {version!r}\n")
        wants = "".join(f"Requires-Dist: {one}\n" for one in needs)
        file.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{wants}")
        file.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{about}/RECORD", "")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    wheel(tmp_path / "wheels", "fxfruit", "1.5")
    wheel(tmp_path / "wheels", "fxtree", "2.0", "fxfruit>=2")
    told = {
        specenvs.ROOT: tmp_path / "environments",
        specenvs.UV: _UV,
        "UV_FIND_LINKS": tmp_path / "wheels",
        "UV_OFFLINE": 1,
        "UV_CACHE_DIR": tmp_path / "cache",
    }
    for name, value in told.items():
        monkeypatch.setenv(name, str(value))
    return tmp_path / "environments"


@pytest.fixture
def counted(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A uv that notes its installations, and waits in them as long as there is a file `wait`."""
    notes = tmp_path / "notes"
    program = tmp_path / "uv"
    program.write_text(
        f'#!/bin/sh\nif [ "$1" = pip ]; then echo x >> {notes}; while [ -e {tmp_path}/wait ]; do sleep 0.05; done; fi\n'
        f'exec {_UV} "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv(specenvs.UV, str(program))
    yield notes
    (tmp_path / "wait").unlink(missing_ok=True)


def until(what: Any) -> None:
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_it_is_built_once_and_found_again(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = "fxfruit==1.5\n"
    first, again = specenvs.build(text), specenvs.build(text)
    assert (first["built"], again["built"]) == (True, False)
    assert first["name"] == again["name"] == specenvs.name_of(text)
    assert "+ fxfruit==1.5" in capfd.readouterr().out
    python = specenvs.python_of(str(root), first["name"])
    told = subprocess.check_output([python, "-c", "import fxfruit; print(fxfruit.version)"], text=True)
    assert told == "1.5\n"
    assert not list(root.glob("*.part-*"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("fxtree\n", "all versions of fxtree cannot be used. And because you require fxtree"),
        ("nosuch==3\n", "Because nosuch was not found in the cache and you require nosuch==3"),
        ("fxfruit=1\n", "no such comparison operator"),
    ],
)
def test_what_cannot_be_built_says_why_and_leaves_nothing(root: Path, text: str, says: str) -> None:
    with pytest.raises(specenvs.BuildError) as error:
        specenvs.build(text)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert not specenvs.python_of(str(root), specenvs.name_of(text))
    assert not [one for one in root.iterdir() if one.is_dir()]


def test_without_uv_it_is_said_what_to_install(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(specenvs.UV)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    # pip's own place of it, which no PATH names, is known.
    assert Path(specenvs._uv()).name == "uv"
    monkeypatch.setitem(sys.modules, "uv", None)
    with pytest.raises(specenvs.BuildError, match="pip install"):
        specenvs.build("fxfruit\n")


def test_two_at_the_same_time_build_once(root: Path, counted: Path, tmp_path: Path) -> None:
    (tmp_path / "wait").touch()
    told: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: told.append(specenvs.build("fxfruit\n"))) for _ in range(2)]
    for one in threads:
        one.start()
    until(counted.exists)
    (tmp_path / "wait").unlink()
    for one in threads:
        one.join(60)
    assert sorted(one["built"] for one in told) == [False, True]
    assert counted.read_text() == "x\n"


def test_a_build_that_is_killed_leaves_nothing_half_used(root: Path, counted: Path, tmp_path: Path) -> None:
    (tmp_path / "wait").touch()
    process = subprocess.Popen([sys.executable, "-c", _BUILD, "fxfruit\n"], start_new_session=True)
    try:
        until(counted.exists)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    name = specenvs.name_of("fxfruit\n")
    assert list(root.glob("*.part-*"))
    assert not specenvs.python_of(str(root), name)
    (tmp_path / "wait").unlink()
    assert specenvs.build("fxfruit\n")["built"]
    assert specenvs.python_of(str(root), name)
    assert not list(root.glob("*.part-*"))


def old(root: Path, name: str, days: float, size: int = 0) -> None:
    (root / name / "bin").mkdir(parents=True)
    (root / name / "bin" / "python").touch()
    (root / name / "built.json").write_text(f'{{"bytes": {size}}}')
    when = time.time() - days * 86400
    (root / f"{name}.used").touch()
    os.utime(root / f"{name}.used", (when, when))


def test_what_nobody_uses_goes_by_age_then_by_size_never_what_is_used(tmp_path: Path) -> None:
    import fcntl

    names = {days: f"{days:040d}" for days in (40, 35, 5, 3, 0)}
    for days, name in names.items():
        old(tmp_path, name, days, 600 << 10)
    with (tmp_path / f"{names[35]}.used").open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert kept.collect(str(tmp_path), 30, 0) == [names[40]]
        assert kept.collect(str(tmp_path), 0, 2) == [names[5]]
        assert kept.collect(str(tmp_path), 0, 1) == [names[3]]
        # The last one was used just now, the other is in use.
        assert kept.collect(str(tmp_path), 0.001, 1) == []
    assert sorted(one.name for one in tmp_path.iterdir() if one.is_dir()) == sorted([names[35], names[0]])


def test_one_whose_python_is_gone_is_built_again(root: Path) -> None:
    name = specenvs.build("fxfruit\n")["name"]
    link = root / name / "bin" / "python"
    link.unlink()
    link.symlink_to("/nowhere/python")
    assert not specenvs.python_of(str(root), name)
    assert specenvs.build("fxfruit\n")["built"]
    shutil.rmtree(root)


def test_without_locks_what_another_host_builds_is_left_alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def flock(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    other = root / f"{specenvs.name_of('fxfruit')}.part-1-elsewhere"
    other.mkdir(parents=True)
    assert specenvs.build("fxfruit")["built"]
    assert other.is_dir()


def test_a_lock_that_was_removed_while_it_was_waited_for_is_none(
    root: Path, counted: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Who collects removes the locks of what is gone: two that hold a lock each must not build the same."""
    import fcntl

    (tmp_path / "wait").touch()
    root.mkdir()
    lock, said = root / f"{specenvs.name_of('fxfruit')}.lock", ""
    told: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: told.append(specenvs.build("fxfruit"))) for _ in range(2)]

    def waiting(times: int) -> bool:
        nonlocal said
        said += capfd.readouterr().out
        return said.count("waiting for it") == times

    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        threads[0].start()
        until(lambda: waiting(1))
        lock.unlink()
    until(counted.exists)
    threads[1].start()
    until(lambda: waiting(2) or counted.read_text() == "x\nx\n")
    (tmp_path / "wait").unlink()
    for one in threads:
        one.join(60)
    assert sorted(one["built"] for one in told) == [False, True]
    assert counted.read_text() == "x\n"


def test_what_others_remove_meanwhile_stops_nobody(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds of other specifications begin and end all the time."""
    listed, ghost = os.listdir, "0" * 40
    gone = [f"{ghost}.part-9-elsewhere", ghost]
    monkeypatch.setattr(os, "listdir", lambda path: [*listed(path), *(gone if str(path) == str(root) else [])])
    assert specenvs.build("fxfruit")["built"]


def test_who_builds_one_keeps_its_lock(tmp_path: Path) -> None:
    import fcntl

    name = "1" * 40
    old(tmp_path, name, 40)
    with (tmp_path / f"{name}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert kept.collect(str(tmp_path), 30, 0) == []
    assert kept.collect(str(tmp_path), 30, 0) == [name]
    assert not list(tmp_path.iterdir())
