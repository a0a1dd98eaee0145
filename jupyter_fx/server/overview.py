"""Overview: the hub's endpoints, sessions and newest tasks as this server last saw them.

Tabs that show them are sent what changed. A hub that does not answer leaves the last state standing, and it is said of
it that it is old.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any, Final

from jupyter_fx.errors import FxError, HubUnavailable
from jupyter_fx.server.hublink import HubLink
from jupyter_fx.server.tabs import Tab

__all__ = ["LISTS", "REFRESH", "TASKS_SHOWN", "Overview"]

LISTS: Final = {"endpoints": "endpoints.list", "sessions": "sessions.list", "tasks": "tasks.list"}
TASKS_SHOWN: Final = 200
"""The newest tasks that are pushed, and as many older ones that go on; more are asked for with GET tasks."""
REFRESH: Final = 10.0
"""Seconds, at the least, between looks at the hub while a tab shows its state and nothing is known to have changed."""
SOON: Final = 0.5


class Overview:
    """Used on the server's loop. `clock` is monotonic, `wall` tells the time of day."""

    def __init__(
        self,
        link: HubLink,
        *,
        agents: Callable[[], list[dict[str, Any]]] = list,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._link, self._agents, self._clock, self._wall = link, agents, clock, wall
        self.agents: list[dict[str, Any]] = []
        """The endpoints of this machine."""
        self.known: dict[str, Any] = {}
        """What the hub answered last, by list."""
        self.at: dict[str, float] = {}
        """When."""
        self._origins: dict[str, dict[str, Any]] = {}
        """Where the tasks come from that were listed last."""
        self._due = 0.0
        self._looking: asyncio.Task[None] | None = None
        self._anew = False
        """Whether tabs show what is true no longer, whatever is found."""

    async def get(self, what: str, args: dict[str, Any] | None = None) -> dict[str, Any]:
        """{what: the list, at, stale, problem}: from the hub, else as it was last seen. Raises FxError when it was
        never seen, or when it is asked for with `args`."""
        try:
            found = await self._link.ask(LISTS[what], args or ({"limit": TASKS_SHOWN} if what == "tasks" else {}))
        except HubUnavailable as error:
            if args or what not in self.known:
                raise
            return {what: self.known[what], "at": self.at.get(what, 0.0), "stale": True, "problem": error.message}
        answer = found if what == "tasks" else {what: found}
        if what == "tasks" and not args:
            answer = {**answer, "tasks": await self._with_origins(await self._with_active(answer["tasks"]))}
        if not args:
            self.known[what], self.at[what] = answer[what], self._wall()
        return {**answer, "at": self._wall(), "stale": False, "problem": ""}

    async def _with_active(self, newest: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """A job of hours may be older than the newest tasks, and is what people look for."""
        if len(newest) < TASKS_SHOWN:
            return newest
        found = await self._link.ask(LISTS["tasks"], {"state": "active", "limit": TASKS_SHOWN})
        known = {task["task_id"] for task in newest}
        return newest + [task for task in found["tasks"] if task["task_id"] not in known]

    async def _with_origins(self, tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """With the notebook and cell of those that have ended, too: the hub reads that from disk, so each is asked for
        once."""
        known = {task["task_id"]: task["origin"] or self._origins.get(task["task_id"]) for task in tasks}
        unknown = [at for at, task in enumerate(tasks) if task["kind"] == "cell" and known[task["task_id"]] is None]
        if unknown:
            asked = {"limit": min(unknown[-1] + 1, TASKS_SHOWN), "details": True}
            found = await self._link.ask(LISTS["tasks"], asked)
            known |= {task["task_id"]: task["origin"] for task in found["tasks"] if task["task_id"] in known}
        self._origins = {task_id: origin for task_id, origin in known.items() if origin is not None}
        return [{**task, "origin": known[task["task_id"]] or {}} for task in tasks]

    # --- tabs ---

    def looked(self, tab: Tab) -> None:
        """A tab shows the state, or no longer."""
        if tab.looks:
            if self.known:
                tab.say("state", self._message("" if self._link.connected else self._link.status()["problem"]))
            self.changed()

    def changed(self) -> None:
        """Something is not what it was: look soon."""
        self._due = min(self._due, self._clock() + SOON)

    def forget(self) -> None:
        """There is another hub now."""
        if self._looking is not None:
            self._looking.cancel()  # what that one answers is no longer asked for
        self.known, self.at, self._anew = {what: [] for what in LISTS}, {}, True
        self.changed()

    def tick(self, tabs: set[Tab]) -> None:
        """Every second: look if it is time and anybody shows it."""
        every = [tab.every for tab in tabs if tab.looks]
        if self._clock() < self._due or not every:
            return
        if self._looking is None or self._looking.done():
            self._due = self._clock() + min(every)
            self._looking = asyncio.get_running_loop().create_task(self._look(tabs))

    async def _look(self, tabs: set[Tab]) -> None:
        before, problem = (dict(self.known), self.agents), ""
        with contextlib.suppress(FxError, OSError):  # what is told by the hub is told all the same
            self.agents = await asyncio.to_thread(self._agents)
        try:
            for what in LISTS:
                await self.get(what)
        except FxError as error:
            problem = error.message
        problem = problem or self._link.status()["problem"]
        if problem or self._anew or (self.known, self.agents) != before:
            self._anew = False
            message = self._message(problem)
            for tab in tabs:
                if tab.looks:
                    tab.say("state", message)

    def _message(self, problem: str) -> dict[str, Any]:
        at = min(self.at.values(), default=0.0)
        return {
            "type": "state",
            **self.known,
            "agents": self.agents,
            "at": at,
            "stale": bool(problem),
            "problem": problem,
        }
