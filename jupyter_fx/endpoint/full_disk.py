"""When the journal does not take a record: nothing new is taken or started, results go all the same. Pure."""

from __future__ import annotations

from typing import Any

from jupyter_fx.endpoint import journal_kinds as kinds
from jupyter_fx.endpoint import outcome
from jupyter_fx.endpoint.ending import Endings
from jupyter_fx.endpoint.entry import Entry
from jupyter_fx.endpoint.events import Fetch, FindRef, Send, Tell, WriteFailed
from jupyter_fx.endpoint.holding import Holding
from jupyter_fx.endpoint.talk import Back, Go
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import ErrorInfo, LeasedTask, Nack, Results

__all__ = ["FullDisk"]


class FullDisk:
    """See the module."""

    def __init__(self, held: Holding, endings: Endings) -> None:
        self._held = held
        self._endings = endings

    def failed(self, event: WriteFailed, now: float) -> list[Any]:
        """The journal's disk is full: nothing new is taken or started, results go all the same."""
        self._held.disk_full = f"the disk of the endpoint is full ({event.why}); free space there"
        record = event.record
        out: list[Any] = []
        if record.kind == kinds.ACCEPT:
            out += self._not_accepted([task for task in record.data if task.task_id in self._held.tasks], event.then)
        elif record.kind in {kinds.START, kinds.START_AT}:
            started = record.data if record.kind == kinds.START else record.data[1]
            out += self._not_started(started, now)
            held = self._held.tasks
            for told in (one for one in event.then if isinstance(one, Tell)):
                go = told.message
                may = [one for one in go.tasks if one in held and not held[one].result and one not in started]
                out.append(Tell(Go(go.ticket, may), told.to))
        elif record.kind == kinds.RESULT:
            entries = [
                self._held.tasks[result.task_id] for result, _path in record.data if result.task_id in self._held.tasks
            ]
            results = [entry.result for entry in entries if entry.result is not None]
            out += [Send(Results([result]), keep=True, marks=[result.task_id]) for result in results]
        elif record.kind == kinds.FORGET:
            self._held.unforgotten += record.data
        elif record.kind in {kinds.SESSION, kinds.SESSION_AT}:
            out += self._held.sessions.not_journaled(record.data[0].session_id, event.why)
        return out

    def _not_accepted(self, tasks: list[LeasedTask], then: list[Any]) -> list[Any]:
        """A cell fails: one that waited for room would be overtaken by those behind it."""
        error = ErrorInfo("StorageFull", self._held.disk_full)
        out: list[Any] = []
        for task in tasks:
            self._held.forget(self._held.tasks[task.task_id])
        for final in (False, True):
            nacked = [(task.task_id, task.attempt) for task in tasks if bool(task.session) is final]
            if nacked:
                out.append(Send(Nack(nacked, error, final), keep=True))
        # Others may wait for the same bytes by now.
        return out + [one for one in then if isinstance(one, Fetch | FindRef)]

    def _not_started(self, task_ids: list[str], now: float) -> list[Any]:
        """They go home, but for cells (see above). The manager lets go of all: its `Go` does not name them."""
        out = self._held.back(
            Back([one for one in task_ids if not self._held.session_of(one)], True, self._held.disk_full), now
        )
        cells: list[Entry] = []
        for entry in [self._held.tasks[one] for one in task_ids if self._held.session_of(one)]:
            result = outcome.cancelled(entry, now + self._held.wall)
            result.state, result.error = int(TaskState.FAILED), ErrorInfo("StorageFull", self._held.disk_full)
            self._held.finish(entry, result, 0.0)
            cells.append(entry)
        return out + self._endings.send(cells)
