"""Looks after what runs for longer than a second: memory and processor time for its reader, and fork bombs.

RLIMIT_NPROC does not bind root and counts a whole user, so the number of processes is watched instead: four times a
second the system's total is read (one small file), and only when it has jumped are the worker's own descendants
counted.
"""

from __future__ import annotations

import asyncio
import contextlib
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
OOM: Final = "out of memory"
SPARE: Final = 0.95
"""The part of a node's memory that all workers may have together."""
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
        self._limit(workers)
        now = time.monotonic()
        if now - self._sampled >= SAMPLE:
            self._sampled = now
            for worker in workers:
                self._sample(worker, now)
            self._spare_the_node(workers)

    def _count(self, workers: list[WorkerProc]) -> None:
        most = self._manager.spec.max_processes
        for worker in workers:
            count = len({*reap.descendants(worker.pid), *reap.session_members(worker.pid)})
            job = worker.current
            if count > most and job is not None:
                cure = f"more than the {most} that a worker may have (c.Endpoint.max_processes)"
                why = f"it had started {count} processes, {cure}"
                self._manager.stopping.kill_because(job, why)

    def _limit(self, workers: list[WorkerProc]) -> None:
        """Whoever asked for so much memory gets no more."""
        for worker in workers:
            job = worker.current
            most = worker.memory or (job.work.memory if job is not None else 0)
            if not most or job is None:
                continue
            used = measure(worker.pid).get("rss", 0)
            if used > most:
                self._manager.stopping.kill_because(
                    job, f"{OOM}: it used {_gib(used)}, and {_gib(most)} were asked for (memory=)"
                )

    def _spare_the_node(self, workers: list[WorkerProc]) -> None:
        """Before a scheduler ends the whole job for the memory of one task, that task is ended."""
        whole = self._manager.spec.memory
        if not whole:
            return
        total = sum(measure(worker.pid).get("rss", 0) for worker in self._manager.pool.workers() if worker.pid)
        if total < SPARE * whole:
            return
        # What workers share since they were forked is counted for each of them so far.
        used = {worker.pid: proportional(worker.pid) for worker in self._manager.pool.workers() if worker.pid}
        if sum(used.values()) < SPARE * whole:
            return
        largest = max(workers, key=lambda worker: used.get(worker.pid, 0))
        if (job := largest.current) is not None:
            all_of_it = f"all workers of this node used {_gib(sum(used.values()))} of its {_gib(whole)}"
            self._manager.stopping.kill_because(
                job, f"{OOM}: {all_of_it}, and it most of that ({_gib(used[largest.pid])})"
            )

    def _sample(self, worker: WorkerProc, now: float) -> None:
        job = worker.current
        if job is None or now - job.handed < SAMPLE or now < job.sample_at:
            return
        # A long task's story should not be mostly about its memory: every second at first, every minute after hours.
        job.sample_at = now + min(60.0, max(SAMPLE, (now - job.handed) / 10)) - TICK
        usage = measure(worker.pid)
        if usage:
            self._manager.stories.usage(job, usage)


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def proportional(pid: int) -> int:
    """Bytes of a process and its children, of shared pages their part."""
    total = 0
    for one in [pid, *reap.descendants(pid)]:
        with contextlib.suppress(OSError, ValueError):
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) << 10
    return total


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
