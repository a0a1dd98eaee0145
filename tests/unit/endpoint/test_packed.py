"""Environments that are one file: mounted by the real squashfuse, or unpacked where that cannot be."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_fx.endpoint import fusemounts, unsquash
from jupyter_fx.endpoint.packed import Packed
from jupyter_fx.errors import InfrastructureError
from jupyter_fx_worker import specpack
from tests.mounts import need_mksquashfs, need_mounts

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="endpoints for others run on Linux")


@pytest.fixture
def mounts() -> None:
    need_mounts()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files of all sizes that the format treats differently, links, empty and full directories, old times."""
    top = tmp_path / "tree"
    (top / "many").mkdir(parents=True)
    (top / "empty").mkdir()
    for number in range(700):
        (top / "many" / f"small-{number:04d}").write_text(f"{number}\n" * (number % 40))
    (top / "noise").write_bytes(os.urandom(300_000))
    (top / "words").write_bytes(b"the same again " * 60_000)
    (top / "holes").write_bytes(b"\0" * 400_000 + b"end")
    (top / "exact").write_bytes(os.urandom(128 << 10))
    (top / "nothing").touch()
    (top / "program").write_text("#!/bin/sh\n")
    (top / "program").chmod(0o755)
    os.link(top / "program", top / "again")
    (top / "there").symlink_to("many/small-0001")
    (top / "Grüße.txt").write_text("ö")
    os.utime(top / "words", (1_500_000_000, 1_500_000_000))
    return top


@pytest.fixture
def file(tree: Path, tmp_path: Path) -> Path:
    need_mksquashfs()
    specpack.pack(str(tree), str(tmp_path / "packed"))
    return tmp_path / "packed" / "environment.sqfs"


@pytest.fixture(autouse=True)
def nothing_stays_mounted(tmp_path: Path) -> Iterator[None]:
    yield
    fusemounts.unmount_below(tmp_path)


def told(top: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in top.rglob("*"):
        info, real = path.lstat(), path.is_file() and not path.is_symlink()
        what = str(path.readlink()) if path.is_symlink() else path.read_bytes() if real else ""
        found[str(path.relative_to(top))] = (what, info.st_mode, int(info.st_mtime) if real else 0)
    return found


def until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_is_unpacked_is_what_was_packed(tree: Path, file: Path, tmp_path: Path) -> None:
    assert unsquash.unpack(file, tmp_path / "again")
    assert told(tmp_path / "again") == told(tree)
    assert not unsquash.unpack(file, tmp_path / "stopped", lambda: True)


def test_what_cannot_be_unpacked_says_why(file: Path, tmp_path: Path) -> None:
    whole = file.read_bytes()
    for number, (data, says) in enumerate(
        [(b"", "damaged"), (b"x" * 4096, "no SquashFS"), (whole[: len(whole) // 2], "damaged")]
    ):
        file.write_bytes(data)
        with pytest.raises(unsquash.UnpackError, match=says):
            unsquash.unpack(file, tmp_path / f"no-{number}")


def run(story: Callable[[asyncio.AbstractEventLoop], Awaitable[None]]) -> None:
    async def tell() -> None:
        await story(asyncio.get_running_loop())

    asyncio.run(tell())


@pytest.mark.usefixtures("mounts")
def test_it_is_mounted_read_only_and_away_when_it_is_closed(tree: Path, file: Path, tmp_path: Path) -> None:
    lost: list[str] = []
    place = tmp_path / "a b" / "1" / "name"

    async def story(loop: asyncio.AbstractEventLoop) -> None:
        packed = Packed(file, place, os.environ, loop, lost.append)
        await packed.open()
        assert place in fusemounts.mounted()
        assert told(place) == told(tree)
        with pytest.raises(OSError, match="Read-only"):
            (place / "new").touch()
        # Whoever uses it still, a worker that is being killed say, cannot keep it.
        with (place / "words").open("rb"):
            packed.close()
        assert place not in fusemounts.mounted()
        assert not place.parent.exists()

    run(story)
    assert not lost


@pytest.mark.usefixtures("mounts")
def test_who_reads_hears_that_what_mounts_has_ended(file: Path, tmp_path: Path) -> None:
    async def story(loop: asyncio.AbstractEventLoop) -> None:
        lost: asyncio.Future[str] = loop.create_future()
        packed = Packed(file, tmp_path / "1" / "name", os.environ, loop, lost.set_result)
        await packed.open()
        assert packed._mounted is not None
        packed._mounted.process.kill()
        assert "has ended" in await asyncio.wait_for(lost, 60)
        # Nobody answers there, and it is taken away nevertheless.
        assert packed.place in fusemounts.mounted()
        packed.close()
        assert packed.place not in fusemounts.mounted()
        assert not packed.place.parent.exists()

    run(story)


def test_without_the_programs_it_is_unpacked_and_it_is_said_why(
    tree: Path, file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(loop: asyncio.AbstractEventLoop) -> None:
        packed = Packed(file, tmp_path / "1" / "name", {"PATH": "/nowhere"}, loop, lambda _why: None)
        await packed.open()
        assert told(packed.place) == told(tree)
        packed.close()
        assert not packed.place.parent.exists()

    run(story)
    assert "cannot be mounted here: there is no squashfuse" in caplog.text


@pytest.mark.usefixtures("mounts")
def test_what_is_no_such_file_names_both_reasons(tmp_path: Path) -> None:
    file = tmp_path / "broken.sqfs"
    file.write_bytes(b"nothing of the kind" * 100)

    async def story(loop: asyncio.AbstractEventLoop) -> None:
        packed = Packed(file, tmp_path / "1" / "name", os.environ, loop, lambda _why: None)
        with pytest.raises(InfrastructureError, match=r"neither be mounted \(squashfuse: .+\) nor unpacked") as error:
            await packed.open()
        assert "it is no SquashFS file" in str(error.value)
        packed.close()

    run(story)
    assert not (tmp_path / "1").exists()


@pytest.mark.usefixtures("mounts")
@pytest.mark.parametrize("env", [dict(os.environ), {"PATH": "/nowhere"}])
@pytest.mark.parametrize("turns", [1, 3, 10])
def test_one_that_is_closed_on_its_way_leaves_nothing(file: Path, tmp_path: Path, env: Any, turns: int) -> None:
    async def story(loop: asyncio.AbstractEventLoop) -> None:
        packed = Packed(file, tmp_path / "1" / "name", env, loop, lambda _why: None)
        opening = loop.create_task(packed.open())
        for _ in range(turns):
            await asyncio.sleep(0)
        packed.close()
        await asyncio.wait_for(opening, 60)
        assert packed.place not in fusemounts.mounted()
        assert not packed.place.parent.exists()

    run(story)


MOUNTS = """
import sys, time
from pathlib import Path
from typing import Any
from jupyter_fx.endpoint.fusemounts import Mounted
one = Mounted(Path(sys.argv[1]), Path(sys.argv[2]), dict(PATH=sys.argv[3]))
while not one.is_up():
    time.sleep(0.01)
one.answer()
print(one.process.pid, flush=True)
time.sleep(600)
"""


def mounting(file: Path, place: Path) -> tuple[subprocess.Popen[str], int]:
    place.mkdir(parents=True)
    line = [sys.executable, "-c", MOUNTS, file, place, os.environ["PATH"]]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        return process, int(process.stdout.readline())


@pytest.mark.usefixtures("mounts")
def test_a_mount_ends_with_a_manager_that_is_killed(file: Path, tmp_path: Path) -> None:
    place = tmp_path / "name"
    process, _pid = mounting(file, place)
    assert place in fusemounts.mounted()
    process.kill()
    process.wait()
    until(lambda: place not in fusemounts.mounted())


@pytest.mark.usefixtures("mounts")
def test_what_dead_managers_left_is_taken_away_and_what_lives_stays(file: Path, tmp_path: Path) -> None:
    ours = tmp_path / "jupyter-fx-0"
    process, pid = mounting(file, ours / "1" / "name")
    other, _other_pid = mounting(file, ours / "2" / "name")
    try:
        # A job that is over its time: all at once, and nobody can clean up.
        os.kill(pid, signal.SIGKILL)
        process.kill()
        process.wait()
        assert ours / "1" / "name" in fusemounts.mounted()
        assert fusemounts.unmount_dead() == 1
        assert ours / "1" / "name" not in fusemounts.mounted()
        assert (ours / "2" / "name" / "noise").exists()
        assert fusemounts.unmount_below(ours) == 1
        assert ours / "2" / "name" not in fusemounts.mounted()
    finally:
        other.kill()
        other.wait()
