"""Where the stories of an endpoint on Slurm are played: the scheduler's commands, an agent and a hub of theirs."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from fake_endpoint_hub import AgentProcess, Hub

from jupyter_fx.protocol.messages import Demand, DemandItem, Resources

PLACE = Path(os.environ["FX_TEST_PLACE"])
STORIES: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {}
SLURM = """
c.Blocks.provider = "slurm"
c.Blocks.partition = "debug"
c.Blocks.account = "physics"
c.Blocks.walltime = "00:10:00"
c.Blocks.cores_per_node = 16
c.Blocks.max_blocks = 4
c.Blocks.poll_seconds = 1
c.Blocks.idle_seconds = 300
"""


def story(function: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], Coroutine[Any, Any, None]]:
    STORIES[function.__name__] = function
    return function


def root(line: str) -> str:
    """What only root may do."""
    folder = Path(os.environ["FX_TEST_REQUESTS"])
    name = uuid.uuid4().hex
    (folder / f"{name}.new").write_text(line)
    (folder / f"{name}.new").rename(folder / f"{name}.ask")
    while not (folder / f"{name}.done").exists():
        time.sleep(0.02)
    status, _, said = (folder / f"{name}.done").read_text().partition("\n")
    assert status == "0", said
    return said


def run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def jobs(state: str = "") -> list[str]:
    return run("squeue", "--me", "-h", "-o", "%i", *(["-t", state] if state else [])).split()


class Endpoint(AgentProcess):
    """An agent, its hub, and what tests ask of both."""

    def info(self) -> dict[str, Any]:
        return self.hub.statuses[-1].info if self.hub.statuses else {}

    async def wants(self, n: int, **resources: Any) -> None:
        items = [DemandItem("", n, Resources(**resources))] if n else []
        self.hub.send(Demand(items))

    async def blocks(self, n: int, seconds: float = 60.0) -> None:
        """So many managers are there, and workers of them ready."""
        ready = lambda: self.info().get("managers", 0) == n and self.info().get("slots", 0) >= n  # noqa: E731
        await self.hub.wait(ready, seconds)

    async def why(self, part: str) -> str:
        await self.hub.wait(lambda: part in self.info().get("why", ""), 20)
        return str(self.info()["why"])

    async def nothing_left(self, seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while jobs() or ours():
            assert time.monotonic() < end, (jobs(), ours())
            await asyncio.sleep(0.2)
        assert not list((self.home / "blocks").iterdir())

    async def stop_for_good(self) -> int:
        (self.home / "stop-for-good").touch()
        return await self.stop()


def ours() -> list[str]:
    """Processes that a block of this user has on any node."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                environ = (path / "environ").read_bytes().split(b"\0")
                command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if any(one.startswith(b"JUPYTER_FX_BLOCK=") for one in environ):
                found.append(f"{path.name} {command}")
    return found


@asynccontextmanager
async def endpoint(extra: str = "", config: str = SLURM) -> AsyncIterator[tuple[Hub, Endpoint]]:
    with tempfile.TemporaryDirectory(prefix="e", dir=PLACE, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        hub = Hub(folder)
        await hub.start()
        agent = Endpoint(folder, hub)
        try:
            await agent.start(config=config + extra)
            yield hub, agent
        finally:
            if agent.process is not None:
                await agent.stop_for_good()
            if sys.exc_info()[0] is not None:
                sys.stdout.write(agent.log[-8000:])
                for path in [*agent.home.glob("block*/*/*.std*"), *agent.home.glob("block*/*/job.log")]:
                    sys.stdout.write(f"--- {path.name}\n{path.read_text()[-2000:]}\n")
                sys.stdout.write(run("squeue", "--me", "-t", "all"))
            hub.close()


def notebook_kernel(folder: Path) -> Any:
    """A real kernel with the extension, as in the notebooks' own tests."""
    path = Path(__file__).parents[1] / "notebook" / "conftest.py"
    found = importlib.util.spec_from_file_location("notebook_conftest", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules["notebook_conftest"] = module
    found.loader.exec_module(module)
    folder.mkdir()
    return module.Kernel(folder)


def fx(*words: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", "jupyter_fx.cli.app", *words], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout
