"""Feeds: the stories that tabs follow, each taken from the hub once, however many tabs show it.

A tab says what it shows; nothing is asked of the hub for what no tab shows. While the hub is gone tabs are told so, and
when it is back their stories go on where they stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from jupyter_fx.errors import FxError, HubUnavailable
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import Event, EventKind, Outcome, Watch
from jupyter_fx.server.groups import Groups
from jupyter_fx.server.hublink import HubLink
from jupyter_fx.server.tabs import Sub, Tab

if TYPE_CHECKING:
    from jupyter_fx.client import HubClient

__all__ = ["FOLLOWED_MAX", "Feeds"]

FOLLOWED_MAX: Final = 200
"""Tasks that one tab may follow at a time."""
TICK: Final = 1.0
READ_AGAIN: Final = 5
ASK_WHY: Final = 4.0
"""Seconds between looks at what a waiting task waits for."""


class Feed:
    """One task and the tabs that follow it."""

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        self.subs: dict[Tab, Sub] = {}
        self.client: HubClient | None = None
        """Whose link tells the story; None: it has to be asked for."""
        self.state = TaskState.WAITING
        self.why_at = 0.0
        self.ended = False

    @property
    def watch(self) -> Watch:
        """As much as the most curious tab wants."""
        return Watch.ALL if any(sub.output for sub in self.subs.values()) else Watch.STATES


class Feeds:
    """All tabs of this server. Used on the server's loop."""

    def __init__(self, link: HubLink) -> None:
        self._link = link
        self._feeds: dict[str, Feed] = {}
        self._tabs: set[Tab] = set()
        self._status: dict[str, Any] = {}
        self._came: deque[tuple[str, Any]] = deque()
        self._ticker: asyncio.Task[None] | None = None
        self._asking: set[asyncio.Task[None]] = set()
        self.groups = Groups(link)
        """The maps that tabs show."""
        self.on_tick: list[Callable[[set[Tab]], None]] = [self.groups.tick]
        """Called every second while there are tabs."""

    # --- tabs ---

    def opened(self, tab: Tab) -> None:
        """A tab is there: it is told how we stand to the hub."""
        self._tabs.add(tab)
        self._status = self._link.status()
        tab.say("status", {"type": "status", **self._status})
        if self._ticker is None or self._ticker.done():
            self._loop = asyncio.get_running_loop()
            self._ticker = self._loop.create_task(self._tick())

    def closed(self, tab: Tab) -> None:
        """A tab is gone, with all that it followed."""
        self._tabs.discard(tab)
        for task_id in list(tab.subs):
            self.unfollow(tab, task_id)
        self.groups.closed(tab)
        tab.close()
        if not self._tabs and self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None

    def follow(self, tab: Tab, task_id: str, first: int, *, output: bool) -> None:
        """Tell the tab the story of a task from event `first` on; without `output` its states from now on."""
        if task_id not in tab.subs and len(tab.subs) >= FOLLOWED_MAX:
            limit = f"a browser tab follows at most {FOLLOWED_MAX} tasks at a time: close some of their cards"
            tab.say(task_id, {"type": "unknown", "task_id": task_id, "message": limit})
            return
        tab.subs[task_id] = Sub(first, output=output)
        feed = self._feeds.get(task_id)
        if feed is None:
            feed = self._feeds[task_id] = Feed(task_id)
        feed.subs[tab] = tab.subs[task_id]
        feed.ended = False
        self._attach(feed)

    def unfollow(self, tab: Tab, task_id: str) -> None:
        """The tab shows this task no more."""
        tab.subs.pop(task_id, None)
        feed = self._feeds.get(task_id)
        if feed is None:
            return
        feed.subs.pop(tab, None)
        if not feed.subs:
            del self._feeds[task_id]
            if feed.client is not None:
                feed.client.unfollow(task_id)

    # --- the hub ---

    def _attach(self, feed: Feed) -> None:
        client = self._link.client
        if client is None or not client.usable:
            feed.client = None
            self._link.begin()
            return
        task_id = feed.task_id
        try:
            client.follow(
                task_id,
                watch=feed.watch,
                on_event=lambda event: self._put(task_id, event),
                on_end=lambda end: self._put(task_id, end),
            )
        except FxError as error:
            self._unknown(feed, error)
            return
        feed.client = client
        self._spawn(self._inform(feed))
        self._fill(feed)

    def _put(self, task_id: str, what: Any) -> None:
        """On the client's thread."""
        idle = not self._came
        self._came.append((task_id, what))
        if idle:
            with contextlib.suppress(RuntimeError):  # the server ends
                self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        woken: set[Tab] = set()
        while self._came:
            task_id, what = self._came.popleft()
            feed = self._feeds.get(task_id)
            if feed is None:
                continue
            if isinstance(what, Event):
                if what.kind == EventKind.STATE and isinstance(what.data, dict):
                    feed.state = TaskState(int(what.data.get("state", feed.state)))
                woken |= {tab for tab, sub in feed.subs.items() if sub.live(what)}
                self._fill(feed)
            elif isinstance(what, Outcome):
                feed.ended, feed.state = True, TaskState(what.state)
                self._spawn(self._inform(feed))
            elif isinstance(what, HubUnavailable):
                feed.client = None  # another client is going to tell it
            elif isinstance(what, FxError):
                self._unknown(feed, what)
        for tab in woken:
            tab.wake()

    def _fill(self, feed: Feed) -> None:
        """See to it that the gaps of the tabs that want the whole story are read."""
        for tab, sub in feed.subs.items():
            if sub.filling and not sub.reading.locked():
                self._spawn(self._read(feed, tab, sub))

    async def _read(self, feed: Feed, tab: Tab, sub: Sub) -> None:
        async with sub.reading:
            await self._catch_up(feed, tab, sub)

    async def _catch_up(self, feed: Feed, tab: Tab, sub: Sub) -> None:
        try:
            for turn in range(READ_AGAIN):
                await self._read_to_end(feed, tab, sub)
                if not sub.behind:
                    break
                # What was told live is on its way to the hub's disk: soon it can be read.
                await asyncio.sleep(0.05 * (turn + 1))
            sub.filled()
            tab.wake()
        except HubUnavailable:
            pass  # the tick tries again
        except FxError as error:
            sub.filled()
            self._unknown(feed, error)

    async def _read_to_end(self, feed: Feed, tab: Tab, sub: Sub) -> None:
        start: int | None = sub.next
        while start is not None and feed.subs.get(tab) is sub:
            args = {"task_id": feed.task_id, "from": start, "limit": 500}
            found = await self._link.ask("tasks.events", args)
            for n, kind, t, data in found["events"]:
                through = int(data.get("through", n)) if isinstance(data, dict) and kind == EventKind.NOTE else n
                sub.past(Event(feed.task_id, n, kind, t, data), through)
            start = found["next"]
            tab.wake()
            await sub.room.wait()  # a long story goes no faster than the tab takes it

    def _unknown(self, feed: Feed, error: FxError) -> None:
        """The hub has no such task of ours."""
        feed.ended = True
        message = {"type": "unknown", "task_id": feed.task_id, "message": error.message}
        for tab in list(feed.subs):
            tab.end(feed.task_id, message)

    async def _inform(self, feed: Feed) -> None:
        """Tell the tabs what the hub says of the task as a whole: after its events when it has ended."""
        feed.why_at = self._loop.time()
        if feed.ended:
            for tab, sub in list(feed.subs.items()):
                if sub.output:
                    await self._read(feed, tab, sub)
        try:
            info = await self._link.ask("tasks.get", {"task_id": feed.task_id})
        except HubUnavailable:
            feed.why_at = 0.0
            return
        except FxError as error:
            self._unknown(feed, error)
            return
        message = {"type": "info", "task_id": feed.task_id, "info": info}
        for tab in list(feed.subs):
            if feed.ended:
                tab.end(feed.task_id, message)
            else:
                tab.say(f"info-{feed.task_id}", message)

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            status = self._link.status()
            if status != self._status:
                self._status = status
                for tab in self._tabs:
                    tab.say("status", {"type": "status", **status})
            now = self._loop.time()
            for feed in list(self._feeds.values()):
                if feed.ended and feed.why_at:
                    continue
                if feed.client is None or feed.client is not self._link.client:
                    self._attach(feed)
                    continue
                self._fill(feed)
                if (feed.ended or feed.state < TaskState.RUNNING) and now - feed.why_at >= ASK_WHY:
                    self._spawn(self._inform(feed))
            for call in self.on_tick:
                call(self._tabs)
