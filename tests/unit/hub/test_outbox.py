"""What a client is sent, and in which order, when it reads slowly or asks for the past."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jupyter_fx.errors import PayloadError
from jupyter_fx.protocol.codec import encode_message
from jupyter_fx.protocol.messages import Event, EventKind, Events, Outcome, Outcomes
from jupyter_fx_hub import outbox
from jupyter_fx_hub.outbox import PARKED_MAX, Outbox


class SlowReader:
    """A Served whose other side reads when the test says so."""

    def __init__(self) -> None:
        self.congested = False
        self.reads = asyncio.Event()
        self.got: list[Any] = []

    def send(self, message: Any) -> int:
        encode_message(message)  # raises where it is over the limit of a frame
        self.got += message.events if isinstance(message, Events) else message.outcomes
        return 0

    async def wait_uncongested(self) -> None:
        if self.congested:
            await self.reads.wait()


def never() -> None:
    raise AssertionError("the link was ended")


def figure(n: int, size: int, task: str = "t") -> Event:
    return Event(task, n, EventKind.DISPLAY, 0.0, {"kind": "part", "bytes": b"x" * size})


def text(n: int, size: int = 10, task: str = "t") -> Event:
    return Event(task, n, EventKind.STDOUT, 0.0, b"x" * (size - 1) + b"\n")


def test_a_replay_comes_before_what_happens_meanwhile_and_the_outcome_last() -> None:
    async def story() -> None:
        reader = SlowReader()
        box = Outbox(reader, never)  # type: ignore[arg-type]
        assert box.begin_replay("t")
        assert not box.begin_replay("t")
        box.send(Events([text(2), text(3), text(7, task="other")]))
        box.send(Outcomes([Outcome("t", 10)]))
        assert [e.task_id for e in reader.got] == ["other"]
        box.end_replay("t", [text(0), text(1), text(2)], None)
        assert [getattr(e, "n", "end") for e in reader.got] == [7, 0, 1, 2, 3, "end"]

    asyncio.run(story())


def test_a_slow_reader_loses_the_oldest_text_and_is_told_how_much_but_no_outcome() -> None:
    async def story() -> None:
        reader = SlowReader()
        box = Outbox(reader, never)  # type: ignore[arg-type]
        reader.congested = True
        piece = 64 * 1024
        count = PARKED_MAX // piece + 20
        for n in range(count):
            box.send(Events([text(n, piece)]))
        box.send(Outcomes([Outcome("t", 10, b"r")]))
        assert not reader.got
        reader.congested = False
        reader.reads.set()
        while not reader.got or not isinstance(reader.got[-1], Outcome):
            await asyncio.sleep(0)
        notes = [e for e in reader.got[:-1] if e.kind == EventKind.NOTE]
        kept = [e for e in reader.got[:-1] if e.kind == EventKind.STDOUT]
        assert len(notes) == 1
        assert notes[0].data == f"[{box.lines_dropped} lines dropped]"
        assert box.lines_dropped + len(kept) == count
        assert kept[-1].n == count - 1
        numbers = [e.n for e in reader.got[:-1]]
        assert numbers == sorted(numbers)
        assert not box._waiting
        box.close()

    asyncio.run(story())


@pytest.mark.parametrize("replaying", [False, True])
def test_a_reader_that_never_reads_figures_holds_no_more_than_it_may_and_is_sent_away(
    monkeypatch: pytest.MonkeyPatch, replaying: bool
) -> None:
    monkeypatch.setattr(outbox, "WAITING_MAX", 1 << 20)

    async def story() -> None:
        reader = SlowReader()
        away: list[bool] = []
        box = Outbox(reader, lambda: away.append(True))  # type: ignore[arg-type]
        reader.congested = True
        if replaying:
            assert box.begin_replay("t")
        for n in range(15):
            box.send(Events([figure(n, 64 * 1024)]))
        await asyncio.sleep(0)
        assert not away
        for n in range(15, 100):
            box.send(Events([figure(n, 64 * 1024)]))
        # Not while somebody is sending.
        assert not away
        await asyncio.sleep(0)
        assert away == [True]
        held = [*box._parked, *box._replaying.get("t", [])]
        assert len(held) == 16, "what came after that was kept, too"
        box.close()

    asyncio.run(story())


def test_who_reads_late_is_counted_no_more_for_what_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "WAITING_MAX", 1 << 20)

    async def story() -> None:
        reader = SlowReader()
        box = Outbox(reader, never)  # type: ignore[arg-type]
        for turn in range(10):
            reader.congested = True
            reader.reads.clear()
            assert box.begin_replay("u")
            for n in range(6):
                box.send(Events([figure(6 * turn + n, 64 * 1024), text(n, 1000), figure(n, 64 * 1024, "u")]))
            box.end_replay("u", [], None)
            box.send(Outcomes([Outcome("t", 10, b"r")]))
            reader.congested = False
            reader.reads.set()
            await box.caught_up()
            assert not box._waiting
        assert len(reader.got) == 10 * 19

    asyncio.run(story())


def test_a_story_that_is_replayed_waits_for_its_reader() -> None:
    async def story() -> None:
        reader = SlowReader()
        box = Outbox(reader, never)  # type: ignore[arg-type]
        await box.caught_up()
        reader.congested = True
        box.events([figure(0, 1000)])
        waiting = asyncio.ensure_future(box.caught_up())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not waiting.done()
        reader.congested = False
        reader.reads.set()
        await asyncio.wait_for(waiting, 60)
        assert reader.got == [figure(0, 1000)]
        # Nobody waits for one that is gone.
        reader.congested = True
        reader.reads.clear()
        box.events([figure(1, 1000)])
        waiting = asyncio.ensure_future(box.caught_up())
        await asyncio.sleep(0)
        box.close()
        await asyncio.wait_for(waiting, 60)

    asyncio.run(story())


def test_a_story_that_is_replayed_does_not_wait_for_what_others_go_on_to_tell() -> None:
    async def story() -> None:
        reader = SlowReader()
        box = Outbox(reader, never)  # type: ignore[arg-type]
        reader.congested = True
        box.events([figure(0, 1000)])
        waiting = asyncio.ensure_future(box.caught_up())
        await asyncio.sleep(0)
        # It reads, but others tell more than it reads: something waits at all times.
        for turn in range(20):
            reader.congested = True
            box.send(Events([text(100 * turn + n, 64 * 1024, "other") for n in range(60)]))
            reader.congested = False
            reader.reads.set()
            await asyncio.sleep(0)
            assert box._parked
        assert waiting.done()
        assert figure(0, 1000) in reader.got
        box.close()

    asyncio.run(story())


def test_a_story_that_is_replayed_does_not_wait_for_what_can_never_be_sent() -> None:
    async def story() -> None:
        reader = SlowReader()
        ended = 0

        def refuses(message: Any) -> int:
            raise PayloadError("over the limit")

        def abort() -> None:
            nonlocal ended
            ended += 1

        reader.send, reader.abort = refuses, abort  # type: ignore[method-assign, attr-defined]
        box = Outbox(reader, never)  # type: ignore[arg-type]
        reader.congested = True
        # More than goes at once: who waits stands behind what is tried first.
        box.events([figure(n, 192 * 1024) for n in range(20)])
        waiting = asyncio.ensure_future(box.caught_up())
        await asyncio.sleep(0)
        reader.congested = False
        reader.reads.set()
        await asyncio.wait_for(waiting, 60)
        assert ended == 1
        box.close()

    asyncio.run(story())


def test_parts_of_displays_and_results_of_maps_that_waited_go_in_messages_that_fit_a_frame() -> None:
    async def story() -> None:
        reader = SlowReader()
        box = Outbox(reader, never)  # type: ignore[arg-type]
        reader.congested = True
        parts = [Event("t", n, EventKind.DISPLAY, 0.0, {"kind": "part", "bytes": b"x" * 192 * 1024}) for n in range(30)]
        items = [Event("t", n, EventKind.ITEMS, 0.0, {"first": n, "payload": b"x" * 256 * 1024}) for n in range(30, 60)]
        for event in [*parts, *items]:
            box.send(Events([event]))
        box.send(Outcomes([Outcome("t", 10, b"r")]))
        reader.congested = False
        reader.reads.set()
        async with asyncio.timeout(30):
            while not reader.got or not isinstance(reader.got[-1], Outcome):
                await asyncio.sleep(0)
        assert [event.n for event in reader.got[:-1]] == list(range(60))
        box.close()

    asyncio.run(story())
