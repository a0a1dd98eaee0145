"""Who comes back to a task: from any event on, then live, beside whoever follows it in this process already.

A task has one future that its link serves (`Core.futures`). Each further one is a `Listener`: it asks the hub for what
happened so far, in pages, while what happens meanwhile is held back; then it goes on live. Nothing is polled, nothing
is told twice, and the first one notices nothing. All but `Listener`'s own methods runs on the client's loop.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from jupyter_fx.client.futures import OnEvent, TaskFuture
from jupyter_fx.client.titles import name_of_task
from jupyter_fx.errors import FxError, HubUnavailable, UsageError
from jupyter_fx.payload.cells import bind, decode_cell, value_in
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import Attach, Event, EventKind, Kind, Outcome

if TYPE_CHECKING:
    from jupyter_fx.client.core import Core
    from jupyter_fx.client.hub import HubClient

__all__ = ["Listener", "all_of", "attached", "begin", "ended", "leave", "made", "tell"]

_NEVER = 2**31 - 1
"""A number that no event has: an Attach from there changes how much is told and has nothing told again."""
_PAGE = 1000
_AGAIN = 0.5
_NOT_YET = 0.02
"""Seconds until an event is looked for again that the hub has told others and not yet written down."""


class Listener(TaskFuture):
    """A future of a task that was submitted elsewhere, or before. `leave()` ends the listening, not the task."""

    _held: list[Event] | None = None
    """What came while the past is still being read."""
    _ended: Outcome | None = None

    def result(self, timeout: float | None = None) -> Any:
        """As every TaskFuture's; for a notebook cell the value of its last expression, as far as it is known."""
        value = super().result(timeout)
        if self.kind != Kind.CELL or type(value) is not Outcome:
            return value
        shown: Mapping[str, Any] = {}
        for event in self.events():
            if event.kind == EventKind.DISPLAY and event.data.get("kind") == "execute_result":
                shown = event.data.get("content") or {}
        return value_in(decode_cell(self.outcome or value), shown)

    def names(self, timeout: float | None = None) -> dict[str, Any]:
        """Of a notebook cell: wait for its end, at most `timeout` seconds; what it assigned and could send home."""
        if self.kind != Kind.CELL:
            raise UsageError(f"{self!r} is no notebook cell: .result() gives its value")
        concurrent.futures.wait([self], timeout)
        if self.outcome is None:
            super().result(0)  # why there is none
            return {}
        home = decode_cell(self.outcome)
        found: dict[str, Any] = {}
        for name, value in home.values.items():
            found[name] = bind(value, found) if name in home.bind else value
        return found

    def leave(self) -> None:
        """Hear no more of the task's output. It goes on, and this future still completes."""
        core = self._client._core  # noqa: SLF001
        if core is not None and not self.done():
            core.loop.call_soon_threadsafe(leave, core, self)


def made(client: HubClient, info: Mapping[str, Any], *, watch: int, on_event: OnEvent | None, first: int) -> Listener:
    """One for the task of which the hub says this (`tasks.get`)."""
    found = Listener(client, str(info["task_id"]))
    kind = info.get("kind", Kind.CALL)
    found.kind = Kind[kind.upper()] if isinstance(kind, str) else int(kind)
    found.name, found.items = name_of_task(client, info), int(info.get("items") or 0)
    found._sent, found._watch, found._next_event = True, watch, first  # noqa: SLF001
    found._on_event = on_event  # noqa: SLF001
    state = info.get("state")
    found._told = TaskState[state] if isinstance(state, str) else 0  # noqa: SLF001
    if found._told == TaskState.RUNNING:  # noqa: SLF001
        found.set_running_or_notify_cancel()
    return found


async def begin(core: Core, listener: Listener, first: int) -> None:
    """Let it listen from event `first` on."""
    task_id, watch = listener.task_id, listener._watch  # noqa: SLF001
    known = core.futures.get(task_id)
    if known is None:
        core.futures[task_id] = listener
        core.peer.send(Attach([(task_id, first, watch)]))
        return
    if isinstance(known, TaskFuture):
        listener._call = known._call  # noqa: SLF001
    core.also.setdefault(task_id, []).append(listener)
    if watch > known._watch:  # noqa: SLF001
        known._watch = watch  # noqa: SLF001
        core.peer.send(Attach([(task_id, _NEVER, watch)]))
    if watch:
        listener._held = []  # noqa: SLF001
        task = core.loop.create_task(_catch_up(core, listener))
        core._fetching.add(task)  # noqa: SLF001 - whoever keeps tasks of the loop
        task.add_done_callback(core._fetching.discard)  # noqa: SLF001


async def _catch_up(core: Core, listener: Listener) -> None:
    while True:
        try:
            await _read(core, listener)
        except HubUnavailable:
            await asyncio.sleep(_AGAIN)
            continue
        except FxError as error:
            listener._fail(error)  # noqa: SLF001
            return
        held = listener._held or []  # noqa: SLF001
        if not held or held[0].n <= listener._next_event:  # noqa: SLF001
            break
        await asyncio.sleep(_NOT_YET)
    listener._held = None  # noqa: SLF001
    for event in held:
        listener._tell(event)  # noqa: SLF001
    if listener._ended is not None:  # noqa: SLF001
        core.finish(listener, listener._ended)  # noqa: SLF001


async def _read(core: Core, listener: Listener) -> None:
    """Tell it what the hub has written down."""
    task_id = listener.task_id
    start: int | None = listener._next_event  # noqa: SLF001
    while start is not None:
        args = {"task_id": task_id, "from": start, "limit": _PAGE}
        told = await core.peer.request("tasks.events", args, 30.0)
        for n, kind, t, data in told["events"]:
            listener._tell(Event(task_id, n, kind, t, data))  # noqa: SLF001
        # In place of text that was dropped stands one note, which says up to where.
        start = told["next"]
        if start is not None:
            listener._next_event = max(start, listener._next_event)  # noqa: SLF001


def leave(core: Core, listener: Listener) -> None:
    """It wants to hear of the outcome alone."""
    listener._on_event, listener._watch = None, 0  # noqa: SLF001
    task_id = listener.task_id
    first = core.futures.get(task_id)
    others = [*([first] if first is not None else []), *core.also.get(task_id, [])]
    watch = max((one._watch for one in others if one._on_event is not None), default=0)  # noqa: SLF001
    if first is not None and first._watch > watch:  # noqa: SLF001
        first._watch = watch  # noqa: SLF001
        core.peer.send(Attach([(task_id, _NEVER, watch)]))


def tell(core: Core, events: Iterable[Event]) -> None:
    """Live events, for those who listen."""
    for event in events:
        for listener in core.also.get(event.task_id, ()):
            if listener._held is not None:  # noqa: SLF001
                listener._held.append(event)  # noqa: SLF001
            else:
                listener._tell(event)  # noqa: SLF001


def ended(core: Core, outcome: Outcome) -> None:
    """A task's outcome. Each gets one of its own, for opening it takes the payload away."""
    for listener in core.also.pop(outcome.task_id):
        own = msgspec.structs.replace(outcome)
        if listener._held is not None:  # noqa: SLF001
            listener._ended = own  # noqa: SLF001
        else:
            core.finish(listener, own)


def attached(core: Core, waiting: Sequence[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """What a link that came back asks for: from the earliest event that any of them lacks."""
    made: list[tuple[str, int, int]] = []
    for task_id, first, watch in waiting:
        live = [one for one in core.also.get(task_id, ()) if one._held is None and one._watch]  # noqa: SLF001
        made.append((task_id, min([first, *(one._next_event for one in live)]), watch))  # noqa: SLF001
    return made


def all_of(core: Core) -> list[Listener]:
    """All that listen beside others."""
    return [listener for found in core.also.values() for listener in found]
