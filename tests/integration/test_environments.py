"""Environments from specifications at a real endpoint: in the agent's own manager, and in the blocks of one."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_endpoint_hub import Hub, endpoint, unpack
from wheels import fruit

from jupyter_fx.payload import specs
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import Demand, DemandItem, Resources

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="endpoints for others run on Linux")

BLOCKS = "c.Blocks.provider = 'local'\nc.Blocks.walltime = ''\nc.Blocks.poll_seconds = 0.5\nc.Blocks.min_blocks = 1\n"


@pytest.mark.parametrize("blocks", ["", BLOCKS])
def test_it_is_built_by_a_task_and_tasks_and_sessions_run_in_it(tmp_path: Path, blocks: str) -> None:
    fruit(tmp_path)
    uv = {"UV_FIND_LINKS": str(tmp_path), "UV_OFFLINE": "1", "UV_CACHE_DIR": str(tmp_path / "cache")}
    name = specs.name_of("fxfruit\n")
    needs = Resources(environment=name)

    def taste() -> tuple[str, str, str]:
        import os
        import sys

        import fxfruit

        return fxfruit.colour, sys.prefix, os.environ.get("PATH", "").split(os.pathsep)[0]

    async def story(hub: Hub) -> None:
        hub.send(Demand([DemandItem("", 1, Resources())]))
        early = await hub.call(taste, resources=needs)
        assert early.state == TaskState.FAILED
        assert early.error is not None
        assert "is not at this endpoint" in early.error.message
        built = await hub.call(specs.build, "fxfruit\n")
        assert unpack(built.payload)["built"], built.error
        # At once: that it was missing is not remembered.
        ran = await hub.call(taste, resources=needs)
        assert ran.state == TaskState.SUCCEEDED, ran.error
        colour, prefix, programs = unpack(ran.payload)
        assert (colour, Path(prefix).name) == ("red", name.removeprefix("env:"))
        assert programs == f"{prefix}/bin"
        session = await hub.session(environment=name)
        cell = hub.cell(session, "import fxfruit; print(fxfruit.colour)")
        await hub.result(cell)
        assert hub.text(cell) == b"red\n"
        elsewhere = await hub.call(taste)
        assert elsewhere.state == TaskState.FAILED
        (one,) = hub.lease(hub.task(hub.function(taste), b"", resources=Resources(environment="env:../../x")))
        await hub.wait(lambda: [n for n in hub.nacks if n.tasks[0][0] == one])
        assert "is no environment" in hub.nacks[-1].error.message

    async def tell() -> None:
        async with endpoint(config=f"c.Endpoint.env = {uv!r}\n{blocks}") as (hub, agent):
            try:
                await story(hub)
            finally:
                (agent.home / "stop-for-good").touch()
                await agent.stop()

    asyncio.run(tell())
