"""Endpoints whose tasks run on real Parsl (High Throughput Executor, threads) and real Dask."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_endpoint_hub import AgentProcess, Hub, args, endpoint, pack, unpack

from jupyter_fx.endpoint.bootstrap import Block
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import EventKind, Kind, Result, SessionClosed
from jupyter_fx_worker import envelope

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="endpoints for others run on Linux")

SLOW = 120.0
"""Seconds that an engine may take to start, on a busy machine."""

THREADS = """
from parsl.config import Config
from parsl.executors import ThreadPoolExecutor
c.Endpoint.engine = "parsl"
c.Endpoint.engine_config = lambda: Config(executors=[ThreadPoolExecutor(max_threads=2)], initialize_logging=False)
"""
HTEX = """
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider
c.Endpoint.engine = "parsl"
def make():
    provider = LocalProvider(init_blocks=1, max_blocks=1)
    htex = HighThroughputExecutor(
        label="htex", address="127.0.0.1", max_workers_per_node=2, heartbeat_period=1, heartbeat_threshold=4,
        provider=provider, block_error_handler=False,
    )
    return Config(executors=[htex], strategy="none", initialize_logging=False)
c.Endpoint.engine_config = make
"""
DASK = """
c.Endpoint.engine = "dask"
c.Endpoint.engine_address = "local"
"""


def told(config: str, story: Callable[[Hub, AgentProcess], Coroutine[Any, Any, None]]) -> None:
    async def tell() -> None:
        async with endpoint(config=config) as (hub, agent):
            try:
                await story(hub, agent)
            except BaseException:
                for log in agent.home.glob("blocks/*/manager.log"):
                    print(log.read_text()[-8000:])
                raise
            there = {one.pid for one in hosts(agent)}
            below = [psutil.Process(pid) for pid in psutil.pids() if pid and _session(pid) in there]
            await agent.stop()
            _, alive = psutil.wait_procs(below, 20)
            assert not alive

    asyncio.run(tell())


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def hosts(agent: AgentProcess) -> list[psutil.Process]:
    found = [Block(folder).manager() for folder in (agent.home / "blocks").iterdir()]
    return [psutil.Process(one.pid) for one in found if one is not None]


def work(path: str, seconds: float) -> str:
    with open(path, "a") as file:
        file.write("x")
    time.sleep(seconds)
    return "done"


async def started(hub: Hub, ids: list[str]) -> None:
    await hub.wait(lambda: {u.task_id for u in hub.updates if u.phase == "started"} >= set(ids), SLOW)


async def value(hub: Hub, task_id: str) -> Any:
    result = await hub.result(task_id, SLOW)
    assert result.state == TaskState.SUCCEEDED, result.error
    return unpack(result.payload)


async def calls_and_maps(hub: Hub) -> None:
    """What every engine does."""

    def talk(x: int) -> int:
        print("said", x)
        return x + 1

    def bad() -> None:
        raise KeyError("nothing there")

    (one,) = hub.lease(hub.task(hub.function(talk), args(1)))
    assert await value(hub, one) == 2
    assert hub.text(one) == b"said 1\n"
    failed = await hub.result(hub.lease(hub.task(hub.function(bad), args()))[0], SLOW)
    assert failed.error is not None
    assert (failed.state, failed.error.etype) == (TaskState.FAILED, "KeyError")
    assert "in bad" in failed.error.details["remote_traceback"]

    square = hub.function(lambda x: x * x)
    chunks = [pack(list(range(at, at + 2_500)), "items", n=2_500) for at in range(0, 20_000, 2_500)]
    ids = hub.lease(*[hub.task(square, chunk, Kind.MAP, items=2_500) for chunk in chunks])
    values: list[int] = []
    for one in ids:
        result = await hub.result(one, SLOW)
        values += values_of(hub, result)
    assert values == [x * x for x in range(20_000)]

    (one,) = hub.lease(hub.task(hub.function(lambda n: b"x" * n), args(1 << 20)))
    large = await hub.result(one, SLOW)
    assert large.blob is not None
    assert len(unpack(hub.blobs[large.blob.digest])) == 1 << 20


def values_of(hub: Hub, result: Result) -> list[int]:
    data = memoryview(bytearray(result.payload if result.blob is None else hub.blobs[result.blob.digest]))
    values: list[int] = []
    while data:
        from jupyter_fx_worker.inputs import end_of

        values += envelope.loads(data)[1]
        data = data[end_of(data) :]
    return values


async def refusals(hub: Hub, name: str) -> None:
    """What no engine does is said at once."""
    function = hub.function(lambda: 1)
    from jupyter_fx.protocol.messages import Resources

    for how in ({"timeout": 5.0}, {"resources": Resources(cores=3)}, {"resources": Resources(environment="a.sqfs")}):
        (one,) = hub.lease(hub.task(function, args(), **how))
        await hub.wait(lambda one=one: [n for n in hub.nacks if n.tasks[0][0] == one])
        assert hub.nacks[-1].final
        assert name in hub.nacks[-1].error.message
    hub.ask_session()
    closed = await hub.wait(lambda: [s for s in hub.sessions if isinstance(s, SessionClosed)])
    assert f"{name}, which keeps no session" in closed[-1].reason


async def agent_dies(hub: Hub, agent: AgentProcess, folder: Path) -> None:
    """What runs and what waits outlives the agent, and starts once."""
    function = hub.function(work)
    path = str(folder / "ran")
    running = hub.lease(*[hub.task(function, args(path, 3.0)) for _ in range(2)])
    await started(hub, running)
    (waiting,) = hub.lease(hub.task(function, args(path, 0.0)))
    await hub.wait(lambda: any(u.task_id == waiting for u in hub.updates))
    (host,) = hosts(agent)
    await agent.kill()
    await agent.start()
    assert hosts(agent) == [host]
    for one in [*running, waiting]:
        assert await value(hub, one) == "done"
    assert (folder / "ran").read_text() == "xxx"


def test_dask_runs_calls_and_maps_and_keeps_our_promises(tmp_path: Path) -> None:
    async def story(hub: Hub, agent: AgentProcess) -> None:
        await calls_and_maps(hub)
        await refusals(hub, "Dask")
        await agent_dies(hub, agent, tmp_path)

        def deadly(path: str) -> None:
            with open(path, "a") as file:
                file.write("x")
            os._exit(3)

        # Dask starts again elsewhere what its worker died of: it must not start twice.
        (one,) = hub.lease(hub.task(hub.function(deadly), args(str(tmp_path / "deadly"))))
        lost = await hub.result(one, SLOW)
        assert lost.lost
        assert lost.error is not None
        assert lost.error.etype == "WorkerLost"
        assert (tmp_path / "deadly").read_text() == "x"

    told(DASK, story)


def until(path: str) -> str:
    pid = os.getpid()
    Path(path + ".new").write_text(str(pid))
    Path(path + ".new").rename(path + ".pid")
    while not Path(path).exists():
        time.sleep(0.05)
    return "done"


async def its_manager_dies(hub: Hub, agent: AgentProcess, folder: Path) -> None:
    """HTEX loses a manager whose workers live: their results count. One that is dead is lost, not before."""
    function = hub.function(until)
    paths = [str(folder / name) for name in ("lives", "dies")]
    ids = hub.lease(*[hub.task(function, args(path)) for path in paths])
    await hub.wait(lambda: all(Path(path + ".pid").exists() for path in paths), SLOW)
    await started(hub, ids)
    (host,) = hosts(agent)
    mine = [one for one in psutil.process_iter(["cmdline"]) if _session(one.pid) == host.pid]
    (pool,) = [
        one for one in mine if any(word.endswith("process_worker_pool.py") for word in (one.info["cmdline"] or [])[:2])
    ]
    lives, dies = [psutil.Process(int(Path(path + ".pid").read_text())) for path in paths]
    pool.kill()
    notes = await hub.wait(lambda: {o.task_id: o for o in hub.outputs if "may still" in str(o.data)}, SLOW)
    assert "loss of manager" in next(iter(notes.values())).data["text"]
    dies.kill()
    lost = await hub.result(ids[1], SLOW)
    assert lost.lost
    assert lives.is_running()
    Path(paths[0]).touch()
    assert await value(hub, ids[0]) == "done"


def test_parsls_htex_runs_calls_and_maps_and_keeps_our_promises(tmp_path: Path) -> None:
    async def story(hub: Hub, agent: AgentProcess) -> None:
        await calls_and_maps(hub)
        await refusals(hub, "Parsl")
        await agent_dies(hub, agent, tmp_path)
        (one,) = hub.lease(hub.task(hub.function(lambda: os._exit(3)), args()))
        lost = await hub.result(one, SLOW)
        assert lost.lost
        assert lost.error is not None
        assert "the worker of Parsl that ran this task was lost" in lost.error.message
        function = hub.function(work)
        # The engine dies: its interchange.
        running = hub.lease(*[hub.task(function, args(str(tmp_path / "again"), 600.0)) for _ in range(2)])
        await hub.wait(lambda: (tmp_path / "again").exists() and (tmp_path / "again").read_text() == "xx", SLOW)
        await started(hub, running)
        (waiting,) = hub.lease(hub.task(function, args(str(tmp_path / "again"), 0.0)))
        (host,) = hosts(agent)
        (interchange,) = [one for one in host.children() if "interchange" in " ".join(one.cmdline())]
        interchange.kill()
        for one in running:
            assert (await hub.result(one, SLOW)).lost
        assert await value(hub, waiting) == "done"
        assert (tmp_path / "again").read_text() == "xxx"
        assert hosts(agent) != [host]
        workers = [
            one for one in psutil.process_iter(["cmdline"]) if str(agent.home) in " ".join(one.info["cmdline"] or [])
        ]
        assert {_session(one.pid) for one in workers if one.is_running()} - {0} == {hosts(agent)[0].pid}
        await its_manager_dies(hub, agent, tmp_path)

    told(HTEX, story)


def test_when_the_engines_process_dies_what_had_started_is_lost_and_the_rest_runs(tmp_path: Path) -> None:
    async def story(hub: Hub, agent: AgentProcess) -> None:
        function = hub.function(work)
        path = str(tmp_path / "ran")
        running = hub.lease(*[hub.task(function, args(path, 600.0)) for _ in range(2)])
        await started(hub, running)
        waiting = hub.lease(*[hub.task(function, args(path, 0.0)) for _ in range(3)])
        hub.cancel(running[0])
        notes = await hub.wait(lambda: [o for o in hub.outputs if o.kind == EventKind.NOTE])
        assert "Parsl cannot stop a running task" in notes[0].data["text"]
        hub.cancel(waiting[0])
        assert (await hub.result(waiting[0])).state == TaskState.CANCELLED
        await hub.wait(lambda: (tmp_path / "ran").exists() and (tmp_path / "ran").read_text() == "xx")
        # Both at once: the next agent finds no host, but what that one's workers wrote.
        (host,) = hosts(agent)
        await agent.kill()
        host.kill()
        await agent.start()
        for one in running:
            result = await hub.result(one, SLOW)
            assert result.lost
        for one in waiting[1:]:
            assert await value(hub, one) == "done"
        assert (tmp_path / "ran").read_text() == "xxxx"
        status = hub.statuses[-1].info
        assert (status["engine"], status["slots"]) == ("parsl", 2)

    told(THREADS, story)
