"""LSF, Grid Engine, PBS Pro and Torque by one contract: behind the stand-in of `fake_batch`, whose jobs are real
processes. Parsl's scripts, our reading of each system's words, agent and managers are the real ones.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import fake_batch
from fake_endpoint_hub import AgentProcess, Hub, args, endpoint, unpack

from jupyter_fx.endpoint.providers import ProviderError, lsf, sge
from jupyter_fx.endpoint.providers.base import run
from jupyter_fx.endpoint.providers.batch import ParslProvider
from jupyter_fx.endpoint.settings import Blocks
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import Demand, DemandItem, Resources

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="endpoints for others run on Linux")
pytest.importorskip("parsl")

CONFIG = """
c.Blocks.provider = "{dialect}"
c.Blocks.partition = "long"
c.Blocks.account = "physics"
c.Blocks.walltime = "00:10:00"
c.Blocks.cores_per_node = 2
c.Blocks.max_blocks = 2
c.Blocks.poll_seconds = 0.5
c.Blocks.setup = ["export SET_UP=yes"]
"""
LABELS = {"lsf": "LSF", "gridengine": "Grid Engine", "pbspro": "PBS Pro", "torque": "Torque"}
REFUSALS = {
    "lsf": "nowhere: No such queue. Job not submitted.",
    "gridengine": 'job requests unknown queue "nowhere"',
    "pbspro": "Unknown queue",
    "torque": "Unknown queue",
}


def where() -> tuple[str, str]:
    return os.environ["FAKE_JOB"], os.environ["SET_UP"]


class Stage:
    """A batch system, an agent that uses it, and its hub."""

    def __init__(self, dialect: str, folder: Path, hub: Hub, agent: AgentProcess) -> None:
        self.folder, self.hub, self.agent = folder, hub, agent
        self.scheduler = fake_batch.Scheduler(dialect, folder)

    def info(self) -> dict[str, Any]:
        return self.hub.statuses[-1].info if self.hub.statuses else {}

    def jobs(self, state: str = "") -> list[dict[str, Any]]:
        return [one for one in self.scheduler.all() if (one["state"] == state if state else one["state"] != "over")]

    def wants(self, n: int, allocation: str = "") -> None:
        shape = f"a={allocation}" if allocation else ""
        self.hub.send(Demand([DemandItem(shape, n, Resources(allocation=allocation))] if n else []))

    async def until(self, true: Callable[[], Any], seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, self.info()
            await asyncio.sleep(0.1)

    async def runs(self) -> tuple[str, str]:
        """A task; the job that it ran in."""
        result = await self.hub.result(self.hub.lease(self.hub.task(self.hub.function(where), args()))[0])
        assert result.state == TaskState.SUCCEEDED, result
        found: tuple[str, str] = unpack(result.payload)
        return found


async def contract(stage: Stage, dialect: str) -> None:
    hub, agent, info = stage.hub, stage.agent, stage.info
    # What waits says why.
    (stage.folder / "full").touch()
    stage.wants(1)
    label = LABELS[dialect]
    said = {"pbspro": "Insufficient amount of resource: ncpus", "torque": "Insufficient", "lsf": "New job is waiting"}
    await stage.until(lambda: f"{label} job 1" in info().get("why", "") and said.get(dialect, "") in info()["why"])
    (stage.folder / "full").unlink()
    await stage.until(lambda: info().get("managers") == 1 and info().get("slots", 0) >= 1)
    first = await stage.runs()
    assert first == ("1", "yes")
    (job,) = stage.jobs()
    assert "long" in str(job["options"])
    assert "physics" in str(job["options"])
    assert job["seconds"] == 600
    secrets = [path.read_bytes() for path in agent.home.glob("blocks/*/secret")]
    script = Path(job["script"]).read_bytes()
    assert secrets
    assert not any(form in script for one in secrets for form in (one, one.hex().encode(), base64.b64encode(one)))
    # A submission that was cut off is found by its name, and what runs goes on without its agent.
    await agent.kill()
    (record,) = agent.home.glob("blocks/*/block.json")
    record.write_text(json.dumps({**json.loads(record.read_text()), "job": "", "state": 1}))
    await agent.start(PATH=f"{stage.folder / 'bin'}:{os.environ['PATH']}")
    await stage.until(lambda: info().get("managers") == 1 and info().get("slots", 0) >= 1)
    assert await stage.runs() == first
    assert len(stage.jobs()) == 1
    # A queue that does not exist: the system's own words, and nothing else is held up.
    stage.wants(1, "partition=nowhere")
    await stage.until(lambda: REFUSALS[dialect] in info().get("allocations", {}).get("partition=nowhere", ""))
    assert "next try in" in info()["allocations"]["partition=nowhere"]
    # Another queue, chosen: a job of its own.
    stage.wants(1, "partition=batch")
    await stage.until(lambda: len(stage.jobs("run")) == 2)
    assert {job["options"]["q"] for job in stage.jobs() if "q" in job["options"]} == {"long", "batch"}
    # A job that somebody cancels takes its manager with it.
    stage.wants(0)
    await stage.until(lambda: info().get("managers") == 2)
    run([str(stage.folder / "bin" / fake_batch.DIALECTS[dialect][2]), "1"])
    await stage.until(lambda: info().get("managers") == 1)
    hub.send(Demand([]))


@pytest.mark.parametrize("dialect", list(LABELS))
def test_the_contract_of_a_batch_system(dialect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "batch"
    commands = fake_batch.install(folder, dialect)
    monkeypatch.chdir(tmp_path)
    path = f"{commands}:{os.environ['PATH']}"

    async def tell() -> None:
        async with endpoint(config=CONFIG.format(dialect=dialect), PATH=path) as (hub, agent):
            stage = Stage(dialect, folder, hub, agent)
            try:
                await contract(stage, dialect)
            finally:
                (agent.home / "stop-for-good").touch()
                await agent.stop()
                for job in stage.jobs("run") if sys.exc_info()[0] is not None else ():
                    stage.scheduler.end(job)
            await stage.until(lambda: not stage.jobs(), 20)
            assert not list((agent.home / "blocks").iterdir())
        assert sorted(one.name for one in tmp_path.iterdir()) == ["batch"], "nothing is left where one happens to be"

    asyncio.run(tell())


@pytest.mark.parametrize(
    ("dialect", "settings", "lines"),
    [
        ("pbspro", {"memory_per_node": 16, "gpus_per_node": 2}, ["select=1:ncpus=4:mem=16384mb:ngpus=2"]),
        ("pbspro", {"exclusive": True}, ["-l place=scatter:excl"]),
        ("lsf", {"exclusive": True, "nodes": 2}, ["#BSUB -W 10", "#BSUB -n 8", '-R "span[ptile=4]"', "#BSUB -x"]),
        ("gridengine", {"account": "physics"}, ["#$ -l h_rt=00:10:00", "#$ -P physics"]),
        ("torque", {"nodes": 3}, ["nodes=3:ppn=1", "walltime=00:10:00"]),
    ],
)
def test_what_is_asked_for_stands_in_the_script(
    dialect: str, settings: dict[str, Any], lines: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jupyter_fx.endpoint.providers.base import JobSpec

    monkeypatch.setenv("PATH", f"{fake_batch.install(tmp_path / 'batch', dialect)}:{os.environ['PATH']}")
    (tmp_path / "batch" / "full").touch()
    (tmp_path / "block").mkdir()
    wanted = Blocks(provider=dialect, walltime="00:10:00", cores_per_node=4, **settings)
    ParslProvider(dialect, wanted).submit(JobSpec("fx1", "true", tmp_path / "block"))
    (job,) = fake_batch.Scheduler(dialect, tmp_path / "batch").all()
    script = Path(job["script"]).read_text()
    for line in lines:
        assert line in script


@pytest.mark.parametrize(
    ("jobs", "text"), [(lsf.jobs, "LSF is down. Please wait ..."), (sge.jobs, "error: commlib error")]
)
def test_garbage_is_not_taken_for_an_empty_queue(jobs: Any, text: str, tmp_path: Path, monkeypatch: Any) -> None:
    for name in ("bjobs", "qstat"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{text}'\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ProviderError, match="cannot be understood"):
        jobs()
