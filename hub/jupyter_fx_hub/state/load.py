"""From the store into memory: a window of unfinished tasks at the start, single ones when they are needed."""

from __future__ import annotations

from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.shapes import session_shape, shape_of
from jupyter_fx_hub.state import finish
from jupyter_fx_hub.state.core import Core
from jupyter_fx_hub.state.io import FinishedTask, Found, LoadedTask
from jupyter_fx_hub.state.records import Task

__all__ = ["found"]

_T = TaskState


def found(core: Core, event: Found) -> None:
    """Take rows in. What is in memory already is newer."""
    for owner, function in event.functions:
        core.functions.setdefault((owner, function.digest), function)
    for finished in event.finished:
        _finished(core, finished)
    waiting = [task for row in event.tasks if (task := _unfinished(core, row)) is not None]
    for task in waiting:
        # After all rows of the window: inputs may stand behind those that need them.
        if task.state is _T.WAITING:
            finish.resolve(core, task)
        elif not task.not_before:
            core.enqueue(task)


def _finished(core: Core, row: FinishedTask) -> None:
    outcome = row.outcome
    old = core.tasks.get(outcome.task_id)
    if old is None:
        core.seq += 1
        old = core.tasks[outcome.task_id] = Task(
            outcome.task_id,
            row.owner,
            None,
            row.hash,
            core.seq,
            "",
            outcome.endpoint_id,
            outcome.times[0] if outcome.times else 0.0,
            [(0, outcome.state, 0.0, "")],
            state=_T(outcome.state),
            attempt=outcome.attempt,
        )
        core.done.append((core.now, outcome.task_id))
    if old.state.terminal and old.outcome is None:
        old.outcome = outcome
    if outcome.task_id in core.dependents:
        for dependent in core.dependents.pop(outcome.task_id):
            finish.arrive(core, dependent, outcome.task_id, outcome)


def _unfinished(core: Core, row: LoadedTask) -> Task | None:
    """The record of a row; itself again if it has to wait in a queue or for inputs."""
    spec = row.spec
    if spec.task_id in core.tasks:
        return None
    core.seq += 1
    options = spec.options
    shape = session_shape(spec.session) if spec.session else "" if options is None else shape_of(options.resources)
    pinned = bool(spec.endpoint or spec.session or (row.state < _T.LEASED and row.endpoint_id))
    state = _T(row.state)
    if not pinned and row.endpoint_id and core.owned.get(row.owner, []) and len(core.owned[row.owner]) == 1:
        pinned = True
    task = Task(
        spec.task_id,
        row.owner,
        spec,
        row.hash,
        core.seq,
        shape,
        row.endpoint_id,
        row.submitted,
        list(row.history),
        n=row.next_n,
        state=state,
        pinned=pinned,
        attempt=row.attempt,
        fence=(row.fence[0], row.fence[1]),
        started_at=row.started,
        out_attempt=row.out_attempt,
        out_k=row.out_k,
        leased_mark=core.now,
    )
    if not pinned and state < _T.LEASED:
        task.endpoint_id = ""
    core.tasks[spec.task_id] = task
    core.unfinished += 1
    _remember(task)
    if row.expires_at:
        task.expires = max(core.now, row.expires_at - core.offset)
        core.at(task.expires, "expires", spec.task_id)
    if state in {_T.LEASED, _T.ACCEPTED, _T.RUNNING}:
        core.endpoints[row.endpoint_id].leases[spec.task_id] = task
        return None
    if state is _T.WAITING and options is not None:
        task.missing = set(options.inputs)
    if state is _T.QUEUED and options is not None and options.inputs:
        # Its inputs were there; they are looked up again, since only the ids are in its row.
        task.state = _T.WAITING
        task.missing = set(options.inputs)
    return task


def _remember(task: Task) -> None:
    """What the history tells beyond the state: starts, kills, when it was leased, a cancellation that was asked for."""
    previous = 0
    for _, state, at, reason in task.hist:
        if state == _T.RUNNING and previous != _T.RUNNING:
            task.starts += 1
        elif state == _T.QUEUED and previous == _T.RUNNING and reason.startswith("killed: "):
            task.kills += 1
        elif state == _T.QUEUED and previous == _T.RUNNING and reason == finish.GIVEN_BACK:
            task.starts -= 1
        elif state == _T.LEASED and previous != _T.LEASED:
            task.leased_at = at
        elif state == _T.QUEUED and previous in {_T.LEASED, _T.ACCEPTED} and reason.startswith(("lost: ", "killed: ")):
            task.starts += 1  # nobody knew whether it was
        elif state == _T.ACCEPTED and previous != _T.ACCEPTED:
            task.accepted_at = at
        if reason.startswith("cancel asked ("):
            mode, _, why = reason[len("cancel asked (") :].partition("): ")
            task.cancelling = (int(mode) if mode.isdigit() else 0, why)
        previous = state
