"""Images from definitions on a real Slurm: `python stories_definitions.py NAME`. test_images.py runs them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from fake_endpoint_hub import args, unpack
from stage import PLACE, STORIES, endpoint, jobs, story

from jupyter_fx.payload import definitions
from jupyter_fx.protocol.messages import Resources

IMAGES = Path(os.environ["FX_TEST_IMAGES"])


def look(folder: str, n: int) -> str:
    """What RUN made; returns when two have begun."""
    import pathlib
    import time

    pathlib.Path(folder, str(n)).touch()
    until = time.monotonic() + 60
    while len(list(pathlib.Path(folder).iterdir())) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    return pathlib.Path("/etc/fx-made").read_text()


@story
async def an_image_is_built_once_in_a_batch_job_and_used_in_others() -> None:
    store = {"CH_IMAGE_STORAGE": str(PLACE / "store")}
    # Its Python is the system's, and its cache wants to know who it is for.
    git = {f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    env = {**os.environ, **store, **git, "PATH": "/usr/bin:/bin"}
    imported = ["ch-image", "import", str(IMAGES / "tree"), "fxbase:1"]
    subprocess.run(imported, env=env, check=True)
    (PLACE / "Dockerfile").write_text("FROM fxbase:1\nRUN echo made > /etc/fx-made\n")
    sent = definitions.read(PLACE / "Dockerfile")
    name = definitions.name_of(sent)
    both = PLACE / "both"
    both.mkdir()
    config = f"c.Endpoint.env = {store!r}\nc.Containers.runtime = 'charliecloud'\nc.Containers.data = [{str(both)!r}]\n"
    async with endpoint(config) as (hub, agent):
        await agent.wants(1)
        built = await hub.call(definitions.build, *sent)
        assert built.error is None, (built.error, hub.text(built.task_id))
        assert unpack(built.payload)["built"]
        assert unpack(built.payload)["form"] == "squashfs"
        # The only place where tasks can have run.
        assert len(jobs()) == 1
        await agent.wants(2, environment=name, exclusive=True)
        function, needs = hub.function(look), Resources(environment=name, exclusive=True)
        tasks = hub.lease(*(hub.task(function, args(str(both), n), resources=needs) for n in range(2)))
        results = [await hub.result(task, 120) for task in tasks]
        assert [one.error for one in results] == [None, None], [one.error for one in results]
        assert {unpack(one.payload) for one in results} == {"made\n"}
        # A node each, so at least one of them is in another job than the one that built it.
        assert len({one.usage["node"] for one in results if one.usage is not None}) == 2
        assert len(jobs()) > 1
        again = await hub.call(definitions.build, *sent)
        assert not unpack(again.payload)["built"]
        assert await agent.stop_for_good() == 0
        await agent.nothing_left()


if __name__ == "__main__":
    asyncio.run(STORIES[sys.argv[1]]())
