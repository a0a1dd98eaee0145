"""How maps stand, as tabs are told."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from jupyter_fx.errors import UsageError
from jupyter_fx.server import groups
from jupyter_fx.server.groups import Groups
from jupyter_fx.server.hublink import HubLink
from jupyter_fx.server.tabs import Tab
from jupyter_fx.testing import FakeClock


class Hub:
    """Answers with what the test puts into `answer`."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def ask(self, _op: str, _args: dict[str, Any]) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return dict(self.answer)


class TabThatNotes:
    """What a tab was told, by type of message."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def say(self, key: str, message: dict[str, Any]) -> None:
        self.told.append((key.removeprefix("group-"), message["type"]))


def made(answer: Any) -> tuple[Groups, Hub, FakeClock, TabThatNotes, Tab]:
    hub, clock, tab = Hub(answer), FakeClock(), TabThatNotes()
    return Groups(cast("HubLink", hub), clock.monotonic), hub, clock, tab, cast("Tab", tab)


async def looked() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_map_that_was_unknown_for_a_moment_is_told_of_again() -> None:
    async def story() -> None:
        maps, hub, clock, notes, tab = made({"active": 1, "tasks": 1})
        known = dict(hub.answer)
        maps.follow(tab, "g")
        await looked()
        hub.answer = UsageError("no map")
        clock.advance(groups.LATEST)
        maps.tick({tab})
        await looked()
        hub.answer = known
        clock.advance(groups.LATEST)
        maps.tick({tab})
        await looked()
        assert [kind for _, kind in notes.told] == ["group", "unknown", "group"]

    asyncio.run(story())


def test_one_that_is_followed_already_is_not_one_too_many() -> None:
    async def story() -> None:
        maps, _, _, notes, tab = made({"active": 0, "tasks": 1})
        for number in range(groups.GROUPS_MAX):
            maps.follow(tab, str(number))
        await looked()
        notes.told.clear()
        maps.follow(tab, "7")
        await looked()
        assert notes.told == [("7", "group")]
        maps.follow(tab, "one more")
        assert notes.told[1:] == [("one more", "unknown")]

    asyncio.run(story())
