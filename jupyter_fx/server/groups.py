"""Groups: how the maps stand that tabs show, asked of the hub as one sum each, however many tasks they have.

A map has no story of its own: its tasks have. So it is looked at again and again, the less often the more tasks it has,
and seldom once nothing of it is left to do; more may be submitted as long as its notebook's kernel lives.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from jupyter_fx.errors import FxError, HubUnavailable
from jupyter_fx.server.hublink import HubLink
from jupyter_fx.server.tabs import Tab

__all__ = ["GROUPS_MAX", "Groups"]

GROUPS_MAX: Final = 100
"""Maps that one tab may follow at a time."""
SOONEST, STILL, LATEST = 1.0, 5.0, 30.0
"""Seconds between two looks: while tasks are under way, once none is, and when that has been so for a while."""
EACH: Final = 0.004
"""Seconds that each task of a map adds to that: the hub's look at one costs it some 10 µs."""


class _Followed:
    """One map and the tabs that show it."""

    def __init__(self) -> None:
        self.tabs: set[Tab] = set()
        self.told: dict[str, Any] | None = None
        self.due = 0.0
        self.pause = SOONEST
        self.looking: asyncio.Task[None] | None = None


class Groups:
    """Used on the server's loop."""

    def __init__(self, link: HubLink, clock: Callable[[], float] = time.monotonic) -> None:
        self._link, self._clock = link, clock
        self._groups: dict[str, _Followed] = {}

    def follow(self, tab: Tab, group: str) -> None:
        """Tell the tab how this map stands, now and whenever that has changed."""
        follows = [name for name, one in self._groups.items() if tab in one.tabs]
        if len(follows) >= GROUPS_MAX and group not in follows:
            limit = f"a browser tab follows at most {GROUPS_MAX} maps at a time: close some of their cards"
            tab.say(f"group-{group}", {"type": "unknown", "task_id": group, "message": limit})
            return
        found = self._groups.setdefault(group, _Followed())
        found.tabs.add(tab)
        if found.told is not None:
            tab.say(f"group-{group}", _message(group, found.told))
        self.changed(group)

    def unfollow(self, tab: Tab, group: str) -> None:
        """The tab shows it no more."""
        found = self._groups.get(group)
        if found is None:
            return
        found.tabs.discard(tab)
        if not found.tabs:
            del self._groups[group]

    def closed(self, tab: Tab) -> None:
        """The tab is gone."""
        for group in list(self._groups):
            self.unfollow(tab, group)

    def changed(self, group: str) -> None:
        """Something was done to it: look at once."""
        found = self._groups.get(group)
        if found is not None:
            found.pause = SOONEST
            self._look(group, found)

    def tick(self, _tabs: set[Tab]) -> None:
        """Every second: look at those whose time it is."""
        now = self._clock()
        for group, found in list(self._groups.items()):
            if now >= found.due:
                self._look(group, found)

    def _look(self, group: str, found: _Followed) -> None:
        if found.looking is None or found.looking.done():
            found.looking = asyncio.get_running_loop().create_task(self._ask(group, found))

    async def _ask(self, group: str, found: _Followed) -> None:
        try:
            told = await self._link.ask("groups.get", {"group": group})
        except HubUnavailable:
            found.due = self._clock() + SOONEST  # its return is waited for, and the status says why
            return
        except FxError as error:
            found.due = self._clock() + LATEST
            found.told = None  # should it be known again, tabs are to be told so, changed or not
            self._say(group, found, {"type": "unknown", "task_id": group, "message": error.message})
            return
        if told["active"]:
            found.pause = SOONEST + EACH * told["tasks"]
        else:
            found.pause = min(LATEST, max(STILL, 1.5 * found.pause) + EACH * told["tasks"])
        found.due = self._clock() + found.pause
        if told != found.told:
            found.told = told
            self._say(group, found, _message(group, told))

    def _say(self, group: str, found: _Followed, message: dict[str, Any]) -> None:
        for tab in found.tabs:
            tab.say(f"group-{group}", message)


def _message(group: str, told: dict[str, Any]) -> dict[str, Any]:
    return {"type": "group", "task_id": group, "info": told}
