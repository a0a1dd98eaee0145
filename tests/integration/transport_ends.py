"""Two ends of a link, for tests of what lies between them."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from jupyter_fx.errors import AuthError, FxError, UsageError
from jupyter_fx.protocol.limits import FRAME_MAX
from jupyter_fx.protocol.messages import Detach, Hello, Request, Submit, TaskSpec, Welcome
from jupyter_fx.transport import Channel, Peer, Served

HELLO = Hello(1, 1, "client", "0" * 32)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await test()

    asyncio.run(limited())


async def until(true: Callable[[], object]) -> None:
    """Wait for what no callback tells."""
    while not true():
        await asyncio.sleep(0.005)


def names(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


def remove(path: Path) -> None:
    path.unlink()


def make_file(path: Path) -> None:
    path.touch()


def make_mode(path: Path, mode: int) -> None:
    path.chmod(mode)


class NoPause(random.Random):
    """Reconnects come at once."""

    def uniform(self, a: float, b: float) -> float:
        return 0.01


class Hub:
    """Answers every connection: keeps what is kept, echoes what is passing."""

    def __init__(self, ack: bool = True, **options: Any) -> None:
        self.ack = ack
        self.options = options
        self.kept: list[tuple[int, Any]] = []
        self.served: list[Served] = []
        self.closed: list[FxError | None] = []

    def on_channel(self, channel: Channel) -> None:
        def on_message(message: Any, number: int) -> None:
            if not number:
                served.send(message)
                return
            self.kept.append((number, message))
            if self.ack:
                served.acknowledge(number)

        served = Served(
            channel,
            on_hello=self.welcome,
            on_message=on_message,
            on_request=self.answer,
            on_closed=self.closed.append,
            **self.options,
        )
        self.served.append(served)

    def welcome(self, hello: Hello, served: Served) -> Welcome:
        if hello.token == "wrong":
            raise AuthError("this token is not known")
        return Welcome(1, 1, str(served.peer.get("user", served.peer.get("uid", ""))), 0)

    async def answer(self, request: Request) -> Any:
        if request.op == "fail":
            raise UsageError("no endpoint 'polari'")
        await asyncio.sleep(0)
        return {"op": request.op, **request.args}

    def end(self) -> None:
        for served in self.served:
            served.close()


class Client:
    def __init__(self, address: str, hello: Hello = HELLO, **options: Any) -> None:
        self.got: asyncio.Queue[Any] = asyncio.Queue()
        self.acked = asyncio.Event()
        self.opens = 0
        self.wanted = 0
        self.refused: list[FxError] = []
        self.lost: list[FxError] = []
        self.peer = Peer(
            address,
            hello,
            on_message=lambda message, _: self.got.put_nowait(message),
            on_acked=self.note,
            on_open=self.opened,
            on_lost=self.lost.append,
            on_refused=self.refused.append,
            rng=NoPause(),
            **options,
        ).start()

    def opened(self, _: Welcome) -> None:
        self.opens += 1

    def note(self, number: int) -> None:
        if number >= self.wanted:
            self.acked.set()

    async def all_acked(self) -> None:
        self.wanted = self.peer.link._last
        self.acked.clear()
        if self.peer.link.unacked_count:
            await self.acked.wait()


async def converse(client: Client) -> None:
    """A little of everything: echo, requests, a burst of kept messages, one nearly as large as a frame."""
    await client.peer.opened(10)
    client.peer.send(Detach(["a"]))
    assert await client.got.get() == Detach(["a"])
    assert await client.peer.request("whoami", {"x": 1}) == {"op": "whoami", "x": 1}
    with pytest.raises(UsageError, match="polari"):
        await client.peer.request("fail")
    for n in range(3000):
        client.peer.send(Detach([str(n)]), keep=True)
    large = Submit([TaskSpec("t", 0, "f", os.urandom(FRAME_MAX - 200))])
    client.peer.send(large)
    client.peer.send(large, keep=True)
    await client.all_acked()
    assert client.peer.link.unacked_bytes == 0
    assert await client.got.get() == large
