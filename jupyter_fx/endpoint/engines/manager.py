"""A manager whose workers are an engine's: the same words to the agent (`talk`), calls and map chunks only.

A task is RUNNING from the moment at which a worker has taken its parcel (see `fence`), not from the moment at which the
engine was given it: what waits there can still be cancelled, and comes back if the engine loses it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from jupyter_fx.endpoint.engines import boot, limits
from jupyter_fx.endpoint.engines.base import Engine
from jupyter_fx.endpoint.engines.fence import Fence, Frame, started
from jupyter_fx.endpoint.engines.harvest import Harvest, harvest, lost
from jupyter_fx.endpoint.engines.parcel import Parcel
from jupyter_fx.endpoint.engines.runner import Runner
from jupyter_fx.endpoint.engines.spec import EngineSpec
from jupyter_fx.endpoint.functions import Told
from jupyter_fx.endpoint.job import VERBS, Job
from jupyter_fx.endpoint.logs import TaskLogs
from jupyter_fx.endpoint.prefetch import Durations
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
    Want,
)
from jupyter_fx.errors import InfrastructureError
from jupyter_fx.ids import new_id
from jupyter_fx.protocol.limits import INLINE_MAX
from jupyter_fx.protocol.messages import ErrorInfo, Kind
from jupyter_fx_worker import bundle, frames

__all__ = ["EngineManager"]

log = logging.getLogger(__name__)

TRIES: Final = 3
"""How often the engine may fail to start a parcel before its tasks are given up."""
LOOK_EVERY: Final = 0.2
SHORT: Final = 0.01
"""Seconds below which tasks of one function travel together: an engine takes milliseconds for each parcel."""
AHEAD: Final = 0.05
"""Seconds of work in such a parcel."""
DEEPEST: Final = 64
SMALL: Final = 16 * 1024
"""Bytes of arguments above which a task travels alone."""
QUIET_FOR: Final = 3.0  # then a running task is told to have no live output


class EngineManager:
    """See the module. `make` makes the engine, anew for each try to start it; `gone(why)` is called when it is dead:
    what it had is then for our successor to settle.
    """

    def __init__(
        self,
        spec: EngineSpec,
        send: Callable[[Any], None],
        loop: asyncio.AbstractEventLoop,
        *,
        make: Callable[[], Engine],
        gone: Callable[[str], None],
    ) -> None:
        self.spec = spec
        self.send = send
        self.loop = loop
        self.jobs: dict[str, Job] = {}
        self._title = limits.title(spec.engine)
        self._runner = Runner(spec, loop, make=make, gone=gone, changed=self._changed)
        self._said: Capacity | None = None
        home = Path(spec.folder)
        self._spill = home / "spill"
        self._spill.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._shared = Path(spec.shared) if spec.shared else home / "engine"
        self._far_spill = self._shared / "spill" if spec.shared else self._spill
        self._far_spill.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fence = Fence(self._shared / "fence", new_id())
        self._zip = bundle.path(str(self._shared / "code"))
        self.logs = TaskLogs(home / "task-logs")
        self._stories = Stories(send, self.logs, loop)
        self._functions = Told(Path(spec.files or spec.folder))
        self._times = Durations()
        self._queue: deque[Job] = deque()
        self._live: dict[str, Parcel] = {}
        self._tries: dict[str, int] = {}
        self._no = self._ticket = self._parcels = 0
        self._over: list[str] = []
        """Parcels whose ends were told since the last receipt was asked for."""
        self._receipts: dict[int, list[str]] = {}
        self._draining = False
        self._tasks: list[asyncio.Task[None]] = []
        self._handlers: dict[type, Callable[[Any], None]] = {
            Place: self._place,
            Code: self._code,
            Go: self._go,
            CancelWork: self._cancel,
            Drain: self._drain,
            Halt: self._halt,
            OpenWorker: lambda m: self._no_session(m.session_id),
            CloseWorker: lambda m: self._no_session(m.session_id),
            Ask: lambda m: self.send(Answer(m.n, error=limits.session_refusal(spec.engine))),
        }

    # What an agent uses.

    def start(self) -> None:
        """Start the engine."""
        self._tasks = [self.loop.create_task(self._runner.serve()), self.loop.create_task(self._look())]

    def receive(self, message: Any) -> None:
        """Take a message of the agent."""
        self._handlers[type(message)](message)

    def tell_again(self) -> None:
        """There is another agent: each START that it may not have journaled, each receipt, once more."""
        for parcel in self._live.values():
            if parcel.told:
                self.send(Want(parcel.ticket, [job.work.task_id for job in parcel.jobs]))
        for ticket in self._receipts:
            self.send(Want(ticket, []))

    def capacity(self) -> Capacity:
        """What there is."""
        found = self._runner.health
        info = {**found.info, "slots": found.slots, "why": found.why}
        info["cannot_stop"] = limits.cancel_refusal(self.spec.engine)
        return Capacity(found.slots, self._runner.engine is not None, info)

    def _changed(self) -> None:
        """The engine said how it is."""
        now = self.capacity()
        if now != self._said:
            self._said = now
            self.send(now)
        self.schedule()

    @property
    def busy(self) -> bool:
        """Whether any task is here."""
        return bool(self.jobs)

    # Parcels.

    async def _look(self) -> None:
        """See now and then which parcels were taken by workers, and what became of those that are silent."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                await self._look_at_fence()
            except OSError as error:  # of a file system that others share: it may be better in a moment
                log.warning("%s cannot be looked at: %s", self._fence.path, error)
            self._say_quiet()
            for parcel in [one for one in self._live.values() if one.silent]:
                self._lost(parcel)
            if self._over:
                # The agent answers when what was told before is in its journal.
                self._ticket += 1
                self._receipts[self._ticket], self._over = self._over, []
                self.send(Want(self._ticket, []))

    async def _look_at_fence(self) -> None:
        if any(not parcel.told for parcel in self._live.values()):
            for name in await asyncio.to_thread(self._fence.claimed):
                if (parcel := self._live.get(name)) is not None:
                    parcel.locked = parcel.locked or self._fence.held(name)
                    self._began(parcel)

    def _began(self, parcel: Parcel) -> None:
        if not parcel.told:
            parcel.told = True
            parcel.due = self.loop.time() + QUIET_FOR
            self._ticket += 1
            parcel.ticket = self._ticket
            self.send(Want(parcel.ticket, [job.work.task_id for job in parcel.jobs]))

    def _say_quiet(self) -> None:
        """Of what runs for a while: why nothing is seen of it."""
        now = self.loop.time()
        for parcel in self._live.values():
            if parcel.due and now >= parcel.due:
                parcel.due = 0.0
                for job in parcel.jobs:
                    self._stories.note(job, limits.output_note(self.spec.engine))

    def _go(self, message: Go) -> None:
        for name in self._receipts.pop(message.ticket, ()):
            self._fence.forget(name)

    # Work comes.

    def _code(self, message: Code) -> None:
        self._functions.put(message.digest, message.payload)

    def _no_session(self, session_id: str) -> None:
        self.send(SessionGone(session_id, limits.session_refusal(self.spec.engine), lost=False, refused=True))

    def _place(self, message: Place) -> None:
        for work in message.work:
            if work.task_id in self.jobs:
                continue
            self._no += 1
            job = self.jobs[work.task_id] = Job(self._no, work)
            if self._functions.get(work.function) is not None:
                self._queue.append(job)
            else:
                self._fail(job, "the function of this task did not reach the endpoint; submit it again")
        self.schedule()

    def schedule(self) -> None:
        """Give the engine as much as its workers and one more round of them can take."""
        while self._queue and self._runner.engine is not None and not self._draining:
            if len(self._live) >= max(4, 2 * self._runner.health.slots):
                return
            self._parcels += 1
            self._submit(Parcel(self._batch(), self._parcels))

    def _batch(self) -> list[Job]:
        queue = self._queue
        first = queue.popleft()
        batch = [first]
        estimate = self._times.estimate(first.key)
        if estimate is None or estimate >= SHORT or not _travels(first):
            return batch
        share = -(-len(queue) // max(1, self._runner.health.slots))
        room = min(DEEPEST, share, int(AHEAD / max(estimate, 1e-6)))
        while queue and len(batch) < room and queue[0].key == first.key and _travels(queue[0]):
            batch.append(queue.popleft())
        return batch

    def _submit(self, parcel: Parcel) -> None:
        assert self._runner.engine is not None
        self._live[parcel.name] = parcel
        try:
            told = {
                "fence": str(self._fence.path),
                "name": parcel.name,
                "functions": {one: self._function(one) for one in {job.work.function for job in parcel.jobs}},
                "tasks": [self._told(job) for job in parcel.jobs],
                "spill": str(self._far_spill),
                "max_inline": INLINE_MAX,
            }
            self._runner.engine.submit(
                parcel.name,
                boot.job(self._zip, told),
                lambda answer, error: self._came_in_thread(parcel, answer, error),
            )
        except Exception as error:  # noqa: BLE001 - whatever the engine refuses it with is told
            self.loop.call_soon(self._came, parcel, None, error)

    def _function(self, digest: str) -> bytes:
        payload = self._functions.get(digest)
        if payload is None:
            raise InfrastructureError("its function is gone from the endpoint; submit it again")
        return payload

    def _told(self, job: Job) -> dict[str, Any]:
        """A task for a worker. Where the endpoint's own directory is not what is shared, files travel along."""
        work, far = job.work, bool(self.spec.shared)
        parts = [Path(part).read_bytes() if far else part for part in work.parts]
        path = "" if far else work.path
        payload = Path(work.path).read_bytes() if far and work.path else work.payload
        verb = VERBS[work.kind]
        return {
            "id": work.task_id,
            "verb": verb,
            "fn": work.function,
            "payload": payload,
            "path": path,
            "parts": parts,
        }

    # Work ends.

    def _came_in_thread(self, *args: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: we are gone
            self.loop.call_soon_threadsafe(self._came, *args)

    def _came(self, parcel: Parcel, answer: Any, error: BaseException | None) -> None:
        """The engine says that a parcel is over."""
        refused = answer.get("refused", "") if isinstance(answer, dict) else ""
        if self._live.get(parcel.name) is not parcel:
            if parcel.revoked and refused == "taken":
                # The engine came to it and has it no more: nobody need be kept off any longer.
                self._fence.forget(parcel.name)
            return
        if isinstance(answer, dict) and "log" in answer:
            self._harvest(parcel, frames.Reader().feed(answer["log"]), "")
        elif refused in {"unseen", "python", "disk"}:
            self._drop(parcel)
            for job in parcel.jobs:
                self._fail(job, self._why(refused, answer))
        elif self._revoke(parcel):
            self._again(parcel, f"{type(error).__name__}: {error}" if error is not None else "it gave no answer")
        else:
            parcel.error = error
            parcel.silent = "it was started again elsewhere" if error is None else f"{type(error).__name__}: {error}"
            self._began(parcel)
            if not self._lost(parcel):
                for job in parcel.jobs:
                    self._stories.note(job, limits.silence_note(self.spec.engine, parcel.silent))
        self.schedule()

    def _lost(self, parcel: Parcel) -> bool:
        """The engine has lost the worker of a parcel: tell what became of it once that is known. False: it is not."""
        assert self._runner.engine is not None
        found = self._fence.log(parcel.name)
        if parcel.complete(found):
            self._harvest(parcel, found, "")
        elif parcel.dead(found, self._fence, self._runner.engine):
            # What it wrote between the look into its file and its end counts, too.
            self._harvest(parcel, self._fence.log(parcel.name), parcel.silent)
        else:
            return False
        self.schedule()
        return True

    def _why(self, refused: str, answer: dict[str, Any]) -> str:
        host, said = answer.get("host", ""), answer.get("said", "")
        if refused == "python":
            return f"the workers of {self._title} have Python {said}; 3.9 or newer is needed"
        if refused == "disk":
            return f"a worker of {self._title} on {host} cannot write to {self._fence.path}: {said}"
        return (
            f"the workers of {self._title} do not see {self._shared}{f' on {host}' if host else ''}: set "
            "c.Endpoint.engine_folder to a directory that the agent and they share"
        )

    def _drop(self, parcel: Parcel) -> None:
        """It is over: its file goes when that is journaled."""
        del self._live[parcel.name]
        self._over.append(parcel.name)

    def _revoke(self, parcel: Parcel) -> bool:
        """See to it that it never starts; False when it has. Its file stays, for the engine may still come to it."""
        if not self._fence.revoke(parcel.name):
            return False
        parcel.revoked = True
        del self._live[parcel.name]
        return True

    def _again(self, parcel: Parcel, words: str) -> None:
        """Nothing of it has started: it is tried again, not for ever."""
        back: list[Job] = []
        for job in parcel.jobs:
            tries = self._tries[job.work.task_id] = self._tries.get(job.work.task_id, 0) + 1
            if tries < TRIES:
                back.append(job)
            else:
                self._fail(job, f"{self._title} could not start it, {tries} times; at last: {words}")
        log.warning("%s has not started %s: %s", self._title, parcel.name, words)
        self.loop.call_later(1.0, self._requeue, back)

    def _requeue(self, jobs: list[Job]) -> None:
        self._queue.extendleft(job for job in reversed(jobs) if job.work.task_id in self.jobs)
        if self._draining:
            self._give_home("the endpoint is being stopped")
        self.schedule()

    def _harvest(self, parcel: Parcel, found: list[Frame], words: str) -> None:
        """Tell what became of each task. With `words` its worker was lost."""
        began = started(found, len(parcel.jobs))
        ended: list[Ended] = []
        back: list[Job] = []
        self._began(parcel)
        self._drop(parcel)
        for at, (job, one) in enumerate(
            zip(parcel.jobs, harvest([job.work.task_id for job in parcel.jobs], found, self._spill), strict=True)
        ):
            if words and at not in began:
                back.append(job)
                continue
            ended.append(self._end(job, one, words))
        if back:
            # Their START was told with that of the others.
            self.send(Back([job.work.task_id for job in back]))
            self._requeue(back)
        self._stories.flush()
        self.send(Done(ended))

    def _end(self, job: Job, one: Harvest, words: str) -> Ended:
        for stream, text in one.texts:
            self._stories.text(job, stream, text)
        self._forget(job)
        end = one.ended
        if end is None:
            end = one.lost(lost(self.spec.engine, words or "its answer was cut short"))
        else:
            self._times.measured(job.key, end.t1 - end.t0)
        if end.path and not end.path.startswith(str(self._spill)):
            try:
                end.path = shutil.move(end.path, str(self._spill))
            except OSError as error:
                end = one.unfetched(f"{end.path} cannot be moved to {self._spill}: {error}")
        return end

    def _fail(self, job: Job, why: str) -> None:
        self._forget(job)
        self.send(Done([Ended(job.work.task_id, "error", error=ErrorInfo("InfrastructureError", why))]))

    def _forget(self, job: Job) -> None:
        self.jobs.pop(job.work.task_id, None)
        self._tries.pop(job.work.task_id, None)
        if job.text is not None:
            self._stories.finish(job)
        job.settle()

    # Stopping work.

    def _cancel(self, message: CancelWork) -> None:
        job = self.jobs.get(message.task_id)
        if job is None:
            return
        parcel = next((one for one in self._live.values() if job in one.jobs), None)
        if parcel is None:
            with contextlib.suppress(ValueError):
                self._queue.remove(job)
        elif self._revoke(parcel):
            self._queue.extendleft(other for other in reversed(parcel.jobs) if other is not job)
        else:
            self._stories.note(job, limits.cancel_refusal(self.spec.engine))
            return
        self._forget(job)
        self.send(Done([Ended(message.task_id, "cancelled")]))
        self.schedule()

    def _drain(self, message: Drain) -> None:
        """Give back what no worker has taken."""
        self._draining = True
        for parcel in list(self._live.values()):
            if self._revoke(parcel):
                self._queue.extend(parcel.jobs)
        self._give_home(message.reason)

    def _give_home(self, reason: str) -> None:
        jobs = list(self._queue)
        self._queue.clear()
        for job in jobs:
            self._forget(job)
        if jobs:
            self.send(Back([job.work.task_id for job in jobs], home=True, reason=reason))

    def _halt(self, message: Halt) -> None:
        """What runs is ended with the engine; what has been finished is told."""
        self._drain(Drain(message.reason))
        for parcel in list(self._live.values()):
            self._harvest(parcel, self._fence.log(parcel.name), message.reason)
        self._give_home(message.reason)

    def close(self) -> None:
        """End the engine. What the agent has not heard stays in the fence for its successor."""
        for task in self._tasks:
            task.cancel()
        self._runner.close()
        self._stories.close()
        self.logs.close()
        if not self.jobs and not self._over and not self._receipts:
            self._fence.close()


def _travels(job: Job) -> bool:
    """Whether it may share a parcel: short, small, and tried for the first time (it may have killed its worker)."""
    work = job.work
    return (
        work.kind == Kind.CALL and work.attempt <= 1 and not work.path and not work.parts and len(work.payload) <= SMALL
    )
