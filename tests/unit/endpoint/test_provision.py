"""What becomes of blocks when their records cannot be written: a quota is used up sooner than anything else."""

from __future__ import annotations

import asyncio
import errno
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from jupyter_fx.endpoint.allocations import Allocations
from jupyter_fx.endpoint.block_records import JobInfo
from jupyter_fx.endpoint.bootstrap import Block
from jupyter_fx.endpoint.managerspec import ManagerSpec
from jupyter_fx.endpoint.need import NodeSize
from jupyter_fx.endpoint.providers import JobSpec
from jupyter_fx.endpoint.provision import Provisioner
from jupyter_fx.endpoint.scaling import Load
from jupyter_fx.endpoint.settings import Blocks

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="endpoints for others run on Linux")


class Scheduler:
    """One that takes every job, and knows what it is told to know."""

    label = "Slurm"
    default_partition = ""

    def __init__(self) -> None:
        self.submitted: list[str] = []
        self.listed: dict[str, JobInfo] = {}

    def submit(self, spec: JobSpec) -> str:
        self.submitted.append(spec.name)
        job = str(len(self.submitted))
        self.listed[job] = JobInfo(job, spec.name, "running")
        return job

    def jobs(self) -> dict[str, JobInfo]:
        return dict(self.listed)

    def cancel(self, jobs: Sequence[str]) -> None:
        for job in jobs:
            self.listed.pop(job, None)

    def offers(self) -> dict[str, list[str]]:
        return {}

    def budgets(self) -> list[Any]:
        return []


class World:
    def __init__(self, home: Path) -> None:
        self.scheduler = Scheduler()
        self.load = Load()
        self.ended: list[tuple[str, str]] = []
        settings, node = Blocks(provider="local", max_blocks=1, poll_seconds=0.2), NodeSize(4, 1, 0, 0)
        provider: Any = self.scheduler
        self.provisioner = Provisioner(
            home,
            "e" * 32,
            settings,
            provider,
            ManagerSpec(folder="", slots=1),
            Allocations(provider, settings, node),
            loads=lambda: {"": self.load},
            on_new=lambda block: None,
            on_drain=lambda block, back, why: None,
            on_ended=lambda block, why: self.ended.append((block, why)),
            on_change=lambda: None,
        )
        self.book = self.provisioner.book

    async def until(self, true: Callable[[], Any]) -> Any:
        async with asyncio.timeout(30):
            while not (found := true()):
                await asyncio.sleep(0.05)
        return found


def tell(home: Path, steps: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        world = World(home)
        world.provisioner.start()
        try:
            await steps(world)
        finally:
            await world.provisioner.stop(give_up=False)

    asyncio.run(main())


def full(*_args: Any, **_how: Any) -> None:
    raise OSError(errno.EDQUOT, "Disk quota exceeded")


def test_a_block_that_ended_is_told_though_its_record_cannot_be_written(tmp_path: Path, monkeypatch: Any) -> None:
    async def steps(world: World) -> None:
        world.load = Load(slots=4)
        await world.until(lambda: any(one.began for one in world.book.records()))
        (record,) = world.book.records()
        world.load = Load()
        monkeypatch.setattr(Block, "_write", full)
        world.scheduler.listed[record.job] = JobInfo(record.job, record.name, "ended", "its time limit was reached")
        await world.until(lambda: world.ended)
        assert world.ended == [(record.block_id, "its time limit was reached")]

    tell(tmp_path, steps)


def test_no_job_is_submitted_for_a_block_whose_record_cannot_be_written(tmp_path: Path, monkeypatch: Any) -> None:
    async def steps(world: World) -> None:
        monkeypatch.setattr(Block, "_write", full)
        world.load = Load(slots=4)
        why = await world.until(lambda: world.book.why(0.0))
        assert "Disk quota exceeded" in why
        assert str(tmp_path) in why
        assert world.scheduler.submitted == []
        assert not world.book.records()
        monkeypatch.undo()
        await world.until(lambda: world.scheduler.submitted)

    tell(tmp_path, steps)
