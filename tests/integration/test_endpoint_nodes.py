"""Nodes that are not as they should be: another version, a wrong clock, a full scratch directory. Without Slurm: each
node is a process here, whose Python is made to see what is wrong.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_endpoint_hub import AgentProcess, Hub, args
from test_endpoint_blocks import info, told, up

from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import Demand, DemandItem, Resources

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="endpoints for others run on Linux")


def node_python(folder: Path, first: str) -> str:
    """The settings' line for a Python that does `first` whenever it starts. Without FOLDER/sitecustomize.py it is as
    any other.
    """
    (folder / "sitecustomize.py").write_text(first)
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexport PYTHONPATH={folder}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return f"c.Blocks.python = {str(python)!r}\n"


async def why(hub: Hub, part: str) -> str:
    await hub.wait(lambda: part in info(hub).get("why", ""), 30)
    return str(info(hub)["why"])


def test_a_manager_of_another_version_is_not_let_in_and_work_waits_for_the_cure(tmp_path: Path) -> None:
    async def story(hub: Hub, agent: AgentProcess) -> None:
        (task,) = hub.lease(hub.task(hub.function(abs), args(-3)))
        hub.send(Demand([DemandItem("", 1, Resources())]))
        said = await why(hub, "speaks version 99")
        assert "the same jupyter-fx has to be installed for both (c.Blocks.python" in said
        assert task not in hub.results
        (tmp_path / "sitecustomize.py").unlink()
        result = await hub.result(task, 40)
        assert result.state == TaskState.SUCCEEDED
        assert info(hub)["why"] == ""

    told(story, node_python(tmp_path, "import jupyter_fx.endpoint.mailbox as it\nit.VERSION = 99\n"))


def test_a_node_whose_clock_is_hours_wrong_is_told_and_its_times_are_put_right(tmp_path: Path) -> None:
    async def story(hub: Hub, agent: AgentProcess) -> None:
        await up(hub)
        begun = time.time()
        (task,) = hub.lease(hub.task(hub.function(print), args("here")))
        result = await hub.result(task)
        assert result.state == TaskState.SUCCEEDED
        times = [*result.times, *(one.t for one in hub.outputs if one.task_id == task)]
        assert len(times) >= 4
        # Three hours are put right; how exactly depends on the way of one message.
        assert all(begun - 60 < one < time.time() + 60 for one in times), (begun, times)
        assert re.search(r"is 10[78]\d\d s ahead of this host's", agent.log)

    told(story, node_python(tmp_path, "import time\n_now = time.time\ntime.time = lambda: _now() + 10800\n"))


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """A small file system: 40 files, 256 KiB."""
    if os.getuid():
        pytest.skip("only root may mount a small file system")
    path = tmp_path / "small"
    path.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k,nr_inodes=40", "none", path],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"no small file system can be mounted: {made.stderr.strip()}")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def fill(scratch: Path) -> None:
    """To the last file and the last byte."""
    with contextlib.suppress(OSError):
        (scratch / "bytes").write_bytes(bytes(1 << 20))
    with contextlib.suppress(OSError):
        for n in range(100):
            (scratch / f"f{n}").touch()


def test_a_full_scratch_directory_is_named_with_its_cure(scratch: Path) -> None:
    async def story(hub: Hub, agent: AgentProcess) -> None:
        fill(scratch)
        (task,) = hub.lease(hub.task(hub.function(abs), args(-3)))
        hub.send(Demand([DemandItem("", 1, Resources())]))
        said = await why(hub, "No space left on device")
        assert str(scratch) in said
        assert "c.Blocks.scratch" in said
        for path in scratch.iterdir():
            if path.is_file():
                path.unlink()
        assert (await hub.result(task, 40)).state == TaskState.SUCCEEDED
        session = await hub.session()
        fill(scratch)
        cell = hub.cell(session, "print('x' * 100_000)\nbytes(2_000_000)")
        result = await hub.result(cell)
        assert result.state == TaskState.SUCCEEDED, result.error
        assert len(hub.text(cell)) == 100_001

    told(story, f"c.Blocks.scratch = {str(scratch)!r}\n")
