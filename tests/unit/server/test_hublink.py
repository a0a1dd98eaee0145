"""A hub that is down or slow never makes anybody at the server wait."""

from __future__ import annotations

import asyncio
import concurrent.futures
from typing import Any

import pytest

from jupyter_fx.errors import HubUnavailable, UsageError
from jupyter_fx.server import hublink
from jupyter_fx.server.hublink import HubLink
from jupyter_fx.server.overview import Overview
from jupyter_fx.testing import FakeClock


class HubClientInName:
    """A client whose answers the test gives."""

    def __init__(self) -> None:
        self.address, self.user = "unix:/hub.sock", "me"
        self.usable = self.connected = True
        self.answers: dict[str, Any] = {}
        self.asked = 0

    def ask(self, op: str, args: Any = None, *, timeout: float) -> concurrent.futures.Future[Any]:
        self.asked += 1
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        answer = self.answers.get(op, HubUnavailable("no answer within 5 s"))
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
        return future


def linked() -> tuple[HubLink, HubClientInName, FakeClock]:
    clock, client = FakeClock(), HubClientInName()
    link = HubLink(lambda: client, clock=clock.monotonic)  # type: ignore[arg-type,return-value]
    link.find()
    return link, client, clock


def test_a_hub_that_leaves_a_question_unanswered_is_left_alone_for_a_while() -> None:
    link, client, clock = linked()
    with pytest.raises(HubUnavailable):
        asyncio.run(link.ask("tasks.list"))
    assert client.asked == 1
    assert not link.connected
    with pytest.raises(HubUnavailable, match="did not answer"):
        asyncio.run(link.ask("tasks.list"))
    assert client.asked == 1
    clock.advance(hublink.FIRST_REST)
    with pytest.raises(HubUnavailable):
        asyncio.run(link.ask("tasks.list"))
    assert client.asked == 2
    # Twice as long now, and not for ever.
    clock.advance(hublink.FIRST_REST)
    assert not link.connected
    for _ in range(6):
        clock.advance(hublink.TRY_AGAIN)
        with pytest.raises(HubUnavailable):
            asyncio.run(link.ask("tasks.list"))
    clock.advance(hublink.TRY_AGAIN)
    client.answers["tasks.list"] = {"tasks": [], "next": None}
    assert asyncio.run(link.ask("tasks.list")) == {"tasks": [], "next": None}
    assert link.connected


def test_a_refusal_is_an_answer() -> None:
    link, client, _ = linked()
    client.answers["tasks.get"] = UsageError("no task '0'")
    with pytest.raises(UsageError):
        asyncio.run(link.ask("tasks.get"))
    assert link.connected


def test_a_link_that_is_down_is_not_waited_for() -> None:
    link, client, _ = linked()
    client.connected = False
    with pytest.raises(HubUnavailable, match="not running"):
        asyncio.run(link.ask("tasks.list"))
    assert client.asked == 0


def test_a_hub_that_cannot_be_found_is_looked_for_once_in_a_while() -> None:
    clock, looked = FakeClock(), []

    def connect() -> Any:
        looked.append(1)
        raise HubUnavailable("there is none")

    link = HubLink(connect, clock=clock.monotonic)
    for _ in range(5):
        with pytest.raises(HubUnavailable, match="there is none"):
            asyncio.run(link.ask("tasks.list"))
    assert len(looked) == 1
    clock.advance(hublink.TRY_AGAIN)
    with pytest.raises(HubUnavailable):
        asyncio.run(link.ask("tasks.list"))
    assert len(looked) == 2


def test_what_was_seen_last_is_shown_as_such() -> None:
    link, client, clock = linked()
    overview = Overview(link, clock=clock.monotonic, wall=lambda: 1000.0 + clock.monotonic())
    with pytest.raises(HubUnavailable):
        asyncio.run(overview.get("endpoints"))
    clock.advance(60.0)
    client.answers["endpoints.list"] = [{"name": "local"}]
    fresh = asyncio.run(overview.get("endpoints"))
    assert (fresh["stale"], fresh["endpoints"]) == (False, [{"name": "local"}])
    del client.answers["endpoints.list"]
    clock.advance(5.0)
    old = asyncio.run(overview.get("endpoints"))
    assert (old["stale"], old["endpoints"], old["at"]) == (True, [{"name": "local"}], fresh["at"])
    assert old["problem"]
