"""What running tasks tell: numbered once, written, handed on to whoever follows."""

from __future__ import annotations

from jupyter_fx.protocol.limits import STREAM_FRAME_MAX
from jupyter_fx.protocol.messages import Event, EventKind, Output, Outputs
from jupyter_fx_hub.state.core import Core, pack
from jupyter_fx_hub.state.records import Endpoint, Task
from jupyter_fx_hub.store.ops import AddEvents, EventRow

__all__ = ["note", "outputs"]

DATA_MAX = 256 * 1024
"""Bytes of the data of a display or of a map's partial results that are kept and told; what is larger is replaced by
a note.
"""


def outputs(core: Core, endpoint: Endpoint, message: Outputs) -> None:
    """Pieces of the story of tasks. What came before has no effect."""
    rows: dict[str, list[EventRow]] = {}
    for output in message.outputs:
        task = core.tasks.get(output.task_id)
        if task is None or not _belongs(endpoint, task, output):
            core.counts["stale"] += 1
            continue
        if task.unsure:
            # The store may have a story of it, with other numbers.
            task.early = [*(task.early or ()), output]
            continue
        task.out_attempt, task.out_k = output.attempt, output.k
        kind, data = _bounded(output)
        n = task.n
        task.n = n + 1
        rows.setdefault(task.task_id, []).append(EventRow(n, output.attempt, output.k, kind, output.t, data))
        if task.watch or task.more:
            core.tell(task, Event(task.task_id, n, kind, output.t, data), 2)
    core.counts["outputs"] += sum(len(events) for events in rows.values())
    for task_id, events in rows.items():
        core.writes.append(AddEvents(task_id, events))


def _belongs(endpoint: Endpoint, task: Task, output: Output) -> bool:
    if (
        task.state.terminal
        or task.endpoint_id != endpoint.endpoint_id
        or output.attempt < max(task.attempt, task.out_attempt)
    ):
        return False
    # An attempt beyond ours is a lease that an earlier hub could not write down: its result or the inventory will tell.
    if output.attempt > task.attempt and not task.pinned:
        return False
    return output.attempt > task.out_attempt or output.k > task.out_k


def _bounded(output: Output) -> tuple[int, object]:
    data = output.data
    if output.kind in {EventKind.STDOUT, EventKind.STDERR}:
        if isinstance(data, str):
            data = data.encode("utf-8", "replace")
        elif not isinstance(data, bytes):
            return EventKind.NOTE, f"[output of a kind that this hub does not know: {type(data).__name__}]"
        if len(data) > STREAM_FRAME_MAX:
            data = data[:STREAM_FRAME_MAX] + b"\n[cut: the piece was over the limit]\n"
        return output.kind, data
    size = len(data) if isinstance(data, bytes) else len(pack(data))
    if size > DATA_MAX:
        return EventKind.NOTE, f"[a piece of {size} bytes is over the limit of {DATA_MAX} and was left out]"
    return output.kind, data


def note(core: Core, task: Task, text: str) -> None:
    """A remark of the hub in the story of a task."""
    n = task.n
    task.n = n + 1
    core.writes.append(AddEvents(task.task_id, [EventRow(n, task.attempt, -1, EventKind.NOTE, core.wall, text)]))
    if task.watch or task.more:
        core.tell(task, Event(task.task_id, n, EventKind.NOTE, core.wall, text), 1)
