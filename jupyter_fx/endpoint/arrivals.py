"""How tasks come: they are taken and journaled, refused, or known already and answered. Pure.

That one that comes again is never started a second time (see `state`) is kept here.
"""

from __future__ import annotations

from typing import Any

from jupyter_fx.endpoint import journal_kinds as kinds
from jupyter_fx.endpoint import outcome
from jupyter_fx.endpoint.ending import Endings
from jupyter_fx.endpoint.engines import limits
from jupyter_fx.endpoint.entry import Entry
from jupyter_fx.endpoint.events import Fetched, Record, Send, Write
from jupyter_fx.endpoint.holding import RUN, Holding
from jupyter_fx.endpoint.recovery import Recovery
from jupyter_fx.endpoint.talk import Done, Ended
from jupyter_fx.endpoint.trust import foreign
from jupyter_fx.protocol.messages import Dispatch, ErrorInfo, LeasedTask, Nack, Results

__all__ = ["Arrivals"]


class Arrivals:
    """See the module. `engine`: which engine of others runs the tasks, if any."""

    def __init__(self, held: Holding, endings: Endings, recovery: Recovery, engine: str) -> None:
        self._held = held
        self._endings = endings
        self._recovery = recovery
        self._engine = engine

    def dispatch(self, message: Dispatch, now: float) -> list[Any]:
        """The hub leases tasks to this endpoint."""
        held = self._held
        held.books.seen += len(message.tasks)
        out: list[Any] = []
        taken: list[LeasedTask] = []
        entries: list[Entry] = []
        refused: dict[tuple[str, bool], tuple[ErrorInfo, list[tuple[str, int]]]] = {}
        t = now + held.wall
        for task in message.tasks:
            task_id = task.task_id
            old = held.tasks.get(task_id)
            if old is not None:
                out += self._again(old, task, now)
                continue
            if task_id in held.gone and task.fence <= held.gone[task_id]:
                held.books.spent(task)
                continue
            refusal = self._refusal(task)
            if refusal is not None:
                held.books.spent(task)
                error, final = refusal
                refused.setdefault((error.message, final), (error, []))[1].append((task_id, task.attempt))
                continue
            shape = held.books.arrived(task)
            entry = Entry(task, shape, t)
            held.tasks[task_id] = entry
            taken.append(task)
            if task.session:
                entry.manager = held.sessions.manager_of(task.session)
            if task.session and self._recovery.waits(entry.manager):
                # Cells that came before it may have to be placed again: that is decided by the manager's report.
                held.restored.add(task_id)
                held.steps.note([entry], now)
            elif task_id in held.trust.strangers:
                held.placing.wait(entry, RUN + task_id)
                held.steps.note([entry], now)
            else:
                entries.append(entry)
        for (_, final), (error, tasks) in refused.items():
            out.append(Send(Nack(tasks, error, final), keep=True))
        if taken:
            held.steps.note(entries, now)
            out.append(Write(Record(kinds.ACCEPT, taken), held.placing.place(entries)))
        return out

    def fetched(self, event: Fetched, now: float) -> list[Any]:
        """Bytes that tasks waited for are here, or will not come."""
        if event.error is None:
            return self._held.placing.fetched(event)
        ended = [Ended(one, "error", error=event.error) for one in self._held.placing.waiting(event.digest)]
        return self._endings.done(Done([one for one in ended if one.task_id in self._held.tasks]), now)

    def _refusal(self, task: LeasedTask) -> tuple[ErrorInfo, bool] | None:
        """Why a task is not taken, and whether no other try can cure that."""
        if self._held.draining:
            return ErrorInfo("InfrastructureError", f"the endpoint takes no more tasks: {self._held.draining}"), False
        if why := foreign(self._held.user, task.owner, task.task_id, task.session):
            return ErrorInfo("UsageError", why), True
        if why := limits.refusal(self._engine, task.kind, task.options):
            return ErrorInfo("UsageError", why), True
        if task.session:
            if self._held.sessions.takes_cells(task.session):
                return None
            return ErrorInfo(
                "RefLost", "this session is not open at the endpoint; run the cell again in a new one"
            ), False
        if task.options is not None:
            why = self._held.books.refusal(task.options.resources, task.options.timeout)
            if why:
                return ErrorInfo("UsageError", why), True
        return None

    def _again(self, entry: Entry, task: LeasedTask, now: float) -> list[Any]:
        """A task that is here comes again: the same lease, or a later one."""
        old = entry.task
        result = entry.result
        lost = result is not None and result.lost and not entry.kept
        if lost and task.attempt > old.attempt and old.owner == task.owner:
            # The loss was attested and the hub leases it anew: its author declared retries.
            self._held.forget(entry)
            return [Write(Record(kinds.FORGET, [task.task_id]), []), *self._dispatch_anew(task, now)]
        self._held.books.spent(task)
        if old.owner != task.owner:
            error = ErrorInfo("UsageError", "a task of somebody else has this id")
            return [Send(Nack([(task.task_id, task.attempt)], error, final=True), keep=True)]
        if task.fence <= old.fence:
            return self._answer(entry) if entry.sent else []
        old.attempt, old.fence = task.attempt, task.fence
        entry.told = 0
        entry.kept = entry.spared = False
        out: list[Any] = [Write(Record(kinds.LEASE, [old]), [])]
        if result is not None:
            outcome.restamped(result, old)
            return out + (self._answer(entry) if entry.sent else [])
        return out + self._held.steps.tell([entry])

    def _dispatch_anew(self, task: LeasedTask, now: float) -> list[Any]:
        self._held.books.seen -= 1
        return self.dispatch(Dispatch([task]), now)

    def _answer(self, entry: Entry) -> list[Any]:
        assert entry.result is not None
        return [Send(Results([entry.result]), keep=True, marks=[entry.task.task_id])]
