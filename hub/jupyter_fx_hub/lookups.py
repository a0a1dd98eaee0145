"""From rows of the store to what the state takes in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from jupyter_fx.protocol.messages import Function, TaskSpec
from jupyter_fx_hub.state.io import FinishedTask, Found, LoadedTask
from jupyter_fx_hub.store.rows import TaskRow
from jupyter_fx_hub.store.store import Store

__all__ = ["look_up", "windows"]

WINDOW: Final = 1000
_SPEC: Final = msgspec.msgpack.Decoder(TaskSpec)


async def look_up(store: Store, owner: str, task_ids: Sequence[str], functions: Sequence[tuple[str, str]]) -> Found:
    """These tasks of this owner, and these functions, as far as they exist."""
    tasks: list[LoadedTask] = []
    finished: list[FinishedTask] = []
    known: list[tuple[str, Function]] = []
    for task_id in task_ids:
        row: TaskRow | None = await store.read("task", owner, task_id)
        if row is None:
            continue
        digest: bytes | None = await store.read("task_hash", owner, task_id)
        if row.state >= 10:
            outcome = await store.read("outcome", owner, task_id)
            if outcome is not None:
                finished.append(FinishedTask(row.owner, digest or b"", outcome))
            continue
        spec: bytes | None = await store.read("task_spec", owner, task_id)
        if spec is not None:
            tasks.append(await _loaded(store, row, digest or b"", spec))
    for who, name in functions:
        found = await store.read("function", who, name)
        if found is not None:
            known.append((who, Function(found.digest, found.payload or b"", found.name, found.blob)))
    return Found(tasks, finished, known)


async def windows(store: Store, endpoint_id: str, known: set[tuple[str, str]]) -> list[Found]:
    """An endpoint's unfinished tasks, with what they need: functions that are not in `known` yet, inputs that have
    ended.
    """
    found: list[Found] = []
    after = 0
    while rows := await store.read("unfinished", endpoint_id, after, WINDOW):
        after = rows[-1].row.number
        tasks = [await _loaded(store, item.row, item.hash, item.spec) for item in rows]
        here = {task.spec.task_id for task in tasks}
        functions = {(t.owner, t.spec.function) for t in tasks if t.spec.function} - known
        known |= functions
        extra = Found([], [], (await look_up(store, "", [], sorted(functions))).functions)
        for task in tasks:
            inputs = [i for i in (task.spec.options.inputs if task.spec.options else []) if i not in here]
            if inputs:
                extra.finished.extend((await look_up(store, task.owner, inputs, [])).finished)
        found.append(Found(tasks, extra.finished, extra.functions))
        if len(rows) < WINDOW:
            break
    return found


async def _loaded(store: Store, row: TaskRow, digest: bytes, spec: bytes) -> LoadedTask:
    next_n = max((item[0] for item in row.history), default=-1) + 1
    out_attempt, out_k = 0, -1
    if row.attempt:
        # The history may hold a lease that the task's own row does not tell of.
        stored_n, pieces = await store.read("event_numbers", row.task_id)
        next_n = max(next_n, stored_n)
        if pieces:
            out_attempt = max(pieces)
            out_k = pieces[out_attempt] - 1
    return LoadedTask(
        row.owner,
        _SPEC.decode(spec),
        digest,
        row.state,
        row.attempt,
        row.fence,
        row.endpoint_id,
        row.submitted,
        row.history,
        next_n,
        out_attempt,
        out_k,
        row.started,
        row.expires_at,
    )
