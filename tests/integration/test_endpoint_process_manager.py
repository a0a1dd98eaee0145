"""An endpoint whose manager is a process of its own: it outlives its agent, and is replaced when it dies."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_endpoint_hub import AgentProcess, Hub, args, endpoint, unpack

from jupyter_fx.endpoint.bootstrap import Block
from jupyter_fx.processes import began
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import SessionClosed

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="endpoints for others run on Linux")


def told(story: Callable[[Hub, AgentProcess], Coroutine[Any, Any, None]]) -> None:
    async def tell() -> None:
        async with endpoint(config="c.Endpoint.manager = 'process'\n") as (hub, agent):
            await story(hub, agent)
            left = (
                [block(agent).manager()]
                if (agent.home / "blocks").exists() and list((agent.home / "blocks").iterdir())
                else []
            )
            await agent.stop()
            for one in left:
                assert one is None or not psutil.pid_exists(one.pid) or began(one.pid) != one.started

    asyncio.run(tell())


def block(agent: AgentProcess) -> Block:
    (folder,) = (agent.home / "blocks").iterdir()
    return Block(folder)


def test_calls_prints_and_bursts_go_through() -> None:
    def talk(x: int) -> int:
        print("said", x)
        return x + 1

    async def story(hub: Hub, agent: AgentProcess) -> None:
        result = await hub.call(talk, 1)
        assert unpack(result.payload) == 2
        assert hub.text(result.task_id) == b"said 1\n"
        function = hub.function(lambda x: x)
        ids = hub.lease(*[hub.task(function, args(i)) for i in range(500)])
        for at, one in enumerate(ids):
            assert unpack((await hub.result(one)).payload) == at
        for name in ("secret", "agent.json", "spec.json", "manager.json"):
            assert (block(agent).folder / name).stat().st_mode & 0o077 == 0

    told(story)


def test_what_runs_outlives_its_agent_and_starts_once(tmp_path: Path) -> None:
    def work(path: str, seconds: float) -> str:
        with open(path, "a") as file:
            file.write("x")
        time.sleep(seconds)
        return "done"

    async def story(hub: Hub, agent: AgentProcess) -> None:
        path = str(tmp_path / "ran")
        function = hub.function(work)
        session = await hub.session()
        first = await hub.result(hub.cell(session, "x = 7"))
        assert first.state == TaskState.SUCCEEDED
        running = hub.lease(*[hub.task(function, args(path, 2.0)) for _ in range(2)])
        await hub.wait(lambda: {u.task_id for u in hub.updates if u.phase == "started"} >= set(running))
        waiting = hub.lease(hub.task(function, args(path, 0.0)))[0]
        await hub.wait(lambda: any(u.task_id == waiting for u in hub.updates))
        manager = block(agent).manager()
        await agent.kill()
        await agent.start()
        assert block(agent).manager() == manager
        for one in [*running, waiting]:
            result = await hub.result(one)
            assert (result.state, unpack(result.payload)) == (TaskState.SUCCEEDED, "done")
        assert (tmp_path / "ran").read_text() == "xxx"
        cell = hub.cell(session, "print(x)")
        assert (await hub.result(cell)).state == TaskState.SUCCEEDED
        assert hub.text(cell) == b"7\n"

    told(story)


def test_a_managers_death_is_told_and_another_one_takes_over() -> None:
    def work(seconds: float) -> int:
        time.sleep(seconds)
        return 1

    async def story(hub: Hub, agent: AgentProcess) -> None:
        function = hub.function(work)
        await hub.session()
        running = hub.lease(*[hub.task(function, args(60.0)) for _ in range(2)])
        await hub.wait(lambda: {u.task_id for u in hub.updates if u.phase == "started"} >= set(running))
        waiting = hub.lease(hub.task(function, args(0.0)))[0]
        manager = block(agent).manager()
        assert manager is not None
        workers = psutil.Process(manager.pid).children(recursive=True)
        os.kill(manager.pid, 9)
        for one in running:
            assert (await hub.result(one)).lost
        assert unpack((await hub.result(waiting)).payload) == 1
        closed = await hub.wait(lambda: [s for s in hub.sessions if isinstance(s, SessionClosed)])
        assert closed[0].lost
        assert not [one for one in workers if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]

    told(story)


def test_who_comes_to_a_block_that_is_over_leaves_nothing_there(tmp_path: Path) -> None:
    ended = Block(tmp_path / "blocks" / "one", make=True)
    ended.delete()
    line = [sys.executable, "-m", "jupyter_fx.endpoint.manager_main", str(ended.folder)]
    came = subprocess.run(line, capture_output=True, text=True, check=False)
    assert came.returncode == 1
    assert "FileNotFoundError" in came.stderr
    assert not ended.folder.exists()


def test_only_keys_that_the_secret_vouches_for_are_admitted(tmp_path: Path) -> None:
    there = Block(tmp_path / "block", make=True)
    there.make_secret()
    there.enrol("a" * 40)
    assert there.admits("a" * 40)
    assert not there.admits("b" * 40)
    (path,) = (there.folder / "keys").glob("*.json")
    said = msgspec.json.decode(path.read_bytes())
    said["key"] = "b" * 40
    path.write_bytes(msgspec.json.encode(said))
    assert not there.admits("b" * 40)
