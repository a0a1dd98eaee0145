"""Questions about a group: all tasks of one map. Entered into `queries.READS` with the others."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from sqlalchemy import select

from jupyter_fx_hub.store.queries import _NO_TEXT, _OUTCOME, _SPEC, _T, READS, Reader, _with_spec

__all__ = ["GroupTask", "group_specs", "group_tasks"]


class GroupTask(msgspec.Struct):
    """What a group's sums need of one task: `done` and `failed` are items, as its outcome counted them."""

    task_id: str
    state: int
    endpoint_id: str
    name: str
    submitted: float
    finished: float
    done: int = 0
    failed: int = 0
    etype: str = ""
    message: str = ""
    failures: list[Any] = []
    """[index in the task, input, error] of the first, in its worker's words."""


_ITEMS_MAX: Final = 1 << 40


def _count(said: Any) -> int:
    """A number of items as a worker said it, who may say anything."""
    return said if isinstance(said, int) and 0 <= said <= _ITEMS_MAX else 0


def group_tasks(reader: Reader, owner: str, group: str) -> list[GroupTask]:
    """Every task of the owner's group, in the order of submission."""
    columns = (_T.task_id, _T.state, _T.endpoint_id, _T.name, _T.submitted, _T.finished, _T.outcome)
    query = select(*columns).where(_T.owner == owner, _T.grp == group, _T.grp != _NO_TEXT).order_by(_T.pk)
    found = []
    for task_id, state, endpoint_id, name, submitted, finished, outcome in reader.connection.execute(query):
        task = GroupTask(task_id.hex(), state, endpoint_id, name, submitted, finished)
        if outcome:
            error, _blob, _ref, _times, usage = _OUTCOME.decode(outcome)
            told = usage or {}
            failures = told.get("failures")
            task.failures = failures if isinstance(failures, list) else []
            task.done, task.failed = _count(told.get("items")), _count(told.get("failed"))
            if error is not None:
                task.done = task.done or _count(error.details.get("finished"))
                task.etype, task.message = error.etype, error.message
        found.append(task)
    return found


def group_specs(reader: Reader, owner: str, task_ids: list[str]) -> list[tuple[str, bytes | None]]:
    """(id, encoded TaskSpec) of these tasks of the owner's."""
    keys = [bytes.fromhex(task_id) for task_id in task_ids]
    query = _with_spec(select(_T.task_id, _SPEC)).where(_T.owner == owner, _T.task_id.in_(keys))
    return [(task_id.hex(), spec) for task_id, spec in reader.connection.execute(query)]


READS.update({read.__name__: read for read in (group_tasks, group_specs)})
