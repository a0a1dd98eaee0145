"""The manager: runs work in the workers of its zygotes. Its words to the agent and back: `talk`.

`receive(message)` takes what the agent says; `send` is called with what the manager says. Inline they are plain calls
on one event loop; over ZeroMQ the same messages travel. Nothing here waits: file descriptors call back.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from jupyter_fx.endpoint.endings import crashed, ended_as, ran_in
from jupyter_fx.endpoint.functions import Told
from jupyter_fx.endpoint.gauges import Gauges
from jupyter_fx.endpoint.job import Job
from jupyter_fx.endpoint.ladder import Rung
from jupyter_fx.endpoint.lines import Lines
from jupyter_fx.endpoint.logs import TaskLogs
from jupyter_fx.endpoint.managerspec import ManagerSpec
from jupyter_fx.endpoint.pool import Pool
from jupyter_fx.endpoint.prefetch import SHORT, Durations, depth
from jupyter_fx.endpoint.rows import Rows
from jupyter_fx.endpoint.session_workers import SessionWorkers, no_session
from jupyter_fx.endpoint.stopping import Stopping
from jupyter_fx.endpoint.stories import Stories
from jupyter_fx.endpoint.talk import (
    Answer,
    Ask,
    Back,
    CancelWork,
    Capacity,
    CloseWorker,
    Code,
    Done,
    Drain,
    Ended,
    Go,
    Halt,
    OpenWorker,
    Place,
    SessionUp,
    Want,
)
from jupyter_fx.endpoint.watch import Watch
from jupyter_fx.endpoint.worker_proc import WorkerProc
from jupyter_fx.protocol.limits import INLINE_MAX
from jupyter_fx.protocol.messages import ErrorInfo, Kind

__all__ = ["Manager"]

_PROGRESS: Final = 0.5
"""Seconds between two words about how far a map chunk is."""


class Manager:
    """See the module."""

    def __init__(self, spec: ManagerSpec, send: Callable[[Any], None], loop: asyncio.AbstractEventLoop) -> None:
        self.spec = spec
        self.send = send
        self.loop = loop
        folder = Path(spec.folder)
        self.spill = Path(spec.spill) if spec.spill else folder / "spill"
        self.spill.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.logs = TaskLogs(Path(spec.logs) if spec.logs else folder / "task-logs")
        self.jobs: dict[str, Job] = {}
        self._by_no = 0
        self._tickets: dict[int, tuple[WorkerProc, list[Job], bool]] = {}
        self._ticket = 0
        self._lines = Lines()
        self._functions = Told(Path(spec.files or spec.folder))
        self._times = Durations()
        self._draining = False
        self._opts = {"spill": str(self.spill), "max_inline": INLINE_MAX}
        self.pool = Pool(spec, self, loop)
        self.stories = Stories(send, self.logs, loop)
        self.sessions = SessionWorkers(self)
        self.stopping = Stopping(self, loop)
        self.watch = Watch(self, loop)
        self.gauges = Gauges(self, loop)
        self._handlers: dict[type, Callable[[Any], None]] = {
            Place: self._place,
            Go: self._go,
            Code: self._code,
            CancelWork: self._cancel,
            OpenWorker: self.sessions.open,
            CloseWorker: self.sessions.close,
            Ask: self.sessions.asked,
            Drain: self._drain,
            Halt: self._halt,
        }

    def start(self) -> None:
        """Start the zygote and, if told so, the first workers."""
        self.pool.start()

    def receive(self, message: Any) -> None:
        """Take a message of the agent."""
        self._handlers[type(message)](message)

    def tell_again(self) -> None:
        """There is another agent: ask again for each START that it may or may not have journaled."""
        for ticket, (_worker, jobs, _short) in self._tickets.items():
            self.send(Want(ticket, [job.work.task_id for job in jobs]))

    def capacity_changed(self) -> None:
        """See PoolOwner."""
        self.send(self.capacity())

    def capacity(self) -> Capacity:
        """What there is."""
        spec = self.spec
        node = {"memory": spec.memory, "gpus": spec.gpus, "host": spec.host, "clock": time.time()} if spec.host else {}
        memory = {"session_memory": dict(self.gauges.memory)} if self.gauges.memory else {}
        return Capacity(spec.slots, self.pool.ready, {**self.pool.describe(), **memory, **node})

    # Work comes.

    def _code(self, message: Code) -> None:
        self._functions.put(message.digest, message.payload)

    def _place(self, message: Place) -> None:
        for work in message.work:
            if work.task_id in self.jobs:
                # An agent that starts anew places what it holds: this is here already.
                continue
            self._by_no += 1
            job = Job(self._by_no, work)
            self.jobs[work.task_id] = job
            if work.session:
                self.sessions.place(job)
            elif job.lane[0] and (why := self._arrived(job)):
                self.finish(job, Ended(work.task_id, "error", error=ErrorInfo("UsageError", why)))
            else:
                self._lines.append(job)
        self.schedule()

    def _arrived(self, job: Job) -> str:
        """A task that wants an image came: why it cannot have it."""
        environment = job.lane[0]
        self.pool.warm.mix.arrived(environment, self.loop.time())
        return self.pool.refusal(environment)

    def environment_failed(self, environment: str, why: str) -> None:
        """See PoolOwner: what waits for it would wait for ever."""
        for job in self._lines.taken_out(environment):
            self.finish(job, Ended(job.work.task_id, "error", error=ErrorInfo("UsageError", why)))

    def schedule(self) -> None:
        """Give work to whoever is free."""
        if self._draining:
            return
        self.sessions.serve()
        for queue in self._lines.in_order():
            self._serve(queue)
            if queue and self.pool.is_up(queue[0].lane[0]):
                # It waits for slots, so who came later waits behind it: narrow tasks that overtook a wide one would
                # keep it waiting for ever. Who waits for a container is overtaken.
                return

    def _serve(self, queue: deque[Job]) -> None:
        """Give out what one line holds, as far as there are workers for it."""
        while queue:
            first = queue[0]
            estimate = self._times.estimate(first.key)
            short = estimate is not None and estimate < SHORT and first.work.kind == Kind.CALL and _first(first)
            worker = self.pool.pick(first.lane, depth(estimate) // 2 if short else 0, len(queue))
            if worker is None:
                return
            # One that is for a single task ends with it.
            short = short and not worker.container.single
            self.ask(worker, self._batch(queue, short, depth(estimate), worker), short)

    def _batch(self, queue: deque[Job], short: bool, deep: int, worker: WorkerProc) -> list[Job]:
        if not short:
            return [queue.popleft()]
        share = -(-len(queue) // max(1, self.pool.slots))
        room = max(1, min(deep - len(worker.in_hand) - worker.asked, max(share, 1)))
        key = queue[0].key
        batch: list[Job] = []
        while queue and len(batch) < room and queue[0].key == key and _first(queue[0]):
            batch.append(queue.popleft())
        return batch

    def ask(self, worker: WorkerProc, jobs: list[Job], short: bool) -> None:
        """Reserve a worker and ask for START."""
        self._ticket += 1
        worker.asked += len(jobs)
        for job in jobs:
            job.worker = worker
        self.pool.busy(worker)
        self._tickets[self._ticket] = (worker, jobs, short)
        self.send(Want(self._ticket, [job.work.task_id for job in jobs]))

    def _go(self, message: Go) -> None:
        found = self._tickets.pop(message.ticket, None)
        if found is None:
            # Said twice, by an agent and by its successor.
            return
        worker, jobs, short = found
        worker.asked -= len(jobs)
        if len(message.tasks) != len(jobs):
            allowed = set(message.tasks)
            for job in jobs:
                if job.work.task_id not in allowed:
                    self._forget(job)
            jobs = [job for job in jobs if job.work.task_id in allowed]
        live = []
        for job in jobs:
            if job.cancel >= 0:
                self.finish(job, Ended(job.work.task_id, "cancelled"))
            else:
                live.append(job)
        if worker.gone:
            self._return(live)
        elif live:
            self._hand(worker, live, short)
        if not worker.gone and not worker.in_hand and not worker.asked:
            self.pool.idle(worker)

    def _hand(self, worker: WorkerProc, jobs: list[Job], short: bool) -> None:
        now = time.monotonic()
        for job in jobs:
            job.handed = now
            function = job.work.function
            if function and not worker.knows(function):
                payload = self._functions.get(function)
                if payload is not None:
                    worker.teach(function, payload)
            if job.work.timeout > 0 and not job.timers:
                job.timers += (self.loop.call_later(job.work.timeout, self.stopping.timed_out, job),)
        worker.run(jobs, short, self._opts)
        self.watch.wake()
        self.gauges.wake(worker)

    def _return(self, jobs: list[Job]) -> None:
        """These have START but did not start: tell, and let them wait for another worker."""
        if not jobs:
            return
        for job in jobs:
            job.worker = None
            job.handed = 0.0
            job.settle()
        if self._draining:
            self._give_home(jobs, "the endpoint is being stopped")
            return
        self.send(Back([job.work.task_id for job in jobs]))
        for job in reversed(jobs):
            if job.work.session:
                self.finish(job, Ended(job.work.task_id, "cancelled", error=no_session(job.work.session)))
            else:
                self._lines.appendleft(job)

    # Work ends. WorkerOwner:

    def worker_up(self, worker: WorkerProc) -> None:
        """See WorkerOwner."""
        self.pool.up(worker)
        if worker.session:
            self.send(SessionUp(worker.session, self.pool.session_info(worker)))
        self.gauges.wake(worker)
        self.schedule()

    def worker_done(self, worker: WorkerProc, results: list[tuple[Job, str, bytes, dict[str, Any]]]) -> None:
        """See WorkerOwner."""
        ended: list[Ended] = []
        for job, outcome, payload, info in results:
            if "nofn" in info:
                self._again(worker, job)
                continue
            self._times.measured(job.key, info["t1"] - info["t0"])
            end = ended_as(job, outcome, payload, info)
            if worker.container.environment:
                end.usage = {**(end.usage or {}), **ran_in(worker, self.spec.host)}
            ended.append(end)
            del self.jobs[job.work.task_id]
            if job.text is not None:
                self.stories.finish(job)
            if job.timers or job.flushing is not None:
                job.settle()
        if ended:
            self.stories.flush()
            self.send(Done(ended))
        if not worker.in_hand and not worker.asked and not worker.gone:
            self.pool.idle(worker)
        self.schedule()

    def _again(self, worker: WorkerProc, job: Job) -> None:
        """The worker has forgotten the function, so nothing of the task ran."""
        worker.forget(job.work.function)
        if self._functions.get(job.work.function) is not None:
            self._hand(worker, [job], False)
            return
        error = ErrorInfo(
            "InfrastructureError", "the function of this task did not reach the endpoint; submit it again"
        )
        self.finish(job, Ended(job.work.task_id, "error", error=error))

    def finish(self, job: Job, ended: Ended) -> None:
        """A job that no worker answers for."""
        self.jobs.pop(job.work.task_id, None)
        if job.text is not None:
            self.stories.finish(job)
        job.settle()
        self.stories.flush()
        self.send(Done([ended]))

    def _forget(self, job: Job) -> None:
        self.jobs.pop(job.work.task_id, None)
        job.settle()

    def worker_text(self, job: Job | None, stream: int, text: bytes) -> None:
        """See WorkerOwner."""
        if job is not None:
            self.stories.text(job, stream, text)

    def worker_told(self, job: Job, header: dict[str, Any], body: memoryview) -> None:
        """See WorkerOwner."""
        if header["op"] == "items":
            self._take_items(job, header, body)
        else:
            self.stories.told(job, header, body)

    def _take_items(self, job: Job, header: dict[str, Any], body: memoryview) -> None:
        """Results of a map's items: kept here until the chunk ends, so that they outlive its worker."""
        if job.rows is None:
            job.rows = Rows(self.spill)
        job.rows.add(bytes(body), header.get("path", ""))
        job.items = header["first"] + header["count"]
        now = self.loop.time()
        if now - max(job.progressed, job.handed) > _PROGRESS:
            job.progressed = now
            self.stories.progress(job)

    def worker_dropped(self, worker: WorkerProc, jobs: list[Job]) -> None:
        """See WorkerOwner."""
        back: list[Job] = []
        for job in jobs:
            if job.cancel >= 0:
                self.finish(job, Ended(job.work.task_id, "cancelled"))
            else:
                back.append(job)
        for job in worker.in_hand:
            if job.cancel >= 0 or job.timed_out:
                # It was taken up before the word came.
                self.stopping.climb(job, Rung.INTERRUPT)
        self._return(back)
        if not worker.in_hand and not worker.asked and not worker.gone:
            self.pool.idle(worker)
        self.schedule()

    def worker_gone(self, worker: WorkerProc, status: int | None, rss: int, cpu: float) -> None:
        """A worker's process has ended (told by the pool, after its last words were read)."""
        started, in_hand = worker.counters.started, list(worker.in_hand)
        worker.in_hand.clear()
        took_up = max(0, started - worker.reported)
        over = worker.counters.finished - worker.reported
        for at, job in enumerate(in_hand[:took_up]):
            self.finish(job, crashed(worker, job, status, rss, cpu, host=self.spec.host, over=at < over))
        self._return(in_hand[took_up:])
        if worker.session:
            self.sessions.gone(worker, status, rss)
        if self.pool.warm.making:
            # Its container made room for another, for which somebody is asking just now.
            self.loop.call_soon(self._freed)
        else:
            self._freed()

    def _freed(self) -> None:
        self.sessions.freed()
        self.schedule()

    # Stopping work.

    def _cancel(self, message: CancelWork) -> None:
        job = self.jobs.get(message.task_id)
        if job is None:
            return
        worker = job.worker
        if worker is None:
            with contextlib.suppress(ValueError):
                if job.work.session:
                    self.sessions.remove(job)
                else:
                    self._lines.remove(job)
            self.finish(job, Ended(message.task_id, "cancelled"))
            return
        job.cancel = message.mode
        if job in worker.in_hand:
            self.stopping.stop(job, worker, message.mode)

    def worker_answered(self, n: int, data: bytes) -> None:
        """See WorkerOwner."""
        self.send(Answer(n, data))

    # Ending.

    def _drain(self, message: Drain) -> None:
        self._draining = True
        waiting = self._lines.clear()
        waiting += self.sessions.drain()
        self._give_home(waiting, message.reason)
        for worker in self.pool.workers():
            behind = worker.not_taken_up()
            if behind:
                worker.drop(behind)

    def _give_home(self, jobs: list[Job], reason: str) -> None:
        for job in jobs:
            self._forget(job)
        if jobs:
            self.send(Back([job.work.task_id for job in jobs], home=True, reason=reason))

    def _halt(self, message: Halt) -> None:
        self._draining = True
        for worker in self.pool.workers():
            for job in worker.in_hand:
                job.why_killed = message.reason
        self.pool.kill_all(message.reason)
        self._drain(Drain(message.reason))

    @property
    def busy(self) -> bool:
        """Whether any job is here."""
        return bool(self.jobs)

    def close(self) -> None:
        """End every process at once, without telling anybody."""
        self.watch.close()
        self.gauges.close()
        self.stories.close()
        for job in self.jobs.values():
            job.settle()
        self.pool.close()
        self.logs.close()


def _first(job: Job) -> bool:
    """Whether it is tried for the first time. One that comes again may have killed its worker: it runs by itself, for
    what ended just before it there would be lost with it.
    """
    return job.work.attempt <= 1
