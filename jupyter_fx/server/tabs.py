"""Tab: what goes out to one browser tab. At most 20 frames a second, and never more text in hand than a tab can take.

States, progress and ends are never dropped; of text that a slow tab leaves lying the oldest is, and it is said how
much.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import Event, EventKind

__all__ = ["TEXT_MAX", "Sub", "Tab"]

TEXT_MAX: Final = 1024 * 1024
"""Characters of one task's text that wait for a tab."""
HELD_MAX: Final = 1000
"""Live events that wait while earlier ones are read."""
FRAME_EVENTS: Final = 500
PACE: Final = 0.05
_TEXT: Final = (EventKind.STDOUT, EventKind.STDERR)
_TEXT_NAMES: Final = ("stdout", "stderr")
_QUIET: Final = (EventKind.STATE, EventKind.NOTE)
Row = tuple[int, str, float, Any]
"""(n, kind, t, data) as the browser gets it: kinds and states by name."""


class Sub:
    """One task, followed by one tab.

    With `output` it is the whole story: every event once, in order. Where a live one shows a gap, `filling` is wanted:
    whoever sees to that reads from `next` on, gives what it finds to `past`, and says `filled`.
    """

    def __init__(self, first: int, *, output: bool) -> None:
        self.output = output
        self.next = first
        self.filling = output
        self.reading = asyncio.Lock()
        """Held by whoever reads what was before."""
        self.room = asyncio.Event()
        """Set while not so much waits that more would be dropped."""
        self.room.set()
        self._held: list[Event] = []
        self._rows: deque[Row] = deque()
        self._size = 0
        self._dropped = 0
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {int(kind): decoder("replace") for kind in _TEXT}

    def live(self, event: Event) -> bool:
        """Take a live event; False when nothing is to be sent of it now."""
        if event.n < self.next:
            return False
        if not self.output:
            if event.kind in _QUIET:
                self._keep(event)
                return True
            return False
        if self.filling or event.n > self.next:
            self.filling = True
            if len(self._held) < HELD_MAX:
                self._held.append(event)
            return False
        self._keep(event)
        return True

    def past(self, event: Event, through: int) -> None:
        """Take an event that was read; it stands for all up to number `through`."""
        if event.n >= self.next:
            self._keep(event)
            self.next = max(self.next, through + 1)

    @property
    def behind(self) -> bool:
        """Whether live events show that more can be read before them."""
        return any(event.n > self.next for event in self._held[:1])

    def filled(self) -> None:
        """All that can be read was: go on live."""
        held, self._held, self.filling = self._held, [], False
        for event in held:
            if event.n >= self.next:
                self._keep(event)

    def _keep(self, event: Event) -> None:
        self.next = event.n + 1
        data = event.data
        if event.kind in _TEXT:
            data = self._decoders[event.kind].decode(data if isinstance(data, bytes) else str(data).encode())
            self._size += len(data)
        elif event.kind in {EventKind.DISPLAY, EventKind.ITEMS}:
            # Pictures, pages and results are the notebook's; the tab is told that there was one.
            data = None
        elif event.kind == EventKind.STATE and isinstance(data, dict):
            data = {**data, "state": TaskState(int(data.get("state", TaskState.QUEUED))).name.lower()}
        self._rows.append((event.n, EventKind(event.kind).name.lower(), event.t, data))
        if self._size > TEXT_MAX:
            self._drop()
        if self._size > TEXT_MAX // 4:
            self.room.clear()

    def _drop(self) -> None:
        kept: deque[Row] = deque()
        for row in self._rows:
            if row[1] in _TEXT_NAMES and self._size > TEXT_MAX // 2:
                self._size -= len(row[3])
                self._dropped += row[3].count("\n") or 1
            else:
                kept.append(row)
        self._rows = kept

    def take(self) -> tuple[list[Row], int]:
        """(rows for one frame, lines that were dropped before them)."""
        dropped, self._dropped = self._dropped, 0
        rows = [self._rows.popleft() for _ in range(min(len(self._rows), FRAME_EVENTS))]
        self._size -= sum(len(row[3]) for row in rows if row[1] in _TEXT_NAMES)
        if self._size <= TEXT_MAX // 4:
            self.room.set()
        return rows, dropped

    @property
    def waiting(self) -> bool:
        """Whether there is something to be sent."""
        return bool(self._rows)


class Tab:
    """One WebSocket. `send` writes a text and waits until it is on its way."""

    def __init__(self, send: Callable[[str], Awaitable[Any]]) -> None:
        self._send = send
        self.subs: dict[str, Sub] = {}
        self.looks = False
        """Whether it shows endpoints, sessions and tasks."""
        self.every = 0.0
        """Seconds between looks at them."""
        self._said: dict[str, dict[str, Any]] = {}
        self._ends: dict[str, dict[str, Any]] = {}
        self._wake = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def say(self, key: str, message: dict[str, Any]) -> None:
        """Send a message; of those with the same key only the newest."""
        self._said[key] = message
        self._wake.set()

    def end(self, task_id: str, message: dict[str, Any]) -> None:
        """Send a message once all events of the task that wait are sent."""
        self._ends[task_id] = message
        self._wake.set()

    def wake(self) -> None:
        """Events wait."""
        self._wake.set()

    def close(self) -> None:
        """The socket is gone."""
        self._task.cancel()

    async def _run(self) -> None:
        with contextlib.suppress(Exception):  # a socket that closes while something is written: `close` comes
            while True:
                await self._wake.wait()
                self._wake.clear()
                for message in self._frames():
                    await self._send(json.dumps(message, default=str))
                if any(sub.waiting for sub in self.subs.values()):
                    self._wake.set()
                await asyncio.sleep(PACE)

    def _frames(self) -> list[dict[str, Any]]:
        said, self._said = self._said, {}
        frames = list(said.values())
        for task_id, sub in self.subs.items():
            if sub.waiting:
                rows, dropped = sub.take()
                frame: dict[str, Any] = {"type": "events", "task_id": task_id, "events": rows}
                if dropped:
                    frame["dropped"] = dropped
                frames.append(frame)
        through = [task_id for task_id in self._ends if task_id not in self.subs or not self.subs[task_id].waiting]
        return frames + [self._ends.pop(task_id) for task_id in through]
