"""What the parts of the agent's state have in common: tasks, books, and the ways in which a task leaves. Pure."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from jupyter_fx.endpoint import batches
from jupyter_fx.endpoint import journal_kinds as kinds
from jupyter_fx.endpoint.books import Books
from jupyter_fx.endpoint.entry import ACCEPTED, FINISHED, STARTED, Entry
from jupyter_fx.endpoint.events import Record, Send, Write
from jupyter_fx.endpoint.fleet import Fleet
from jupyter_fx.endpoint.placing import Placing
from jupyter_fx.endpoint.sessions import SessionBook
from jupyter_fx.endpoint.steps import Steps
from jupyter_fx.endpoint.talk import Back
from jupyter_fx.endpoint.trust import Trust
from jupyter_fx.protocol.messages import Result, Update, Updates

__all__ = ["RUN", "Holding"]

_GONE: Final = 20_000
RUN: Final = "run:"
"""What a task waits for while an earlier run of it is being ended here."""


class Holding:
    """See the module. Every part of `AgentState` has the same one."""

    def __init__(
        self,
        *,
        endpoint_id: str,
        wall: float,
        tasks: dict[str, Entry],
        books: Books,
        sessions: SessionBook,
        trust: Trust,
        placing: Placing,
        fleet: Fleet | None = None,
    ) -> None:
        self.endpoint_id = endpoint_id
        self.wall = wall
        self.tasks = tasks
        self.books = books
        self.sessions = sessions
        self.trust = trust
        self.placing = placing
        self.fleet = fleet
        self.speaker = ""
        """Which of many managers is being listened to."""
        self.awaited: set[str] = set()
        """Managers of an earlier agent that have not reported yet."""
        self.steps = Steps(books)
        self.user = ""
        self.open = False
        self.draining = ""
        self.disk_full = ""
        self.sent: deque[tuple[int, list[str]]] = deque()
        self.gone: dict[str, tuple[int, int]] = {}
        """Fences of what was here: a lease that is not later is an old message."""
        self.restored: set[str] = set()
        """Tasks and sessions of an earlier agent, until the manager that outlived it has reported."""
        self.unforgotten: list[str] = []
        """Tasks that are gone, but stand in a journal that was too full to say so."""

    def finish(self, entry: Entry, result: Result, seconds: float) -> None:
        """It has this result; `seconds` is how long it ran."""
        self.steps.drop(entry.task.task_id)
        self.books.ended(entry.shape, entry.size, seconds)
        if self.fleet is not None:
            self.fleet.released(entry)
        entry.phase = FINISHED
        entry.result = result

    def forget(self, entry: Entry) -> None:
        """It is not here any more."""
        task = entry.task
        if entry.phase != FINISHED:
            self.books.ended(entry.shape, entry.size, 0.0)
            if self.fleet is not None:
                self.fleet.released(entry)
        del self.tasks[task.task_id]
        self.steps.drop(task.task_id)
        gone = self.gone
        gone[task.task_id] = task.fence
        if len(gone) > _GONE:
            for task_id in list(gone)[: _GONE // 4]:
                del gone[task_id]

    def session_of(self, task_id: str) -> str:
        """The session that it is a cell of; empty when it is none."""
        entry = self.tasks.get(task_id)
        return entry.task.session if entry is not None else ""

    def back(self, message: Back, now: float) -> list[Any]:
        """These did not start after all.

        While it drains and the hub is away nobody could be told: then they stay in the journal, for the next agent.
        """
        if self.fleet is not None and not self.draining and self.speaker:
            return self._elsewhere(message)
        home = message.home and (self.open or not self.draining)
        updates = []
        undone = []
        for task_id in message.tasks:
            entry = self.tasks.get(task_id)
            if entry is None or entry.phase == FINISHED:
                continue
            if entry.phase == STARTED:
                entry.phase = ACCEPTED
                entry.started = 0.0
                undone.append(task_id)
            entry.placed = entry.placed and not message.home
            if home:
                task = entry.task
                updates.append(Update(task_id, task.attempt, task.fence, "requeue", now + self.wall, message.reason))
                self.forget(entry)
                self.gone.pop(task_id, None)
        out: list[Any] = []
        if undone and not home:
            out.append(Write(Record(kinds.UNSTART, undone), []))
        if updates:
            out.append(Send(Updates(updates), keep=True))
            out.append(Write(Record(kinds.FORGET, [update.task_id for update in updates]), []))
        return out

    def _elsewhere(self, message: Back) -> list[Any]:
        """One of many managers does not start these: another one may. Cells have none but their session."""
        assert self.fleet is not None
        entries = [self.tasks[one] for one in message.tasks if one in self.tasks]
        entries = [one for one in entries if one.manager == self.speaker and one.phase != FINISHED]
        undone = [entry for entry in entries if entry.phase == STARTED]
        for entry in undone:
            entry.phase, entry.started = ACCEPTED, 0.0
        out: list[Any] = [Write(Record(kinds.UNSTART, [e.task.task_id for e in undone]), [])] if undone else []
        if not message.home:
            return out
        for entry in entries:
            self.fleet.released(entry)
            entry.placed = False
        return out + self.placing.place(entries)

    def let_go(self, task_id: str) -> list[Any]:
        """The manager has done with what nobody here knows of, or not under this lease."""
        settled = self.trust.gone(task_id)
        out = self.placing.arrived(RUN + task_id)
        return out + self.settled() if settled else out

    def settled(self) -> list[Any]:
        """What the inventory lacks will not be found any more."""
        return batches.of_inventory(self.trust.inventory(), self.tasks.values()) if self.open else []

    def given_back(self, message: Back, now: float) -> list[Any]:
        """The manager gives back what did not start."""
        strange = self.trust.strangers.keys() & set(message.tasks)
        out = [one for task_id in sorted(strange) for one in self.let_go(task_id)] if message.home else []
        message.tasks = [task_id for task_id in message.tasks if task_id not in strange]
        return out + self.back(message, now)
