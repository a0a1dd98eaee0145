"""What goes out to one client: replays before live events, outcomes after their events, and little for those who read
slowly.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from jupyter_fx.errors import FxError
from jupyter_fx.protocol.messages import Event, EventKind, Events, Outcome, Outcomes
from jupyter_fx.transport import Served
from jupyter_fx_hub.state.core import MESSAGE_BYTES, bytes_of

__all__ = ["Outbox"]

PARKED_MAX: Final = 8 * 1024 * 1024
"""Bytes of text that wait for a client that does not read; of more, the oldest is dropped."""
WAITING_MAX: Final = 128 * 1024 * 1024
"""Bytes of everything, what a replay holds back too, that wait for such a client. What is no text is never dropped: of
more the link ends, and the client asks again from where it knows it.
"""
_TEXT: Final = (EventKind.STDOUT, EventKind.STDERR)


class Outbox:
    """The sending half of a client link. Everything but text of running tasks arrives, or the link ends."""

    def __init__(self, served: Served, on_full: Callable[[], None]) -> None:
        """`on_full` is called, once and not at once, when more waits than may: the link is to end."""
        self._served = served
        self._on_full = on_full
        self._full = False
        self._waiting = 0
        self._replaying: dict[str, list[Event | Outcome]] = {}
        self._parked: deque[Event | Outcome | asyncio.Future[None]] = deque()
        """What waits, in its order, and who waits until what stands before is sent."""
        self._parked_text = 0
        self._dropped: dict[str, int] = {}
        self._waker: asyncio.Task[None] | None = None
        self.lines_dropped = 0

    def send(self, message: Any) -> None:
        """Send what the state said."""
        if self._full:
            return
        kind = type(message)
        if kind is Events:
            self._put(message.events, message)
        elif kind is Outcomes:
            self._put(message.outcomes, message)
        else:
            self._served.send(message)

    def begin_replay(self, task_id: str) -> bool:
        """Hold back what is live of this task until `end_replay`; False when a replay is under way already."""
        if task_id in self._replaying:
            return False
        self._replaying[task_id] = []
        return True

    def end_replay(self, task_id: str, events: list[Event], outcome: Outcome | None) -> None:
        """Send the replayed events (the rest of them), then what was held back of it, then the outcome."""
        held = self._replaying.pop(task_id, [])
        self._waiting -= sum(map(bytes_of, held))
        last = events[-1].n if events else -1
        rest: list[Event | Outcome] = [*events, *(e for e in held if isinstance(e, Event) and e.n > last)]
        ends = [e for e in held if isinstance(e, Outcome)]
        if outcome is not None and not ends:
            ends = [outcome]
        self._items(rest + list(ends))

    def events(self, events: list[Event]) -> None:
        """Send replayed events of a task whose replay goes on."""
        self._items(list(events))

    async def caught_up(self) -> None:
        """Return when the client was sent what waits for it now, or the link has ended: who replays much goes on then.
        What comes meanwhile is not waited for: of a task that tells much there is always more.
        """
        if self._parked:
            here: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._parked.append(here)
            await here

    def _put(self, items: list[Any], message: Any) -> None:
        if self._replaying:
            free = []
            for item in items:
                held = self._replaying.get(item.task_id)
                if held is None:
                    free.append(item)
                else:
                    held.append(item)
                    self._waits(item)
            if len(free) < len(items):
                self._items(free)
                return
        if self._parked or self._served.congested:
            self._park(items)
        else:
            self._served.send(message)

    def _items(self, items: list[Event | Outcome]) -> None:
        if self._parked or self._served.congested:
            self._park(items)
            return
        run: list[Any] = []
        size = 0
        for item in items:
            weight = bytes_of(item)
            if run and (type(item) is not type(run[0]) or size + weight > MESSAGE_BYTES):
                self._send_run(run)
                run, size = [], 0
            run.append(item)
            size += weight
        if run:
            self._send_run(run)

    def _send_run(self, run: list[Any]) -> None:
        self._served.send(Events(run) if isinstance(run[0], Event) else Outcomes(run))

    def _park(self, items: list[Any]) -> None:
        for item in items:
            self._parked.append(item)
            self._waits(item)
            if isinstance(item, Event) and item.kind in _TEXT:
                self._parked_text += len(item.data)
        if self._parked_text > PARKED_MAX:
            self._drop_oldest()
        if self._waker is None:
            self._waker = asyncio.get_running_loop().create_task(self._wake())

    def _waits(self, item: Event | Outcome) -> None:
        self._waiting += bytes_of(item)
        if self._waiting > WAITING_MAX and not self._full:
            self._full = True
            # Whoever sends is in the middle of something.
            asyncio.get_running_loop().call_soon(self._on_full)

    def _drop_oldest(self) -> None:
        """Make half the room free; one NOTE per task says how much went, in the place of the last piece."""
        kept: deque[Event | Outcome | asyncio.Future[None]] = deque()
        notes: dict[str, Event] = {}
        while self._parked:
            item = self._parked.popleft()
            if self._parked_text > PARKED_MAX // 2 and isinstance(item, Event) and item.kind in _TEXT:
                self._parked_text -= len(item.data)
                self._waiting -= bytes_of(item)
                lines = item.data.count(b"\n") or 1
                self.lines_dropped += lines
                self._dropped[item.task_id] = total = self._dropped.get(item.task_id, 0) + lines
                note = notes.get(item.task_id)
                if note is None:
                    notes[item.task_id] = note = Event(item.task_id, item.n, EventKind.NOTE, item.t, "")
                    kept.append(note)
                note.n, note.data = item.n, f"[{total} lines dropped]"
            else:
                kept.append(item)
        self._parked = kept
        self._waiting += sum(map(bytes_of, notes.values()))
        self._dropped.clear()

    async def _wake(self) -> None:
        try:
            while self._parked:
                await self._served.wait_uncongested()
                self._send_parked()
                await asyncio.sleep(0)
        except FxError:
            # A link that went on would lack what could not be sent, for good.
            self._served.abort()
        finally:
            self._waker = None
            self._let_go()

    def _send_parked(self) -> None:
        batch: list[Event | Outcome] = []
        size = 0
        while self._parked and size < 2_000_000:
            item = self._parked.popleft()
            if isinstance(item, asyncio.Future):
                _go_on(item)
                continue
            batch.append(item)
            weight = bytes_of(item)
            size += weight
            self._waiting -= weight
            if isinstance(item, Event) and item.kind in _TEXT:
                self._parked_text -= len(item.data)
        parked, self._parked = self._parked, deque()
        try:
            self._items(batch)
        finally:
            # Also when they cannot be sent: who waits behind them is to hear of it.
            parked.extendleft(reversed(self._parked))
            self._parked = parked

    def _let_go(self) -> None:
        """Nobody waits any longer: nothing more is sent."""
        for item in self._parked:
            if isinstance(item, asyncio.Future):
                _go_on(item)

    def close(self) -> None:
        """The link is gone."""
        self._full = True
        self._let_go()
        self._parked.clear()
        self._replaying.clear()
        if self._waker is not None:
            self._waker.cancel()
            self._waker = None


def _go_on(who: asyncio.Future[None]) -> None:
    if not who.done():
        who.set_result(None)
