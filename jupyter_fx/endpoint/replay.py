"""What an agent's journal says, read from its beginning; and the shortest that says the same. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from jupyter_fx.endpoint import journal_kinds as kinds
from jupyter_fx.endpoint.entry import ACCEPTED, FINISHED, STARTED, Entry
from jupyter_fx.endpoint.events import Record
from jupyter_fx.endpoint.outcome import restamped
from jupyter_fx.protocol.messages import SessionSpec

__all__ = ["records_of", "replay"]

_PER_RECORD = 500
_PHASES = {kinds.START: STARTED, kinds.UNSTART: ACCEPTED}


def replay(records: Iterable[Record], t: float) -> tuple[list[Entry], list[tuple[SessionSpec, str, str]]]:
    """The tasks that the journal holds, in the order of their coming, and the sessions that were open (with their
    owner and manager). `t`: seconds since the epoch.
    """
    tasks: dict[str, Entry] = {}
    sessions: dict[str, tuple[SessionSpec, str, str]] = {}
    for kind, data in ((record.kind, record.data) for record in records):
        if kind == kinds.SESSION:
            sessions[data[0].session_id] = (data[0], data[1], "")
        elif kind == kinds.SESSION_AT:
            sessions[data[0].session_id] = (data[0], data[1], data[2])
        elif kind == kinds.SESSION_END:
            sessions.pop(data[0], None)
        else:
            _step(tasks, kind, data, t)
    for entry in tasks.values():
        if (session := sessions.get(entry.task.session)) is not None:
            entry.manager = session[2]
    return list(tasks.values()), list(sessions.values())


def _step(tasks: dict[str, Entry], kind: int, data: Any, t: float) -> None:
    if kind == kinds.ACCEPT:
        tasks.update({task.task_id: Entry(task, "", t) for task in data})
    elif kind == kinds.DOUBT:
        _doubt(tasks)
    elif kind == kinds.START_AT:
        for one in [tasks[task_id] for task_id in data[1] if task_id in tasks]:
            one.manager = data[0]
            _of_one(tasks, kinds.START, one)
    elif kind == kinds.RESULT:
        for result, path in data:
            if (entry := tasks.get(result.task_id)) is not None:
                entry.result, entry.upload, entry.phase = result, path, FINISHED
    elif kind == kinds.LEASE:
        for entry, task in [(tasks[task.task_id], task) for task in data if task.task_id in tasks]:
            entry.task = task
            entry.kept = False
            if entry.result is not None:
                restamped(entry.result, task)
    else:
        for entry in [tasks[task_id] for task_id in data if task_id in tasks]:
            _of_one(tasks, kind, entry)


def _of_one(tasks: dict[str, Entry], kind: int, entry: Entry) -> None:
    if kind == kinds.FORGET:
        del tasks[entry.task.task_id]
    elif kind == kinds.KEEP:
        entry.kept = True
    elif kind in _PHASES and entry.result is None:
        entry.phase = _PHASES[kind]
        if kind == kinds.UNSTART:
            entry.manager = ""


def _doubt(tasks: dict[str, Entry]) -> None:
    """The START of what had not started may be among what was lost."""
    for entry in tasks.values():
        if entry.phase == ACCEPTED:
            entry.phase = STARTED


def records_of(entries: list[Entry], sessions: Iterable[tuple[SessionSpec, str, str]]) -> Iterator[Record]:
    """The shortest journal that says the same."""
    for at in range(0, len(entries), _PER_RECORD):
        part = entries[at : at + _PER_RECORD]
        yield Record(kinds.ACCEPT, [entry.task for entry in part])
        started: dict[str, list[str]] = {"": []}
        for entry in part:
            if entry.phase == STARTED:
                started.setdefault(entry.manager, []).append(entry.task.task_id)
        yield Record(kinds.START, started.pop(""))
        for manager, those in started.items():
            yield Record(kinds.START_AT, [manager, those])
        yield Record(kinds.RESULT, [(entry.result, entry.upload) for entry in part if entry.result is not None])
        yield Record(kinds.KEEP, [entry.task.task_id for entry in part if entry.kept])
    for spec, owner, manager in sessions:
        yield Record(kinds.SESSION_AT, (spec, owner, manager)) if manager else Record(kinds.SESSION, (spec, owner))
