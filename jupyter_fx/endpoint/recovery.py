"""What an agent makes of what its predecessor left, and of what managers report. Pure."""

from __future__ import annotations

from typing import Any

from jupyter_fx.endpoint import outcome
from jupyter_fx.endpoint.ending import Endings
from jupyter_fx.endpoint.entry import FINISHED, STARTED, Entry
from jupyter_fx.endpoint.events import Replayed, Tell, Upload
from jupyter_fx.endpoint.holding import Holding
from jupyter_fx.endpoint.replay import replay
from jupyter_fx.endpoint.talk import Back, CancelWork, Report
from jupyter_fx.protocol.messages import CancelMode, ErrorInfo

__all__ = ["Recovery"]


class Recovery:
    """See the module."""

    def __init__(self, held: Holding, endings: Endings) -> None:
        self._held = held
        self._endings = endings

    def replayed(self, event: Replayed, now: float) -> list[Any]:
        """Begin with what an earlier agent left."""
        entries, sessions = replay(event.records, now + self._held.wall)
        for entry in entries:
            self._held.tasks[entry.task.task_id] = entry
            entry.shape = self._held.books.arrived(entry.task)
            if entry.result is not None:
                self._held.books.ended(entry.shape, entry.size, 0.0)
        for spec, owner in sessions:
            self._held.sessions.restore(spec, owner)
        out: list[Any] = []
        for entry in entries:
            if entry.result is not None and entry.upload and entry.result.blob is None:
                out.append(Upload(entry.task.task_id, entry.upload))
            elif entry.result is not None:
                entry.upload = ""
        self._held.trust.began(adopting=event.adopting)
        if event.adopting:
            self._held.restored = {*self._held.tasks, *(spec.session_id for spec, _ in sessions)}
            return out
        return out + self.report(Report([], [], gone=True), now)

    def report(self, message: Report, now: float) -> list[Any]:
        """A manager says what it holds: what had started and is not there is lost, what had not is placed (again)."""
        held = set(message.tasks)
        t = now + self._held.wall
        ended: list[Entry] = []
        runnable: list[Entry] = []
        lacking: list[str] = []
        for entry in list(self._held.tasks.values()):
            task = entry.task
            if entry.phase == FINISHED or not (message.gone or task.task_id in self._held.restored):
                continue
            if task.task_id in held:
                entry.placed = True
            elif entry.phase == STARTED:
                self._held.finish(entry, outcome.lost(task, entry.accepted, entry.started, t), 0.0)
                ended.append(entry)
            elif task.session and task.session not in message.sessions:
                result = outcome.cancelled(entry, t)
                result.error = ErrorInfo("RefLost", "this cell's session ended before it started")
                self._held.finish(entry, result, 0.0)
                ended.append(entry)
            elif self._held.placing.lacks(task):
                lacking.append(task.task_id)
            else:
                entry.placed = False
                entry.needs.clear()
                runnable.append(entry)
        settled = self._held.trust.reported(message.tasks, self._held.tasks)
        told = [Tell(CancelWork(task_id, CancelMode.KILL)) for task_id in sorted(self._held.trust.strangers)]
        told += self._held.sessions.strange(message.sessions)
        self._held.steps.note(runnable, now)
        lost = self._held.sessions.lost_but(message.sessions, None if message.gone else self._held.restored)
        self._held.restored = set()
        # The hub sends functions with the tasks that it leases: so it is asked to lease these again.
        back = self._held.back(Back(lacking, home=True, reason="its function had not reached the endpoint"), now)
        out = self._endings.send(ended) + back + self._held.placing.place(runnable) + lost + told
        return out + self._held.settled() if settled else out
