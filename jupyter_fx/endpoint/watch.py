"""Looks after what runs for longer than a second: memory and processor time for its reader, and fork bombs.

RLIMIT_NPROC does not bind root and counts a whole user, so the number of processes is watched instead: four times a
second the system's total is read (one small file), and only when it has jumped are the worker's own descendants
counted.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil

from jupyter_fx.endpoint import reap

if TYPE_CHECKING:
    from jupyter_fx.endpoint.manager import Manager
    from jupyter_fx.endpoint.worker_proc import WorkerProc

__all__ = ["Watch"]

TICK: Final = 0.25
SAMPLE: Final = 1.0
_JUMP: Final = 64
_LOADAVG: Final = Path("/proc/loadavg")


class Watch:
    """Ticks while something runs, sleeps else."""

    def __init__(self, manager: Manager, loop: asyncio.AbstractEventLoop) -> None:
        self._manager = manager
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._base = 0
        self._sampled = 0.0

    def wake(self) -> None:
        """Something runs."""
        if self._timer is None:
            self._timer = self._loop.call_later(TICK, self._tick)

    def close(self) -> None:
        """No more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        workers = [worker for worker in self._manager.pool.workers() if worker.in_hand and worker.pid]
        if not workers:
            self._base = 0
            return
        self._timer = self._loop.call_later(TICK, self._tick)
        total = _processes()
        if not self._base or total < self._base:
            self._base = total
        if total - self._base > _JUMP:
            self._count(workers)
            self._base = max(self._base, total - _JUMP)
        now = time.monotonic()
        if now - self._sampled >= SAMPLE:
            self._sampled = now
            for worker in workers:
                self._sample(worker, now)

    def _count(self, workers: list[WorkerProc]) -> None:
        most = self._manager.spec.max_processes
        for worker in workers:
            count = len({*reap.descendants(worker.pid), *reap.session_members(worker.pid)})
            job = worker.current
            if count > most and job is not None:
                cure = f"more than the {most} that a worker may have (c.Endpoint.max_processes)"
                why = f"it had started {count} processes, {cure}"
                self._manager.kill_because(job, why)

    def _sample(self, worker: WorkerProc, now: float) -> None:
        job = worker.current
        if job is None or now - job.handed < SAMPLE or now < job.sample_at:
            return
        # A long task's story should not be mostly about its memory: every second at first, every minute after hours.
        job.sample_at = now + min(60.0, max(SAMPLE, (now - job.handed) / 10)) - TICK
        usage = measure(worker.pid)
        if usage:
            self._manager.stories.usage(job, usage)


def _processes() -> int:
    """Tasks of the kernel now: the fourth field of /proc/loadavg; 0 where there is none."""
    try:
        return int(_LOADAVG.read_text().split()[3].partition("/")[2])
    except (OSError, ValueError, IndexError):
        return 0


def measure(pid: int) -> dict[str, Any]:
    """Resident bytes and processor seconds of a process and its children; empty when it is gone."""
    try:
        root = psutil.Process(pid)
        rss, cpu, count = 0, 0.0, 0
        for process in [root, *root.children(recursive=True)][:64]:
            try:
                with process.oneshot():
                    rss += process.memory_info().rss
                    times = process.cpu_times()
            except psutil.Error:
                continue
            cpu += times.user + times.system
            count += 1
    except psutil.Error:
        return {}
    return {"rss": rss, "cpu": round(cpu, 2), "processes": count}
