"""Stops what a worker has in hand: what has not started there is dropped, what runs climbs the ladder (`ladder`)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from jupyter_fx.endpoint.job import Job
from jupyter_fx.endpoint.ladder import Rung, rungs
from jupyter_fx.endpoint.worker_proc import WorkerProc
from jupyter_fx.protocol.messages import CancelMode

if TYPE_CHECKING:
    from jupyter_fx.endpoint.manager import Manager

__all__ = ["Stopping"]

_LOOKS: Final = (0.01, 0.1, 0.5)
"""Seconds after which a task that was to be dropped is looked for among those that run."""


class Stopping:
    """Of one manager."""

    def __init__(self, manager: Manager, loop: asyncio.AbstractEventLoop) -> None:
        self._manager, self._loop = manager, loop

    def timed_out(self, job: Job) -> None:
        """Its time is over."""
        job.timed_out = True
        if job.worker is not None:
            self.stop(job, job.worker, CancelMode.CANCEL)

    def stop(self, job: Job, worker: WorkerProc, mode: int) -> None:
        """Drop it if it has not started, else climb the ladder. What is prefetched behind it goes to others."""
        if worker.runs(job):
            others = [other for other in worker.in_hand if other is not job]
            if others:
                worker.drop(others)
        else:
            worker.drop([job])
            # It may be taken up before the worker reads that; the answer then comes after it.
            job.timers += tuple(self._loop.call_later(after, self._look_again, job) for after in _LOOKS)
        for after, rung in rungs(mode, session=bool(worker.session)):
            if after:
                job.timers += (self._loop.call_later(after, self.climb, job, rung),)
            else:
                self.climb(job, rung)

    def _look_again(self, job: Job) -> None:
        if not job.interrupted:
            self.climb(job, Rung.INTERRUPT)

    def climb(self, job: Job, rung: Rung) -> None:
        """Send this to its worker, if it still runs there."""
        worker = job.worker
        if worker is None or worker.gone or not worker.runs(job):
            return
        if rung == Rung.INTERRUPT:
            job.interrupted = True
            worker.interrupt(job)
        else:
            worker.signal(rung)
            if rung == Rung.KILL:
                self._manager.pool.reap(worker)

    def kill_because(self, job: Job, why: str) -> None:
        """End the worker of a job because of what the job does; `why` is told to its author."""
        if job.worker is not None and not job.worker.gone:
            job.why_killed = why
            job.worker.signal(Rung.KILL)
            self._manager.pool.reap(job.worker)
