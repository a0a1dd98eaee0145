"""Peer and Served over a channel in memory: flushing, acks, requests, and coming back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from jupyter_fx.errors import AuthError, HubUnavailable, InfrastructureError, UsageError
from jupyter_fx.protocol.codec import decode_frame, encode_frame, encode_message
from jupyter_fx.protocol.messages import BlobData, Detach, Hello, Ping, Pong, Reply, Request, Welcome
from jupyter_fx.testing import FakeClock
from jupyter_fx.transport import Channel, Peer, Served
from jupyter_fx.transport import shell as shell_module

HELLO = Hello(1, 1, "client", "0" * 32)
WELCOME = Welcome(1, 1, "tester", 0)


class FakeChannel(Channel):
    """Notes what is written; `say` plays the other side."""

    def __init__(self) -> None:
        super().__init__("nowhere")
        self.writes: list[list[bytes]] = []
        self.closed = self.reading = False

    def start(self) -> None:
        self.reading = True

    def write(self, frames: Sequence[bytes]) -> None:
        self.writes.append(list(frames))

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def say(self, *messages: object, first: int = 0, ack: int = 0) -> None:
        self.on_frame(encode_frame(first, ack, [encode_message(message) for message in messages]))

    @property
    def heard(self) -> list[Any]:
        return [message for frames in self.writes for frame in frames for message in decode_frame(frame).messages]


class Pauses(random.Random):
    """Notes the longest pause that each try could have had, and takes none."""

    def __init__(self) -> None:
        super().__init__()
        self.most: list[float] = []

    def uniform(self, a: float, b: float) -> float:
        self.most.append(b)
        return a


class Line:
    """A peer whose connections are fake."""

    def __init__(self, failures: Sequence[Exception] = (), address: str = "fake:", **options: Any) -> None:
        self.channels: list[FakeChannel] = []
        self.failures = list(failures)
        self.clock = FakeClock()
        self.pauses = Pauses()
        self.told: list[object] = []
        self.peer = Peer(
            address,
            HELLO,
            on_message=lambda message, number: self.told.append((message, number)),
            on_open=lambda _: self.told.append("open"),
            on_lost=lambda error: self.told.append(("lost", error.message)),
            on_acked=lambda number: self.told.append(("acked", number)),
            on_refused=lambda error: self.told.append(("refused", error.message)),
            clock=self.clock,
            connector=self.connect,
            rng=self.pauses,
            **options,
        ).start()

    async def connect(self) -> Channel:
        if self.failures:
            raise self.failures.pop(0)
        self.channels.append(FakeChannel())
        return self.channels[-1]

    @property
    def channel(self) -> FakeChannel:
        return self.channels[-1]

    async def open(self) -> FakeChannel:
        await settle()
        self.channel.say(WELCOME)
        self.channel.writes.clear()
        return self.channel


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await story()

    asyncio.run(limited())


def test_what_is_sent_in_one_turn_of_the_loop_leaves_in_one_frame() -> None:
    async def story() -> None:
        line = Line()
        channel = await line.open()
        for n in range(500):
            line.peer.send(Detach([str(n)]))
        await settle()
        assert len(channel.writes) == 1
        assert len(channel.writes[0]) == 1
        line.peer.close()

    run(story)


def test_a_storm_of_flushes_is_held_back_to_the_end_of_its_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell_module, "FLUSH_WINDOW", 0.2)

    async def story() -> None:
        line = Line()
        channel = await line.open()
        for n in range(100):
            line.peer.send(Detach([str(n)]))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert len(channel.writes) <= shell_module.FLUSHES_PER_WINDOW
        line.peer.flush()
        assert channel.heard == [Detach([str(n)]) for n in range(100)]
        line.peer.close()

    run(story)


def test_nothing_is_written_while_the_channel_is_full_and_all_of_it_after() -> None:
    async def story() -> None:
        line = Line()
        channel = await line.open()
        channel.paused = True
        assert line.peer.congested
        line.peer.send(Detach(["a"]))
        waiting = asyncio.ensure_future(line.peer.wait_uncongested())
        await settle()
        assert channel.writes == []
        assert not waiting.done()
        channel.paused = False
        channel.on_writable()
        await waiting
        assert channel.heard == [Detach(["a"])]
        line.peer.close()

    run(story)


def test_a_sender_that_minds_congestion_lets_the_loop_write_what_it_piles_up() -> None:
    async def story() -> None:
        line = Line()
        channel = await line.open()
        most = 0
        for _ in range(40):
            line.peer.send(BlobData("d", 0, 1, bytes(500_000)))
            most = max(most, line.peer.link.pending_bytes)
            await line.peer.wait_uncongested()
        assert most < 5_000_000
        await settle()
        assert len(channel.heard) == 40
        line.peer.close()

    run(story)


def test_unacked_bytes_hold_the_sender_back_until_the_ack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell_module, "UNACKED_MAX", 10)

    async def story() -> None:
        line = Line()
        channel = await line.open()
        line.peer.send(Detach(["a" * 20]), keep=True)
        waiting = asyncio.ensure_future(line.peer.wait_uncongested())
        await settle()
        assert not waiting.done()
        channel.say(ack=1)
        await waiting
        line.peer.send(Detach(["a" * 20]), keep=True)
        waiting = asyncio.ensure_future(line.peer.wait_uncongested())
        await settle()
        line.peer.close()
        with pytest.raises(HubUnavailable):
            await waiting

    run(story)


def test_an_ack_waits_a_little_for_something_to_travel_with() -> None:
    async def story() -> None:
        line = Line(ack_delay=0.02)
        channel = await line.open()
        channel.say(Detach(["a"]), first=1)
        line.peer.acknowledge(1)
        await settle()
        assert channel.writes == []
        line.peer.send(Detach(["b"]))
        await settle()
        assert [decode_frame(frame).ack for frames in channel.writes for frame in frames] == [1]
        channel.say(Detach(["c"]), first=2)
        line.peer.acknowledge(2)
        while len(channel.writes) < 2:
            await asyncio.sleep(0)
        assert decode_frame(channel.writes[-1][0]) == (0, 2, [])
        line.peer.close()

    run(story)


def test_requests_wait_for_the_link_and_fail_with_it() -> None:
    async def story() -> None:
        line = Line()
        early = line.peer.request("whoami")
        channel = await line.open()
        await settle()
        assert channel.heard == [Request(1, "whoami")]
        channel.say(Reply(1, {"user": "ada"}), Reply(99, 1))
        assert await early == {"user": "ada"}
        lost = line.peer.request("tasks.list")
        late = line.peer.request("tasks.list", timeout=0.001)
        with pytest.raises(HubUnavailable, match=r"tasks\.list: no answer"):
            await late
        channel.on_closed(None)
        with pytest.raises(HubUnavailable, match="before the answer"):
            await lost
        never = line.peer.request("whoami")
        line.peer.close()
        with pytest.raises(HubUnavailable):
            await never

    run(story)


def test_requests_of_the_other_side_are_answered_whatever_the_handler_does() -> None:
    async def later(request: Request) -> object:
        await asyncio.sleep(0)
        if request.op == "late":
            raise UsageError("too late")
        return request.args

    def answer(request: Request) -> object:
        if request.op == "bug":
            raise RuntimeError("secret detail")
        if request.op == "huge":
            return bytes(2_000_000)
        return later(request)

    async def story() -> None:
        line = Line(on_request=answer)
        channel = await line.open()
        channel.say(*(Request(n, op, {"n": n}) for n, op in enumerate(["now", "late", "bug", "huge"])))
        await settle()
        replies = {reply.n: reply for reply in channel.heard}
        assert replies[0].value == {"n": 0}
        assert replies[1].error.message == "too late"
        assert "RuntimeError" in replies[2].error.message
        assert "secret" not in replies[2].error.message
        assert replies[3].error.etype == "LocalProtocolError"
        line.peer.close()

    run(story)


def test_too_many_requests_at_once_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell_module, "REQUESTS_MAX", 2)

    async def story() -> None:
        gate = asyncio.Event()

        async def wait(_: Request) -> int:
            await gate.wait()
            return 1

        line = Line(on_request=wait)
        channel = await line.open()
        channel.say(*(Request(n, "op") for n in range(3)))
        gate.set()
        await settle()
        replies = {reply.n: reply for reply in channel.heard}
        assert [replies[n].value for n in range(3)] == [1, 1, None]
        assert replies[2].error.etype == "QuotaExceeded"
        line.peer.close()

    run(story)


def test_the_token_is_asked_for_at_each_connect() -> None:
    async def story() -> None:
        tokens = iter(["first", "second"])
        line = Line(token=lambda: next(tokens))
        await settle()
        (first,) = line.channel.heard
        await line.open()
        line.clock.advance(60)
        line.channel.on_closed(None)
        await settle()
        (second,) = line.channel.heard
        assert [first.token, second.token] == ["first", "second"]
        line.peer.close()

    run(story)


def test_coming_back_is_tried_at_once_then_with_growing_jitter() -> None:
    async def story() -> None:
        line = Line([OSError("no route")] * 9)
        channel = await line.open()
        assert line.pauses.most == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
        line.clock.advance(60)
        channel.on_closed(None)
        await settle()
        assert len(line.channels) == 2
        assert len(line.pauses.most) == 9
        line.peer.close()

    run(story)


def test_a_hub_on_this_machine_is_asked_again_every_two_seconds() -> None:
    async def story() -> None:
        line = Line([OSError("no such file")] * 5, address="unix:/run/hub.sock")
        await line.open()
        assert line.pauses.most == [0.5, 1.0, 2.0, 2.0, 2.0]
        line.peer.close()

    run(story)


def test_a_link_that_breaks_as_soon_as_it_opens_is_not_made_again_in_a_hurry() -> None:
    async def story() -> None:
        line = Line()
        for _ in range(4):
            (await line.open()).on_closed(None)
        await settle()
        assert line.pauses.most == [0.5, 1.0, 2.0, 4.0]
        line.peer.close()

    run(story)


def test_kept_messages_go_again_after_what_was_acked_and_before_what_on_open_sends() -> None:
    async def story() -> None:
        line = Line()
        channel = await line.open()
        for n in range(3):
            line.peer.send(Detach([str(n)]), keep=True)
        await settle()
        channel.say(ack=1)
        channel.on_closed(OSError("reset"))

        def say_open(_: Welcome) -> None:
            line.peer.send(Detach(["open"]))

        line.peer._on_open = say_open
        line.peer.send(Detach(["3"]), keep=True)
        channel = await line.open()
        await settle()
        assert [message.tasks[0] for message in channel.heard] == ["1", "2", "3", "open"]
        assert [first for frames in channel.writes for first, _, _ in map(decode_frame, frames)] == [2, 0]
        line.peer.close()

    run(story)


@pytest.mark.parametrize("error", [AuthError("no"), UsageError("no")])
def test_errors_that_time_does_not_mend_end_the_peer(error: Exception) -> None:
    async def story() -> None:
        line = Line([error])
        with pytest.raises(type(error)):
            await line.peer.opened(1)
        assert line.told == [("refused", "no")]
        with pytest.raises(type(error)):
            await line.peer.opened()

    run(story)


def test_waiting_for_a_link_that_does_not_open_tells_the_last_error() -> None:
    async def story() -> None:
        line = Line([HubUnavailable("nobody serves it")] + [OSError("no route")] * 10_000)
        with pytest.raises(HubUnavailable, match="cannot be reached: no route"):
            await line.peer.opened(0.02)
        line.peer.close()

    run(story)


def test_a_callback_that_fails_does_not_end_the_link() -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug of the owner")

    async def story() -> None:
        line = Line()
        line.peer._on_message = fail
        line.peer._on_open = fail
        channel = await line.open()
        channel.say(Detach(["a"]), Ping(7))
        await settle()
        assert channel.heard == [Pong(7)]
        line.peer.close()

    run(story)


def serve(**options: Any) -> tuple[FakeChannel, Served, list[object]]:
    channel, told = FakeChannel(), list[object]()
    served = Served(
        channel,
        on_message=lambda message, number: told.append((message, number)),
        on_closed=told.append,
        on_open=lambda _: told.append("open"),
        **options,
    )
    return channel, served, told


def test_a_hello_may_be_answered_later() -> None:
    async def decide(hello: Hello, _: Served) -> Welcome:
        await asyncio.sleep(0)
        return Welcome(1, 1, hello.role, 0)

    async def story() -> None:
        channel, served, told = serve(on_hello=decide)
        channel.say(HELLO)
        assert not served.is_open
        await settle()
        assert [message.user for message in channel.heard] == ["client"]
        channel.say(Detach(["a"]), first=1)
        assert told == ["open", (Detach(["a"]), 1)]
        served.close()
        assert channel.closed
        assert served.send(Detach(["a"])) == 0

    run(story)


@pytest.mark.parametrize(
    ("error", "etype", "retry"),
    [
        (AuthError("no"), "AuthError", False),
        (HubUnavailable("starting", retry=True), "HubUnavailable", True),
        (RuntimeError("a bug"), "InfrastructureError", True),
    ],
)
def test_a_hello_that_is_not_answered_is_told_why(error: Exception, etype: str, retry: bool) -> None:
    def refuse(_: Hello, __: Served) -> Welcome:
        raise error

    async def story() -> None:
        channel, _, told = serve(on_hello=refuse)
        channel.say(HELLO)
        (goodbye,) = channel.heard
        assert (goodbye.error.etype, goodbye.retry) == (etype, retry)
        assert channel.closed
        assert len(told) == 1

    run(story)


def test_an_end_that_closes_itself_in_a_callback_hears_no_more() -> None:
    async def story() -> None:
        channel, served, told = serve(on_hello=lambda *_: WELCOME)
        channel.say(HELLO)
        heard: list[object] = []

        def close(message: object, _: int) -> None:
            heard.append(message)
            served.close(InfrastructureError("enough"))

        served._on_message = close
        channel.say(Detach(["a"]), Detach(["b"]))
        assert heard == [Detach(["a"])]
        assert told == ["open"]

    run(story)
