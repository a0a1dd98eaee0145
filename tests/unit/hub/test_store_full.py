"""A disk that is really full: a small tmpfs, where this machine lets us mount one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from jupyter_fx.ids import new_id
from jupyter_fx_hub.store.ops import AddEvents, DeleteTasks, EventRow
from jupyter_fx_hub.store.space import Space

MIB = 1 << 20


@pytest.fixture
def small_disk():
    """A file system of 6 MiB."""
    place = Path(tempfile.mkdtemp(prefix="fxd"))
    mount = shutil.which("mount")
    if mount is None or os.name != "posix" or os.getuid() != 0:
        place.rmdir()
        pytest.skip("only root can mount a small file system")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if done.returncode:
        place.rmdir()
        pytest.skip(f"cannot mount a tmpfs here: {done.stderr.decode(errors='replace').strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)
    place.rmdir()


def fill(place):
    with (place / "filler").open("ab", buffering=0) as file:
        for block in (64 * 1024, 4096, 512, 1):
            try:
                while True:
                    file.write(b"x" * block)
            except OSError:
                pass


def test_results_land_from_the_ballast_and_wait_for_room_when_that_is_gone(small_disk, harness):
    one = harness(small_disk, space=Space(small_disk, min_free=0, fraction=0.0, ballast=2 * MIB))
    try:
        ids = [new_id() for _ in range(20)]
        one.write(*map(one.insert, ids))
        one.settle()
        assert not one.store.storage_full
        fill(small_disk)

        one.write(one.finish(ids[0], payload=b"r" * 200_000))
        assert one.settle() == []
        assert one.store.storage_full
        assert not (small_disk / "ballast").exists()
        assert len(one.ask("outcome", "ann", ids[0]).payload) == 200_000

        fill(small_disk)
        payload = os.urandom(200_000)
        last = one.write(*(one.finish(task, payload=payload) for task in ids[1:4]))
        # Questions are answered from what is committed while the results wait.
        assert one.ask("task", "ann", ids[1]).state == 2
        assert one.store.committed < last
        (small_disk / "filler").unlink()
        while one.store.committed < last:
            one.run(_turn())
        assert one.problems == []
        assert one.ask("outcome", "ann", ids[3]).payload == payload
    finally:
        one.store.close()
    one.open()
    assert [one.ask("task", "ann", task).state for task in ids[:5]] == [10, 10, 10, 10, 2]


def test_text_on_a_full_disk_is_not_lost_either(small_disk, harness):
    one = harness(small_disk, space=Space(small_disk, min_free=0, fraction=0.0, ballast=2 * MIB))
    try:
        task = new_id()
        one.write(one.insert(task))
        one.settle()
        fill(small_disk)
        one.write(AddEvents(task, [EventRow(n, 1, n, 1, 1.0, b"%04d" % n * 5000) for n in range(1, 11)]))
        one.write(one.finish(task))
        assert one.settle() == []
        assert one.ask("log_text", "ann", task)["text"] == b"".join(b"%04d" % n * 5000 for n in range(1, 11))
        fill(small_disk)
        (small_disk / "filler").unlink()
        one.write(DeleteTasks("ann", [task]))
        assert one.settle() == []
    finally:
        one.store.close()


def test_closing_on_a_full_disk_ends_and_claims_nothing(small_disk, harness):
    one = harness(small_disk, space=Space(small_disk, min_free=0, fraction=0.0, ballast=0))
    task = new_id()
    one.write(one.insert(task))
    one.settle()
    fill(small_disk)
    last = one.write(one.finish(task, payload=os.urandom(200_000)))
    one.store.close(patience=0.1)
    assert one.store.committed < last
    (small_disk / "filler").unlink()
    one.open()
    assert one.ask("task", "ann", task).state == 2
    one.store.close()


async def _turn():
    import asyncio

    await asyncio.sleep(0.005)
