"""What an agent's journal says, read from its beginning. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from jupyter_fx.endpoint import journal_kinds as kinds
from jupyter_fx.endpoint.entry import ACCEPTED, FINISHED, STARTED, Entry
from jupyter_fx.endpoint.events import Record

__all__ = ["replay"]


def replay(records: Iterable[Record], t: float) -> tuple[list[Entry], list[str]]:
    """The tasks that the journal holds, in the order of their coming, and the sessions that were open. `t`: seconds since the epoch."""
    tasks: dict[str, Entry] = {}
    sessions: dict[str, None] = {}
    for record in records:
        if record.kind == kinds.ACCEPT:
            for task in record.data:
                tasks[task.task_id] = Entry(task, "", t)
        elif record.kind in {kinds.START, kinds.UNSTART}:
            for task_id in record.data:
                if (entry := tasks.get(task_id)) and entry.result is None:
                    entry.phase = STARTED if record.kind == kinds.START else ACCEPTED
        elif record.kind == kinds.RESULT:
            for result, path in record.data:
                if entry := tasks.get(result.task_id):
                    entry.result, entry.upload, entry.phase = result, path, FINISHED
        elif record.kind == kinds.FORGET:
            for task_id in record.data:
                tasks.pop(task_id, None)
        elif record.kind == kinds.SESSION:
            sessions[record.data[0]] = None
        elif record.kind == kinds.SESSION_END:
            sessions.pop(record.data[0], None)
    return list(tasks.values()), list(sessions)
