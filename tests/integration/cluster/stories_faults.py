"""What goes wrong with jobs and on nodes: `python stories_faults.py NAME`, as an ordinary user."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import cloudpickle

sys.path.insert(0, str(Path(__file__).parents[1]))
import stories
from fake_endpoint_hub import args
from stage import STORIES, endpoint, jobs, run, story
from stories import lost_by, where

from jupyter_fx.protocol.lifecycle import TaskState

cloudpickle.register_pickle_by_value(stories)
ONE = "c.Blocks.max_blocks = 1\n"


@story
async def a_preempted_block_loses_what_ran_and_nothing_else() -> None:
    await lost_by("sbatch -p urgent -A physics -w {node} --exclusive -t 1 --wrap 'sleep 4'", by_root=False)


@story
async def a_requeued_block_loses_what_ran_and_nothing_else() -> None:
    await lost_by("scontrol update JobId={job} Requeue=1 && scontrol requeue {job}", by_root=True)


@story
async def a_held_block_says_who_holds_it_and_goes_on_when_it_is_released() -> None:
    async with endpoint(ONE + 'c.Blocks.scheduler_options = ["#SBATCH --hold"]\n') as (hub, agent):
        await agent.wants(1)
        why = await agent.why("JobHeldUser: held by you")
        print(why)
        assert f"scontrol release {jobs()[0]}" in why
        run("scontrol", "release", jobs()[0])
        await agent.blocks(1)
        assert (await hub.result(hub.lease(hub.task(hub.function(where), args(1)))[0])).state == TaskState.SUCCEEDED
        await agent.stop_for_good()
        await agent.nothing_left()


@story
async def a_user_without_a_home_on_the_node_can_work() -> None:
    """On the node itself and in an image."""
    async with endpoint(ONE + 'c.Blocks.setup = ["export HOME=/nowhere/at/all"]\n') as (hub, agent):
        await agent.wants(1)
        await agent.blocks(1)
        for environment in ("", f"charliecloud:{os.environ['FX_TEST_IMAGES']}/tree"):
            session = await hub.session(environment=environment)
            cell = hub.cell(session, "open('file', 'w').write('x')\nprint(open('file').read())")
            result = await hub.result(cell, 60)
            assert result.error is None, result.error
            assert hub.text(cell) == b"x\n"
        await agent.stop_for_good()
        await agent.nothing_left()


if __name__ == "__main__":
    asyncio.run(STORIES[sys.argv[1]]())
