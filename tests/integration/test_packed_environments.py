"""Environments that are kept as one file, at real endpoints: mounted, unpacked, and away at every kind of end."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_endpoint_hub import AgentProcess, Hub, endpoint, unpack
from ordinary_user import Unreadable, ordinary_user, why_no_ordinary_user
from wheels import fruit

from jupyter_fx.endpoint import fusemounts
from jupyter_fx.payload import specs
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import Demand, DemandItem, Resources
from tests.mounts import need_mksquashfs, need_mounts

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="endpoints for others run on Linux")

BLOCKS = "c.Blocks.provider = 'local'\nc.Blocks.walltime = ''\nc.Blocks.poll_seconds = 0.5\nc.Blocks.min_blocks = 1\n"
NAME = specs.name_of("fxfruit\n")
NEEDS = Resources(environment=NAME)


def uv(folder: Path) -> dict[str, str]:
    fruit(folder)
    return {"UV_FIND_LINKS": str(folder), "UV_OFFLINE": "1", "UV_CACHE_DIR": str(folder / "cache")}


async def tasted(hub: Hub) -> Path:
    """Where it was run."""

    def taste() -> tuple[str, str, str, bool]:
        """What is installed and where, what its own program says, and whether its byte code is used."""
        import pathlib
        import subprocess
        import sys

        import fxfruit

        said = subprocess.check_output([pathlib.Path(sys.prefix, "bin", "fxtaste")], text=True).strip()
        code = pathlib.Path(fxfruit.__cached__)
        return fxfruit.colour, sys.prefix, said, code.exists() and pathlib.Path(sys.prefix) in code.parents

    hub.send(Demand([DemandItem("", 1, NEEDS)]))
    ran = await hub.call(taste, resources=NEEDS)
    assert ran.state == TaskState.SUCCEEDED, ran.error
    colour, prefix, said, compiled = unpack(ran.payload)
    assert (colour, said, compiled) == ("red", prefix, True)
    assert Path(prefix).name == NAME.removeprefix("env:")
    return Path(prefix)


async def built(hub: Hub) -> None:
    hub.send(Demand([DemandItem("", 1, Resources())]))
    made = await hub.call(specs.build, "fxfruit\n")
    assert made.state == TaskState.SUCCEEDED, made.error
    assert unpack(made.payload)["built"]


async def gone(hub: Hub, place: Path) -> None:
    await hub.wait(lambda: place not in fusemounts.mounted() and not place.exists())


def run(config: str, story: Any, tmp_path: Path, **env: str) -> None:
    async def tell() -> None:
        config_all = f"c.Endpoint.env = { ({**uv(tmp_path), **env})!r}\n{config}"
        async with endpoint(config=config_all, TMPDIR=str(tmp_path)) as (hub, agent):
            try:
                await story(hub, agent)
            finally:
                (agent.home / "stop-for-good").touch()
                await agent.stop()
        assert not [place for place in fusemounts.mounted() if tmp_path in place.parents]

    try:
        asyncio.run(tell())
    finally:
        fusemounts.unmount_below(tmp_path)


def test_it_is_mounted_and_away_when_idle_and_after_a_kill(tmp_path: Path) -> None:
    need_mounts()
    config = "c.Endpoint.environment_squashfs = 'always'\nc.Containers.idle_seconds = 1\n"

    async def story(hub: Hub, agent: AgentProcess) -> None:
        await built(hub)
        place = await tasted(hub)
        assert place in fusemounts.mounted()
        await gone(hub, place)
        again = await tasted(hub)
        assert again in fusemounts.mounted()
        assert again != place
        await agent.kill()
        await hub.wait(lambda: again not in fusemounts.mounted())
        await agent.start()
        last = await tasted(hub)
        assert last in fusemounts.mounted()
        # What the killed one left in its own directory is away, too.
        assert len(list(last.parents[1].iterdir())) == 1

    run(config, story, tmp_path)


def test_without_the_programs_it_is_unpacked_and_its_log_says_why(tmp_path: Path) -> None:
    need_mksquashfs()
    (tmp_path / "bin").mkdir()
    for name in ("mksquashfs", "sh", "dirname", "realpath"):
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))

    async def story(hub: Hub, agent: AgentProcess) -> None:
        await built(hub)
        place = await tasted(hub)
        assert not place.is_mount()
        assert f"is unpacked to {place}, for it cannot be mounted here: there is no squashfuse" in agent.log

    run("c.Endpoint.environment_squashfs = 'always'\n", story, tmp_path, PATH=str(tmp_path / "bin"))
    assert not list(tmp_path.glob("jupyter-fx-*/containers/*"))


def processes(place: Path) -> dict[str, psutil.Process]:
    """Who mounts it, that one's manager, and its keeper."""
    (mounts,) = [one for one in psutil.process_iter(["cmdline"]) if str(place) in (one.info["cmdline"] or [])]
    manager = mounts.parent()
    assert manager is not None
    keeper = manager.parent()
    assert keeper is not None
    return {"mounts": mounts, "manager": manager, "keeper": keeper}


def test_on_nodes_it_is_so_by_itself_and_what_is_killed_leaves_nothing(tmp_path: Path) -> None:
    need_mounts()

    async def story(hub: Hub, agent: AgentProcess) -> None:
        await built(hub)
        first = await tasted(hub)
        there = processes(first)
        assert "jupyter_fx.endpoint.manager_main" in there["manager"].cmdline()
        there["manager"].kill()
        await gone(hub, first)
        second = await tasted(hub)
        there = processes(second)
        assert "jupyter_fx.endpoint.node" in there["keeper"].cmdline()
        # A job that is over its time: all at once, so that nobody can clean up before the next one comes.
        for name in ("keeper", "mounts", "manager"):
            os.kill(there[name].pid, signal.SIGKILL)
        third = await tasted(hub)
        assert third in fusemounts.mounted()
        assert second not in fusemounts.mounted()

    run(BLOCKS, story, tmp_path)


def test_all_of_it_works_for_an_ordinary_user() -> None:
    if why := why_no_ordinary_user():
        pytest.skip(why)
    need_mounts()
    with tempfile.TemporaryDirectory(prefix="fxu") as folder:
        try:
            with ordinary_user(Path(folder)) as account:
                tests = [
                    f"{account.paths[0]}/tests/unit/{one}"
                    for one in ("endpoint/test_packed.py", "worker/test_specpack.py")
                ]
                line = [account.python, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", *tests]
                env = {"HOME": str(account.home), "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
                ran = subprocess.run(
                    [*line, "--basetemp", str(account.home / "t")],
                    user=account.name, group=account.name, extra_groups=[], umask=0o077, env=env,
                    cwd=account.paths[0], capture_output=True, text=True, check=False, timeout=300,
                )  # fmt: skip
                print(ran.stdout[-6000:], ran.stderr[-2000:])
                assert ran.returncode == 0
                assert "skipped" not in ran.stdout
        except Unreadable as why:
            pytest.skip(str(why))
