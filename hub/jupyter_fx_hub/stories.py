"""Stories of tasks, read from the store for clients that missed something of them."""

from __future__ import annotations

from jupyter_fx.protocol.messages import ErrorInfo, Event, EventKind, Rejected
from jupyter_fx_hub.ports import ClientPort
from jupyter_fx_hub.state.io import Replay
from jupyter_fx_hub.store.store import Store

__all__ = ["tell"]


async def tell(store: Store, what: Replay, port: ClientPort) -> None:
    """Tell a client the story of a task from where it knows it, or that there is none. Whoever calls has waited until
    all of it that was told before is on disk.
    """
    task_id = what.task_id
    if not what.watch:
        # Thousands may be asked for by one client that comes back: no more reads than it takes.
        outcome = await store.read("outcome", what.owner, task_id)
        if outcome is not None:
            port.replay(task_id, [], outcome, last=True)
            return
    row = await store.read("task", what.owner, task_id)
    if row is None:
        port.replay(task_id, [], None, last=True)
        port.send(
            Rejected(
                [task_id],
                ErrorInfo("UsageError", f"no task {task_id[-8:]!r}: it was deleted, or never reached this hub"),
            )
        )
        return
    start: int | None = what.start
    events: list[Event] = []
    while start is not None and what.watch and not port.gone:
        rows, start = await store.read("events", what.owner, task_id, start)
        events = [
            Event(task_id, *row)
            for row in rows
            if (what.upto < 0 or row[0] < what.upto) and _wanted(row[1], what.watch)
        ]
        if rows and 0 <= what.upto <= rows[-1][0]:
            break
        if start is not None:
            port.replay(task_id, events, None, last=False)
            events = []
            # No more is read than is taken: a story may be larger than memory.
            await port.caught_up()
    outcome = await store.read("outcome", what.owner, task_id) if what.upto < 0 else None
    port.replay(task_id, events, outcome, last=True)


def _wanted(kind: int, watch: int) -> bool:
    return watch >= 2 or kind in {EventKind.STATE, EventKind.NOTE}
