"""Blocks on this machine: a detached process is a job. For tests, and for a server without a batch system."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from jupyter_fx.endpoint.block_records import JobInfo
from jupyter_fx.endpoint.need import NodeSize
from jupyter_fx.endpoint.providers.base import JobSpec, ProviderError
from jupyter_fx.endpoint.providers.budget import Budget
from jupyter_fx.errors import UsageError
from jupyter_fx.processes import began

__all__ = ["LocalProvider"]


class LocalProvider:
    """A job's id is its process id and when that began. `blocks`: the directory of all blocks' directories."""

    label = "local"

    def __init__(self, blocks: Path, *, walltime: float = 0.0) -> None:
        self._blocks = blocks
        self._walltime = walltime
        self._ours: dict[str, subprocess.Popen[bytes]] = {}

    default_partition = ""

    def look(self) -> None:
        """There is nobody to ask."""

    def offers(self) -> dict[str, list[str]]:
        """Nothing."""
        return {}

    def budgets(self) -> list[Budget]:
        """None."""
        return []

    def settings_of(self, allocation: str) -> Any:
        """UsageError: nothing can be chosen."""
        raise UsageError(
            f"{allocation.replace(';', ', ')} cannot be chosen: blocks of this endpoint are processes of its machine"
        )

    def check(self, _allocation: str = "") -> NodeSize:
        """Nothing can be wrong."""
        cores = len(os.sched_getaffinity(0))
        return NodeSize(cores, 1, psutil.virtual_memory().total)

    def submit(self, spec: JobSpec) -> str:
        """Start the command. It leaves `job.pid` itself, so that a job is found even if we die right now."""
        script = f"echo $$ > job.pid; exec {spec.command}"
        try:
            (spec.folder / "job.name").write_text(spec.name)
            with (spec.folder / "job.log").open("ab") as out:
                process = subprocess.Popen(
                    ["/bin/sh", "-c", script],
                    cwd=spec.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    start_new_session=True,
                )
        except OSError as error:
            raise ProviderError(str(error)) from error
        job = f"{process.pid}@{began(process.pid)}"
        self._ours[job] = process
        return job

    def jobs(self) -> dict[str, JobInfo]:
        """Those whose process lives."""
        for job, process in list(self._ours.items()):
            if process.poll() is not None:
                del self._ours[job]
        found = {}
        for path in self._blocks.glob("*/job.pid"):
            with contextlib.suppress(OSError, ValueError, psutil.Error):
                pid = int(path.read_text())
                there = psutil.Process(pid)
                if path.parent.name not in " ".join(there.cmdline()) or there.status() == psutil.STATUS_ZOMBIE:
                    continue
                job = f"{pid}@{began(pid)}"
                found[job] = JobInfo(job, _name(path.parent), "running")
        return found

    def cancel(self, jobs: Sequence[str]) -> None:
        """SIGTERM: the block's keeper ends what it has."""
        for job in jobs:
            with contextlib.suppress(OSError, ValueError, psutil.Error):
                pid, _, since = job.partition("@")
                if began(int(pid)) == float(since):
                    os.kill(int(pid), signal.SIGTERM)


def _name(folder: Path) -> str:
    with contextlib.suppress(OSError):
        return (folder / "job.name").read_text()
    return ""
