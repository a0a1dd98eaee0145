"""What an agent makes of what its predecessor left, and of what managers report. Pure."""

from __future__ import annotations

from typing import Any

from jupyter_fx.endpoint import outcome
from jupyter_fx.endpoint.ending import Endings
from jupyter_fx.endpoint.entry import ACCEPTED, FINISHED, STARTED, Entry
from jupyter_fx.endpoint.events import Replayed, Tell, Upload
from jupyter_fx.endpoint.holding import Holding
from jupyter_fx.endpoint.need import Need
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
        for spec, owner, manager in sessions:
            self._held.sessions.restore(spec, owner, manager)
        out: list[Any] = []
        for entry in entries:
            if entry.result is not None and entry.upload and entry.result.blob is None:
                out.append(Upload(entry.task.task_id, entry.upload))
            elif entry.result is not None:
                entry.upload = ""
        self._held.trust.began(adopting=event.adopting)
        self._held.awaited = set(event.managers)
        if event.adopting:
            self._held.restored = {*self._held.tasks, *(spec.session_id for spec, _, _ in sessions)}
            if event.managers:
                there = {entry.manager for entry in entries} | {manager for _, _, manager in sessions}
                for manager in sorted(there - self._held.awaited - {""}):
                    out += self._of(manager, Report([], [], gone=True), now)
            return out
        return out + self._all_gone({manager for _, _, manager in sessions}, now)

    def _all_gone(self, managers: set[str], now: float) -> list[Any]:
        """Nothing that an earlier agent gave away is left."""
        there = {entry.manager for entry in self._held.tasks.values()} | managers | {""}
        return [one for manager in sorted(there) for one in self._of(manager, Report([], [], gone=True), now)]

    def _of(self, manager: str, message: Report, now: float) -> list[Any]:
        before, self._held.speaker = self._held.speaker, manager
        try:
            return self.report(message, now)
        finally:
            self._held.speaker = before

    def waits(self, manager: str) -> bool:
        """Whether what an earlier agent gave to this manager is not known yet."""
        return manager in self._held.awaited if self._held.fleet is not None else bool(self._held.restored)

    def patience(self, now: float) -> list[Any]:
        """Managers that do not report are not waited for any longer with what had not started: another one may have
        it, since none starts anything without being told to.
        """
        entries = [e for e in self._held.tasks.values() if e.phase == ACCEPTED and not e.manager and not e.placed]
        entries = [e for e in entries if e.task.task_id in self._held.restored]
        self._held.restored -= {entry.task.task_id for entry in entries}
        return self._placed_again(entries, now)

    def report(self, message: Report, now: float) -> list[Any]:
        """A manager says what it holds: what had started and is not there is lost, what had not is placed (again).

        Where there are many, each speaks of what is its own; what nobody owns is judged when the last one has spoken.
        """
        held, speaker = self._held, self._held.speaker
        told_of, t = set(message.tasks), now + self._held.wall
        held.awaited.discard(speaker)
        last = not held.awaited
        ended: list[Entry] = []
        runnable: list[Entry] = []
        lacking: list[str] = []
        for entry in self._spoken_of(message, told_of, last=last):
            task = entry.task
            if task.task_id in told_of:
                self._found(entry)
            elif entry.phase == STARTED:
                held.finish(entry, outcome.lost(task, entry.accepted, entry.started, t, message.why), 0.0)
                ended.append(entry)
            elif task.session and task.session not in message.sessions:
                result = outcome.cancelled(entry, t)
                result.error = ErrorInfo("RefLost", "this cell's session ended before it started")
                held.finish(entry, result, 0.0)
                ended.append(entry)
            elif held.placing.lacks(task):
                lacking.append(task.task_id)
            else:
                runnable.append(entry)
        settled = held.trust.reported(message.tasks, held.tasks, speaker, last=last)
        strange = sorted(held.trust.strangers_at(speaker))
        told = [Tell(CancelWork(task_id, CancelMode.KILL), speaker) for task_id in strange]
        told += held.sessions.strange(message.sessions, speaker)
        held.sessions.found(message.sessions, speaker)
        lost = held.sessions.lost_but(message.sessions, None if message.gone else held.restored, speaker, message.why)
        if last:
            held.restored = set()
        back = self._lacking(lacking, now)
        out = self._endings.send(ended) + back + self._placed_again(runnable, now) + lost + told
        return out + held.settled() if settled else out

    def _spoken_of(self, message: Report, told_of: set[str], *, last: bool) -> list[Entry]:
        """The tasks that a report decides about."""
        held, speaker = self._held, self._held.speaker
        found = []
        for task_id, entry in held.tasks.items():
            old = task_id in held.restored
            if entry.phase == FINISHED or not (message.gone or old):
                continue
            nobodys = old and not entry.manager and not entry.placed
            if entry.manager == speaker or (nobodys and (last or task_id in told_of)):
                found.append(entry)
        if held.fleet is not None:
            held.restored -= {entry.task.task_id for entry in found}
        return found

    def claimed(self, entry: Entry) -> bool:
        """The manager that speaks wants to start what an earlier agent gave to nobody knows whom: to this one, then.
        (Its report, which comes behind, names it in any case: what it is refused now nobody would ever start.)
        """
        mine = not entry.manager and entry.phase == ACCEPTED and not entry.task.session
        if mine:
            self._held.restored.discard(entry.task.task_id)
            self._found(entry)
        return mine

    def _found(self, entry: Entry) -> None:
        """The manager that speaks has it."""
        entry.placed = True
        if (fleet := self._held.fleet) is not None:
            options = entry.task.options
            need = self._held.books.need(options.resources) if options is not None else Need()
            if entry.task.session:
                entry.manager = self._held.speaker
            else:
                fleet.took(self._held.speaker, entry, fleet.as_given(self._held.speaker, need))

    def _placed_again(self, entries: list[Entry], now: float) -> list[Any]:
        for entry in entries:
            if self._held.fleet is not None:
                self._held.fleet.released(entry)
                entry.manager = "" if not entry.task.session else entry.manager
            entry.placed = False
            entry.needs.clear()
        self._held.steps.note(entries, now)
        return self._held.placing.place(entries)

    def _lacking(self, lacking: list[str], now: float) -> list[Any]:
        """The hub sends functions with the tasks that it leases: so it is asked to lease these again."""
        before, self._held.speaker = self._held.speaker, ""
        out = self._held.back(Back(lacking, home=True, reason="its function had not reached the endpoint"), now)
        self._held.speaker = before
        return out
