"""Environments on a real Slurm: `python stories_environments.py NAME`. test_environments.py runs them."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from fake_endpoint_hub import args, unpack
from stage import PLACE, STORIES, endpoint, jobs, run, story
from wheels import fruit

from jupyter_fx.endpoint.fusemounts import mounted
from jupyter_fx.payload import specs
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import Resources
from jupyter_fx_worker.specpack import fuse_tools


def taste(folder: str) -> tuple[str, str, str, bool]:
    """What is installed, where, in which batch job, and whether it is mounted; returns when two have begun."""
    import os
    import pathlib
    import sys
    import time

    import fxfruit

    job = os.environ["SLURM_JOB_ID"]
    pathlib.Path(folder, job).touch()
    until = time.monotonic() + 60
    while len(list(pathlib.Path(folder).iterdir())) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    return fxfruit.colour, sys.prefix, job, pathlib.Path(sys.prefix).is_mount()


def theirs(name: str) -> list[Path]:
    """Where this environment is mounted."""
    return [place for place in mounted() if place.name == name.removeprefix("env:")]


@story
async def an_environment_is_built_once_in_a_batch_job_and_used_in_others() -> None:
    fruit(PLACE)
    uv = {
        "JUPYTER_FX_UV": os.environ["FX_TEST_UV"],
        "UV_FIND_LINKS": str(PLACE),
        "UV_OFFLINE": "1",
        "UV_CACHE_DIR": str(PLACE / "cache"),
    }
    name = specs.name_of("fxfruit\n")
    both = PLACE / "both"
    both.mkdir()
    async with endpoint(f"c.Endpoint.env = {uv!r}\n") as (hub, agent):
        await agent.wants(1)
        built = await hub.call(specs.build, "fxfruit\n")
        assert built.state == TaskState.SUCCEEDED, built.error
        assert unpack(built.payload)["built"]
        (job,) = jobs()
        await agent.wants(2, environment=name, exclusive=True)
        function = hub.function(taste)
        needs = Resources(environment=name, exclusive=True)
        tasks = hub.lease(*(hub.task(function, args(str(both)), resources=needs) for _ in range(2)))
        found = [unpack((await hub.result(task)).payload) for task in tasks]
        assert {colour for colour, *_ in found} == {"red"}
        assert {Path(prefix).name for _, prefix, *_ in found} == {name.removeprefix("env:")}
        # One file that both nodes mount, where that can be done.
        assert {is_mount for *_, is_mount in found} == {not fuse_tools()[2] and bool(shutil.which("mksquashfs"))}
        # A node each, so at least one of them is in another job than the one that built it.
        used = {number for _, _, number, _ in found}
        assert used - {job}
        assert len(used) == 2
        assert used <= set(jobs())
        assert bool(theirs(name)) is all(is_mount for *_, is_mount in found)
        # Jobs that are cancelled while it is mounted take their mounts along, on each node.
        run("scancel", *used)
        await hub.wait(lambda: not theirs(name))
        await agent.wants(1)
        again = await hub.call(specs.build, "fxfruit\n")
        assert not unpack(again.payload)["built"]
        assert await agent.stop_for_good() == 0
        await agent.nothing_left()
        assert not theirs(name)


if __name__ == "__main__":
    asyncio.run(STORIES[sys.argv[1]]())
