"""The shell around the hub's state: what cannot be dealt with is never acknowledged."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import pytest

from jupyter_fx.errors import FxError, HubUnavailable
from jupyter_fx.protocol.messages import Results
from jupyter_fx.transport import SystemClock
from jupyter_fx_hub import service as shell
from jupyter_fx_hub.service import Service
from jupyter_fx_hub.state.io import Found, FromAgent, Need, Replay


class Port:
    """An agent's link."""

    def __init__(self) -> None:
        self.number, self.user, self.endpoint_id, self.waiting = 1, "ann", "e", 0
        self.busy = self.gone = self.broken = False
        self.backlog: deque[tuple[Any, int]] = deque()
        self.acked: list[int] = []
        self.why: FxError | None = None

    def send(self, message: Any) -> None:
        raise AssertionError(message)

    def acknowledge(self, number: int) -> None:
        self.acked.append(number)

    def hold(self, full: bool) -> None:
        pass

    def break_off(self, error: FxError) -> None:
        self.broken = self.gone = True
        self.backlog.clear()
        self.why = error


class Store:
    committed = 0
    failure = None


class State:
    """Says what it is told to, in turn; an exception is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.core = self
        self.endpoints = {"e": self}
        self.owner = "ann"

    def handle(self, _event: Any, _now: float) -> list[Any]:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return list(answer)

    def next_timer(self) -> None:
        return None


def served(*answers: Any) -> tuple[Service, Port]:
    service: Any = Service(SystemClock())
    service.store, service.state = Store(), State(*answers)
    port: Any = Port()
    service.agents["e"] = port
    return service, port


def test_after_a_message_that_could_not_be_dealt_with_nothing_is_acknowledged() -> None:
    async def story() -> None:
        service, port = served([], KeyError("a bug"), [])
        for number in (1, 2, 3):
            service.message(port, Results([]), number)
        assert port.acked == [1]
        assert port.broken
        assert "Results" in str(port.why)

    asyncio.run(story())


@pytest.mark.parametrize("stage", ["the look", "the message"])
def test_the_same_holds_when_the_store_is_asked_first(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def look_up(*_: Any) -> Found:
        if stage == "the look":
            raise OSError("the disk is gone")
        return Found([], [], [])

    monkeypatch.setattr(shell, "look_up", look_up)

    async def story() -> None:
        message = Results([])
        service, port = served([Need(["t"], [], FromAgent("e", message))], [], KeyError("a bug"), [], [])
        service.message(port, message, 1)
        service.message(port, Results([]), 2)
        assert port.busy
        await asyncio.gather(*service._work)
        assert port.acked == []
        assert port.broken
        assert not port.busy

    asyncio.run(story())


def test_an_agent_that_went_during_the_look_is_not_told_that_its_message_was_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def look_up(*_: Any) -> Found:
        return Found([], [], [])

    monkeypatch.setattr(shell, "look_up", look_up)

    async def story() -> None:
        message = Results([])
        service, port = served([Need(["t"], [], FromAgent("e", message))], [])
        service.message(port, message, 1)
        port.gone = True
        await asyncio.gather(*service._work)
        assert port.acked == []

    asyncio.run(story())


@pytest.mark.parametrize("watch", [0, 2])
def test_a_story_that_cannot_be_read_ends_the_link_so_that_it_is_asked_for_again(watch: int) -> None:
    async def read(*_: Any) -> Any:
        raise HubUnavailable("the store is damaged")

    async def story() -> None:
        service, port = served()
        service.store.read = read  # type: ignore[method-assign]
        begun: list[str] = []
        port.begin_replay = lambda task: not begun.append(task)  # type: ignore[attr-defined, func-returns-value]
        service.clients[1] = port  # type: ignore[assignment]
        service._replay(Replay(1, "ann", "t" * 32, 0, -1, watch))
        while service._work:
            await asyncio.sleep(0)
        assert begun
        assert port.broken
        assert "cannot read what task tttttttt told: the store is damaged" in str(port.why)
        assert not isinstance(port.why, HubUnavailable)

    asyncio.run(story())
