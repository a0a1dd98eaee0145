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

import msgspec

from jupyter_fx.endpoint.crash import lost_error
from jupyter_fx.endpoint.gauges import Gauges
from jupyter_fx.endpoint.job import Job
from jupyter_fx.endpoint.ladder import Rung, ended_by, rungs
from jupyter_fx.endpoint.lines import Lines
from jupyter_fx.endpoint.logs import TaskLogs
from jupyter_fx.endpoint.outcome import error_of
from jupyter_fx.endpoint.pool import Pool
from jupyter_fx.endpoint.prefetch import SHORT, Durations, depth
from jupyter_fx.endpoint.rows import Rows, head_of
from jupyter_fx.endpoint.runtimes.settings import ContainerSpec
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
    SessionGone,
    SessionUp,
    Want,
)
from jupyter_fx.endpoint.watch import Watch
from jupyter_fx.endpoint.worker_proc import WorkerProc
from jupyter_fx.protocol.limits import INLINE_MAX
from jupyter_fx.protocol.messages import CancelMode, ErrorInfo, Kind

__all__ = ["Manager", "ManagerSpec"]

_LOOKS: Final = (0.01, 0.1, 0.5)
"""Seconds after which a task that was to be dropped is looked for among those that run."""
_PROGRESS: Final = 0.5
"""Seconds between two words about how far a map chunk is."""


class ManagerSpec(msgspec.Struct, kw_only=True):
    """What a manager is told when it is made. `folder`: its own directory; `worker_cores`: cores of one slot; `umask`:
    what user code starts with, -1: the manager's own.
    """

    folder: str
    slots: int
    worker_cores: int = 1
    python: str = ""
    env: dict[str, str] = {}
    given_env: dict[str, str] = {}
    """Those of `env` that the endpoint's owner has set: containers get these alone."""
    containers: ContainerSpec = ContainerSpec()
    environments: tuple[float, int] = (30.0, 0)
    """Days and MiB for which those that were built from specifications are kept."""
    preload: list[str] = []
    learn: list[str] = []
    """Packages that are imported in advance once tasks of several workers have imported them."""
    max_processes: int = 512
    umask: int = -1
    die_with_parent: bool = True
    idle_workers: float = 300.0
    keep_warm: bool = True
    spill: str = ""
    """Where results that are large go; empty: into `folder`. Managers on nodes share it with their agent."""
    logs: str = ""
    """Where the complete text of tasks goes, in the same way."""
    files: str = ""
    """Where the agent has fetched inputs and refs (`inputs`, `refs`), in the same way."""
    sessions: str = ""
    """Where sessions have their directories, in the same way."""
    sessions_hold_slots: bool = False
    """Whether a session takes slots away from tasks."""
    container_logs: str = ""
    """What the paths of containers' logs begin with; empty: they are in `folder`."""
    scratch: str = ""
    """Where on a node a manager makes its own directory."""
    memory: int = 0
    """Bytes that all workers may have together; 0: not known."""
    gpus: list[str] = []
    """Devices of this node, as CUDA_VISIBLE_DEVICES names them."""
    pin: list[int] = []
    """Processors that are this manager's alone: each worker is pinned to its share of them. Empty: none is pinned."""
    pin_cores: bool = False
    """Whether a node's manager pins workers if the job is bound to as many processors as it has."""
    host: str = ""
    keep_secrets: bool = False
    """Whether workers on nodes get all of the job's environment."""


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
        self._session_queues: dict[str, deque[Job]] = {}
        self._opening: dict[str, OpenWorker] = {}
        """Sessions that wait for their GPUs."""
        self._functions: dict[str, bytes] = {}
        self._times = Durations()
        self._draining = False
        self._opts = {"spill": str(self.spill), "max_inline": INLINE_MAX}
        self.pool = Pool(spec, self, loop)
        self.stories = Stories(send, self.logs, loop)
        self.watch = Watch(self, loop)
        self.gauges = Gauges(self, loop)
        self._handlers: dict[type, Callable[[Any], None]] = {
            Place: self._place,
            Go: self._go,
            Code: self._code,
            CancelWork: self._cancel,
            OpenWorker: self._open,
            CloseWorker: self._close_session,
            Ask: self._asked,
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
        self._functions[message.digest] = message.payload

    def _place(self, message: Place) -> None:
        for work in message.work:
            if work.task_id in self.jobs:
                # An agent that starts anew places what it holds: this is here already.
                continue
            self._by_no += 1
            job = Job(self._by_no, work)
            self.jobs[work.task_id] = job
            if work.session:
                queue = self._session_queues.get(work.session)
                if queue is None:
                    self._finish(job, Ended(work.task_id, "cancelled", error=_no_session(work.session)))
                    continue
                queue.append(job)
            elif job.lane[0] and (why := self._arrived(job)):
                self._finish(job, Ended(work.task_id, "error", error=ErrorInfo("UsageError", why)))
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
            self._finish(job, Ended(job.work.task_id, "error", error=ErrorInfo("UsageError", why)))

    def schedule(self) -> None:
        """Give work to whoever is free."""
        if self._draining:
            return
        for session, queue in self._session_queues.items():
            worker = self.pool.sessions.get(session)
            if queue and worker is not None and self.pool.is_free(worker):
                self._ask(worker, [queue.popleft()], False)
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
            self._ask(worker, self._batch(queue, short, depth(estimate), worker), short)

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

    def _ask(self, worker: WorkerProc, jobs: list[Job], short: bool) -> None:
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
                self._finish(job, Ended(job.work.task_id, "cancelled"))
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
                job.timers += (self.loop.call_later(job.work.timeout, self._timed_out, job),)
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
                self._finish(job, Ended(job.work.task_id, "cancelled", error=_no_session(job.work.session)))
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
            end = self._ended(job, outcome, payload, info)
            if worker.container.environment:
                end.usage = {**(end.usage or {}), **self._ran_in(worker)}
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

    def _ended(self, job: Job, outcome: str, payload: bytes, info: dict[str, Any]) -> Ended:
        end = Ended(job.work.task_id, outcome, payload, info["t0"], info["t1"])
        if outcome != "ok" and (job.cancel >= 0 or job.timed_out):
            end.outcome = "timeout" if job.timed_out else "cancelled"
        elif outcome == "interrupted":
            end.outcome = "error"
        if "path" in info:
            end.path, end.size = info["path"], info.get("bytes", 0)
        if "n" in info:
            end.usage = {key: info[key] for key in ("failed", "failures") if key in info} | {"items": info["n"]}
        if end.outcome == "error" or job.rows is not None:
            self._explain(job, end)
        return end

    def _ran_in(self, worker: WorkerProc) -> dict[str, Any]:
        """The image that a task ran in, and the node, which cannot be seen inside."""
        container, host = worker.container, self.spec.host
        return {"image": container.environment, "digest": container.digest, **({"node": host} if host else {})}

    @staticmethod
    def _explain(job: Job, end: Ended) -> None:
        """Say the error in words, since the payload of a map is what was finished before it."""
        if end.outcome == "error" and end.error is None:
            end.error = error_of(end.payload or head_of(end.path))
        if job.rows is not None:
            end.payload, end.path, end.size = job.rows.whole()

    def _again(self, worker: WorkerProc, job: Job) -> None:
        """The worker has forgotten the function, so nothing of the task ran."""
        worker.forget(job.work.function)
        if job.work.function in self._functions:
            self._hand(worker, [job], False)
            return
        error = ErrorInfo(
            "InfrastructureError", "the function of this task did not reach the endpoint; submit it again"
        )
        self._finish(job, Ended(job.work.task_id, "error", error=error))

    def _finish(self, job: Job, ended: Ended) -> None:
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
                self._finish(job, Ended(job.work.task_id, "cancelled"))
            else:
                back.append(job)
        for job in worker.in_hand:
            if job.cancel >= 0 or job.timed_out:
                # It was taken up before the word came.
                self._climb(job, Rung.INTERRUPT)
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
            self._finish(job, self._crashed(worker, job, status, rss, cpu, over=at < over))
        self._return(in_hand[took_up:])
        if worker.session:
            self._session_gone(worker, status, rss)
        if self.pool.warm.making:
            # Its container made room for another, for which somebody is asking just now.
            self.loop.call_soon(self._freed)
        else:
            self._freed()

    def _freed(self) -> None:
        for message in list(self._opening.values()):
            self._begin(message)
        self.schedule()

    def _crashed(
        self, worker: WorkerProc, job: Job, status: int | None, rss: int, cpu: float, *, over: bool = False
    ) -> Ended:
        """`over`: it had ended; one that was taken up after it killed the worker before its result was told."""
        work = job.work
        usage = {"rss": rss, "cpu": cpu, **(self._ran_in(worker) if worker.container.environment else {})}
        now = time.time()
        begun = now - (time.monotonic() - job.handed)
        if job.cancel >= 0 or job.timed_out:
            how = "timeout" if job.timed_out else "cancelled"
            told = None if job.timed_out or job.cancel == CancelMode.KILL else ended_by(status)
            return Ended(work.task_id, how, t0=begun, t1=now, error=told, usage=usage)
        extra: dict[str, Any] = {}
        doing = "it ran this task"
        if work.kind == Kind.MAP:
            extra = {"finished": job.items, "in_hand": int(worker.counters.item)}
            doing = f"it ran item {extra['in_hand']} of this chunk"
        error = lost_error(
            doing=doing,
            status=status,
            rss=rss,
            last_words=worker.last_words,
            why=job.why_killed,
            extra=extra,
            over=over,
        )
        end = Ended(work.task_id, "lost", t0=begun, t1=now, error=error, usage=usage)
        self._explain(job, end)
        return end

    # Stopping work.

    def _cancel(self, message: CancelWork) -> None:
        job = self.jobs.get(message.task_id)
        if job is None:
            return
        worker = job.worker
        if worker is None:
            with contextlib.suppress(ValueError):
                if (cells := self._session_queues.get(job.work.session)) is not None:
                    cells.remove(job)
                else:
                    self._lines.remove(job)
            self._finish(job, Ended(message.task_id, "cancelled"))
            return
        job.cancel = message.mode
        if job in worker.in_hand:
            self._stop(job, worker, message.mode)

    def _timed_out(self, job: Job) -> None:
        job.timed_out = True
        if job.worker is not None:
            self._stop(job, job.worker, CancelMode.CANCEL)

    def _stop(self, job: Job, worker: WorkerProc, mode: int) -> None:
        """Drop it if it has not started, else climb the ladder. What is prefetched behind it goes to others."""
        if worker.runs(job):
            others = [other for other in worker.in_hand if other is not job]
            if others:
                worker.drop(others)
        else:
            worker.drop([job])
            # It may be taken up before the worker reads that; the answer then comes after it.
            job.timers += tuple(self.loop.call_later(after, self._look_again, job) for after in _LOOKS)
        for after, rung in rungs(mode, session=bool(worker.session)):
            if after:
                job.timers += (self.loop.call_later(after, self._climb, job, rung),)
            else:
                self._climb(job, rung)

    def _look_again(self, job: Job) -> None:
        if not job.interrupted:
            self._climb(job, Rung.INTERRUPT)

    def _climb(self, job: Job, rung: Rung) -> None:
        worker = job.worker
        if worker is None or worker.gone or not worker.runs(job):
            return
        if rung == Rung.INTERRUPT:
            job.interrupted = True
            worker.interrupt(job)
        else:
            worker.signal(rung)
            if rung == Rung.KILL:
                self.pool.reap(worker)

    def kill_because(self, job: Job, why: str) -> None:
        """End the worker of a job because of what the job does; `why` is told to its author."""
        if job.worker is not None and not job.worker.gone:
            job.why_killed = why
            job.worker.signal(Rung.KILL)
            self.pool.reap(job.worker)

    # Sessions.

    def _open(self, message: OpenWorker) -> None:
        if message.session_id not in self._session_queues:
            self._session_queues[message.session_id] = deque()
            environment = self.pool.warm.name(message.environment)
            if why := self.pool.refusal(environment):
                del self._session_queues[message.session_id]
                self.send(SessionGone(message.session_id, why, lost=False, refused=True))
                return
            if environment:
                self.pool.warm.mix.arrived(environment, self.loop.time())
            if self.spec.sessions_hold_slots:
                self.pool.slots -= message.cores
            self._begin(message)

    def _begin(self, message: OpenWorker) -> None:
        """Start a session's worker, or have it wait for its GPUs: their last user is being ended."""
        begun = self.pool.open_session(
            message.session_id,
            self.pool.warm.name(message.environment),
            message.cwd,
            message.cores,
            gpus=message.gpus,
            memory=message.memory,
        )
        if begun:
            self._opening.pop(message.session_id, None)
        else:
            self._opening[message.session_id] = message

    def _close_session(self, message: CloseWorker) -> None:
        queue = self._session_queues.get(message.session_id)
        if queue is None:
            self.send(SessionGone(message.session_id, message.reason, lost=False))
            return
        for job in list(queue):
            self._finish(job, Ended(job.work.task_id, "cancelled", error=ErrorInfo("UsageError", message.reason)))
        queue.clear()
        if (waits := self._opening.pop(message.session_id, None)) is not None:
            del self._session_queues[message.session_id]
            self.pool.slots += waits.cores if self.spec.sessions_hold_slots else 0
            self.send(SessionGone(message.session_id, message.reason, lost=False))
            return
        self.pool.close_session(message.session_id, message.reason, kill=message.kill)

    def _session_gone(self, worker: WorkerProc, status: int | None, rss: int) -> None:
        session = worker.session
        if self.spec.sessions_hold_slots:
            self.pool.slots += worker.width
        asked = self.pool.forget_session(session)
        for job in self._session_queues.pop(session, ()):
            self._finish(job, Ended(job.work.task_id, "cancelled", error=_no_session(session)))
        if asked is not None:
            self.send(SessionGone(session, asked, lost=False, refused=session in self.pool.not_up))
            self.pool.not_up.discard(session)
            return
        error = lost_error(doing="it held the session", status=status, rss=rss, last_words=worker.last_words)
        self.send(SessionGone(session, error.message, lost=True, info=error.details))

    def _asked(self, message: Ask) -> None:
        """A question for a session's worker: it answers while it is idle, and nobody waits until it is."""
        worker = self.pool.sessions.get(message.session_id)
        if worker is None or worker.gone:
            self.send(Answer(message.n, error="this session is not open"))
        elif self.pool.is_free(worker) and not worker.in_hand:
            worker.ask(message.n, message.what, message.args)
        else:
            job = worker.current or (worker.in_hand[0] if worker.in_hand else None)
            self.send(Answer(message.n, busy=job.work.task_id if job is not None else "starting"))

    def worker_answered(self, n: int, data: bytes) -> None:
        """See WorkerOwner."""
        self.send(Answer(n, data))

    # Ending.

    def _drain(self, message: Drain) -> None:
        self._draining = True
        waiting = self._lines.clear()
        for queue in self._session_queues.values():
            waiting += queue
            queue.clear()
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


def _no_session(session: str) -> ErrorInfo:
    return ErrorInfo(
        "RefLost", f"the session …{session[-8:]} ended before this cell started; run the cell again in a new one"
    )
