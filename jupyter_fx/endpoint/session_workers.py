"""Sessions at one manager: each has a worker of its own, and cells that wait for it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from jupyter_fx.endpoint.crash import lost_error
from jupyter_fx.endpoint.job import Job
from jupyter_fx.endpoint.talk import Answer, Ask, CloseWorker, Ended, OpenWorker, SessionGone
from jupyter_fx.endpoint.worker_proc import WorkerProc
from jupyter_fx.protocol.messages import ErrorInfo

if TYPE_CHECKING:
    from jupyter_fx.endpoint.manager import Manager

__all__ = ["SessionWorkers", "no_session"]


class SessionWorkers:
    """Of one manager."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._queues: dict[str, deque[Job]] = {}
        self._opening: dict[str, OpenWorker] = {}
        """Sessions that wait for their GPUs."""

    # Cells.

    def place(self, job: Job) -> None:
        """A cell came."""
        session = job.work.session
        if (queue := self._queues.get(session)) is not None:
            queue.append(job)
        else:
            self._manager.finish(job, Ended(job.work.task_id, "cancelled", error=no_session(session)))

    def serve(self) -> None:
        """Give a cell to each session that is free."""
        for session, queue in self._queues.items():
            worker = self._manager.pool.sessions.get(session)
            if queue and worker is not None and self._manager.pool.is_free(worker):
                self._manager.ask(worker, [queue.popleft()], False)

    def remove(self, job: Job) -> None:
        """A cell waits no longer; ValueError when it did not."""
        self._queues.get(job.work.session, deque[Job]()).remove(job)

    def drain(self) -> list[Job]:
        """The cells that wait: they do not any more."""
        waiting = [job for queue in self._queues.values() for job in queue]
        for queue in self._queues.values():
            queue.clear()
        return waiting

    # Sessions.

    def freed(self) -> None:
        """A worker has ended, so there may be what a session waits for."""
        for message in list(self._opening.values()):
            self._begin(message)

    def open(self, message: OpenWorker) -> None:
        """The agent wants a session."""
        if message.session_id not in self._queues:
            self._queues[message.session_id] = deque()
            environment = self._manager.pool.warm.name(message.environment)
            if why := self._manager.pool.refusal(environment):
                del self._queues[message.session_id]
                self._manager.send(SessionGone(message.session_id, why, lost=False, refused=True))
                return
            if environment:
                self._manager.pool.warm.mix.arrived(environment, self._manager.loop.time())
            if self._manager.spec.sessions_hold_slots:
                self._manager.pool.slots -= message.cores
            self._begin(message)

    def _begin(self, message: OpenWorker) -> None:
        """Start a session's worker, or have it wait for its GPUs: their last user is being ended."""
        begun = self._manager.pool.open_session(
            message.session_id,
            self._manager.pool.warm.name(message.environment),
            message.cwd,
            message.cores,
            gpus=message.gpus,
            memory=message.memory,
        )
        if begun:
            self._opening.pop(message.session_id, None)
        else:
            self._opening[message.session_id] = message

    def close(self, message: CloseWorker) -> None:
        """The agent wants one to end."""
        queue = self._queues.get(message.session_id)
        if queue is None:
            self._manager.send(SessionGone(message.session_id, message.reason, lost=False))
            return
        for job in list(queue):
            self._manager.finish(
                job, Ended(job.work.task_id, "cancelled", error=ErrorInfo("UsageError", message.reason))
            )
        queue.clear()
        if (waits := self._opening.pop(message.session_id, None)) is not None:
            del self._queues[message.session_id]
            self._manager.pool.slots += waits.cores if self._manager.spec.sessions_hold_slots else 0
            self._manager.send(SessionGone(message.session_id, message.reason, lost=False))
            return
        self._manager.pool.close_session(message.session_id, message.reason, kill=message.kill)

    def gone(self, worker: WorkerProc, status: int | None, rss: int) -> None:
        """The worker of one has ended."""
        session = worker.session
        if self._manager.spec.sessions_hold_slots:
            self._manager.pool.slots += worker.width
        asked = self._manager.pool.forget_session(session)
        for job in self._queues.pop(session, ()):
            self._manager.finish(job, Ended(job.work.task_id, "cancelled", error=no_session(session)))
        if asked is not None:
            self._manager.send(SessionGone(session, asked, lost=False, refused=session in self._manager.pool.not_up))
            self._manager.pool.not_up.discard(session)
            return
        error = lost_error(doing="it held the session", status=status, rss=rss, last_words=worker.last_words)
        self._manager.send(SessionGone(session, error.message, lost=True, info=error.details))

    def asked(self, message: Ask) -> None:
        """A question for a session's worker: it answers while it is idle, and nobody waits until it is."""
        worker = self._manager.pool.sessions.get(message.session_id)
        if worker is None or worker.gone:
            self._manager.send(Answer(message.n, error="this session is not open"))
        elif self._manager.pool.is_free(worker) and not worker.in_hand:
            worker.ask(message.n, message.what, message.args)
        else:
            job = worker.current or (worker.in_hand[0] if worker.in_hand else None)
            self._manager.send(Answer(message.n, busy=job.work.task_id if job is not None else "starting"))


def no_session(session: str) -> ErrorInfo:
    """Why a cell of a session that has ended is cancelled."""
    return ErrorInfo(
        "RefLost", f"the session …{session[-8:]} ended before this cell started; run the cell again in a new one"
    )
