"""An endpoint whose nodes are blocks of processes on this machine: what blocks do that needs no batch system."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_endpoint_hub import AgentProcess, Hub, args, endpoint, unpack

from jupyter_fx.endpoint.node import MARK
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import CloseSession, Demand, DemandItem, Resources, SessionClosed

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="endpoints for others run on Linux")

LOCAL = "c.Blocks.provider = 'local'\nc.Blocks.walltime = ''\nc.Blocks.poll_seconds = 0.5\n"


def told(story: Callable[[Hub, AgentProcess], Coroutine[Any, Any, None]], extra: str = "") -> None:
    async def tell() -> None:
        async with endpoint(config=LOCAL + extra) as (hub, agent):
            try:
                await story(hub, agent)
            finally:
                (agent.home / "stop-for-good").touch()
                await agent.stop()
            assert not members(agent), "nothing of a block is left"
            assert not list((agent.home / "blocks").iterdir())

    asyncio.run(tell())


def members(agent: AgentProcess, part: str = "") -> list[psutil.Process]:
    """Processes of this endpoint's blocks."""
    blocks = {path.name for path in (agent.home / "blocks").iterdir()} | SEEN.setdefault(str(agent.home), set())
    SEEN[str(agent.home)] = blocks
    found = []
    for process in psutil.process_iter():
        try:
            mark = process.environ().get(MARK, "")
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        ours = mark.partition(":")[0] in blocks or any(block in line for block in blocks)
        if ours and part in line and process.status() != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


SEEN: dict[str, set[str]] = {}


def info(hub: Hub) -> dict[str, Any]:
    return hub.statuses[-1].info if hub.statuses else {}


async def up(hub: Hub, managers: int = 1) -> None:
    hub.send(Demand([DemandItem("", managers * 2, Resources())]))
    await hub.wait(lambda: info(hub).get("managers") == managers and info(hub).get("slots") == 2 * managers, 30)


def work(path: str, seconds: float) -> str:
    subprocess.Popen(["sh", "-c", "setsid sleep 987 & exit"], start_new_session=True).wait()
    with open(path, "a") as file:
        file.write("x")
    time.sleep(seconds)
    return "done"


async def begun(hub: Hub, path: Path, times: int = 1) -> None:
    """`work` has begun so many times."""
    await hub.wait(lambda: path.exists() and len(path.read_text()) >= times)


def test_blocks_come_with_the_work_and_go_when_there_is_none(tmp_path: Path) -> None:
    async def story(hub: Hub, agent: AgentProcess) -> None:
        assert not members(agent)
        await up(hub, 2)
        function = hub.function(work)
        ids = hub.lease(*[hub.task(function, args(str(tmp_path / "ran"), 0.1)) for _ in range(8)])
        for one in ids:
            assert unpack((await hub.result(one)).payload) == "done"
        session = await hub.session()
        hub.send(Demand([]))
        await hub.wait(lambda: info(hub)["managers"] == 1, 20)
        assert (await hub.result(hub.cell(session, "1"))).state == TaskState.SUCCEEDED
        hub.send(CloseSession(session, "enough"))
        await hub.wait(lambda: info(hub)["managers"] == 0 and not info(hub)["blocks"], 20)
        assert not members(agent)

    told(story, "c.Blocks.max_blocks = 2\nc.Blocks.idle_seconds = 1\n")


def test_a_killed_manager_is_attested_by_its_keeper_and_leaves_nothing(tmp_path: Path) -> None:
    async def story(hub: Hub, agent: AgentProcess) -> None:
        await up(hub)
        (running,) = hub.lease(hub.task(hub.function(work), args(str(tmp_path / "ran"), 60.0)))
        await begun(hub, tmp_path / "ran")
        (manager,) = members(agent, "manager_main")
        (sleep,) = members(agent, "sleep 987")
        manager.kill()
        result = await hub.result(running, 10)
        assert result.lost
        assert result.error is not None
        assert "SIGKILL" in result.error.message
        assert not sleep.is_running()
        await hub.wait(lambda: info(hub)["slots"] == 2, 20)
        assert (await hub.call(abs, -3)).state == TaskState.SUCCEEDED

    told(story)


def test_a_killed_keeper_takes_its_manager_with_it(tmp_path: Path) -> None:
    async def story(hub: Hub, agent: AgentProcess) -> None:
        await up(hub)
        (running,) = hub.lease(hub.task(hub.function(work), args(str(tmp_path / "ran"), 60.0)))
        await begun(hub, tmp_path / "ran")
        (keeper,) = members(agent, "endpoint.node")
        left = members(agent, "sleep 987")
        keeper.kill()
        assert (await hub.result(running, 20)).lost
        assert not members(agent, "manager_main")
        for one in left:
            one.kill()
        assert (tmp_path / "ran").read_text() == "x"

    told(story)


def test_an_agent_that_is_killed_or_terminated_leaves_its_blocks_to_the_next(tmp_path: Path) -> None:
    async def story(hub: Hub, agent: AgentProcess) -> None:
        await up(hub)
        session = await hub.session()
        assert (await hub.result(hub.cell(session, "x = 5"))).state == TaskState.SUCCEEDED
        function = hub.function(work)
        for times, end in enumerate((agent.kill, agent.stop), 1):
            (running,) = hub.lease(hub.task(function, args(str(tmp_path / "ran"), 3.0)))
            await begun(hub, tmp_path / "ran", times)
            (manager,) = members(agent, "manager_main")
            await end()
            assert manager.is_running()
            await agent.start()
            assert (await hub.result(running, 20)).state == TaskState.SUCCEEDED
            cell = hub.cell(session, "print(x)")
            assert (await hub.result(cell)).state == TaskState.SUCCEEDED
            assert hub.text(cell) == b"5\n"
            assert members(agent, "manager_main") == [manager]
        assert (tmp_path / "ran").read_text() == "xx"
        assert not [one for one in hub.sessions if isinstance(one, SessionClosed)]

    told(story)


def test_a_python_that_is_not_there_is_told_and_not_tried_for_ever(tmp_path: Path) -> None:
    async def story(hub: Hub, agent: AgentProcess) -> None:
        hub.send(Demand([DemandItem("", 1, Resources())]))
        await hub.wait(lambda: "ended before a manager of it came" in info(hub).get("why", ""), 20)
        assert len(list((agent.home / "block-logs").iterdir())) <= 2
        (log, *_) = (agent.home / "block-logs").glob("*/job.log")
        assert "/nowhere/python" in log.read_text()

    told(story, "c.Blocks.python = '/nowhere/python'\n")


def test_a_stranger_on_the_network_is_not_admitted(tmp_path: Path) -> None:
    from jupyter_fx.endpoint.bootstrap import Block
    from jupyter_fx.errors import FxError
    from jupyter_fx.transport import zmq as transport

    async def story(hub: Hub, agent: AgentProcess) -> None:
        await up(hub)
        (folder,) = (agent.home / "blocks").iterdir()
        known = Block(folder).agent()
        assert known is not None
        with pytest.raises(FxError):
            await transport.connect(known.address, server_key=known.key, keys=transport.new_keys(), timeout=3.0)
        assert (await hub.call(abs, -3)).state == TaskState.SUCCEEDED
        for path in folder.rglob("*"):
            assert path.stat().st_mode & 0o077 == 0, path

    told(story)


def test_an_address_that_leads_nowhere_is_passed_over() -> None:
    async def story(hub: Hub, agent: AgentProcess) -> None:
        await up(hub)
        assert (await hub.call(abs, -3)).state == TaskState.SUCCEEDED

    # 192.0.2.0/24 is for documentation: nobody has it.
    told(story, "c.Blocks.addresses = ['192.0.2.1', 'no-such-host.invalid', '127.0.0.1']\n")


def test_a_job_that_starts_after_its_block_was_given_up_ends_at_once(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "jupyter_fx.endpoint.node", str(tmp_path / "gone")],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env=dict(os.environ),
    )
    assert ran.returncode == 0
    assert "there is no block in" in ran.stderr
    assert not (tmp_path / "gone").exists()
