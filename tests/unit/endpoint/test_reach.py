"""Several addresses of one host: the first that answers, whatever the others do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jupyter_fx.endpoint.reach import reach
from jupyter_fx.errors import AuthError, FxError, HubUnavailable


class Channel:
    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


def reached(answers: dict[str, Any]) -> tuple[Any, list[str]]:
    """What comes of it when each address answers so: a channel, an error, or None for silence."""
    asked: list[str] = []

    async def connect(address: str) -> Any:
        asked.append(address)
        answer = answers[address]
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, FxError):
            raise answer
        return answer

    return asyncio.run(asyncio.wait_for(reach(list(answers), connect, stagger=0.001), 10)), asked


def test_a_silent_address_does_not_hold_up_the_next() -> None:
    channel = Channel()
    assert reached({"a": None, "b": None, "c": channel}) == (("c", channel), ["a", "b", "c"])


def test_the_first_that_answers_is_taken_and_the_rest_not_tried() -> None:
    channel = Channel()
    assert reached({"a": HubUnavailable("no"), "b": channel, "c": Channel()}) == (("b", channel), ["a", "b"])


def test_when_none_answers_the_error_is_the_last_ones() -> None:
    with pytest.raises(AuthError, match="another key"):
        reached({"a": HubUnavailable("no"), "b": AuthError("another key")})
    with pytest.raises(HubUnavailable, match="no address"):
        reached({})


def test_one_that_comes_too_late_is_closed() -> None:
    late = Channel()

    async def story() -> None:
        async def connect(address: str) -> Channel:
            if address == "quick":
                return Channel()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return late
            raise AssertionError

        assert (await reach(["slow", "quick"], connect, stagger=0.001))[0] == "quick"
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(story())
    assert late.closed
