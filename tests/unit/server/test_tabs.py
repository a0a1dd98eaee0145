"""What a tab is sent: every event once and in order, and no more text than it can take."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import Event, EventKind
from jupyter_fx.server.tabs import TEXT_MAX, Sub, Tab

TASK = "a" * 32


def text(n: int, said: str | bytes = "x") -> Event:
    return Event(TASK, n, EventKind.STDOUT, 1.0, said.encode() if isinstance(said, str) else said)


def numbers(sub: Sub) -> list[int]:
    return [row[0] for row in sub.take()[0]]


def test_live_events_wait_until_what_was_before_is_read() -> None:
    sub = Sub(0, output=True)
    assert sub.filling
    assert not sub.live(text(5))
    for n in range(5):
        sub.past(text(n), n)
    assert not sub.behind
    sub.filled()
    assert numbers(sub) == [0, 1, 2, 3, 4, 5]
    assert sub.live(text(6))


def test_what_was_read_and_comes_live_too_is_told_once() -> None:
    sub = Sub(0, output=True)
    for n in (2, 3):
        sub.live(text(n))
    for n in range(3):
        sub.past(text(n), n)
    sub.filled()
    assert not sub.live(text(3))
    assert numbers(sub) == [0, 1, 2, 3]


def test_a_gap_is_noticed_and_read_again() -> None:
    sub = Sub(0, output=True)
    sub.filled()
    assert sub.live(text(0))
    assert not sub.live(text(4))
    assert sub.filling
    assert sub.behind
    for n in (1, 2, 3):
        sub.past(text(n), n)
    assert not sub.behind
    sub.filled()
    assert numbers(sub) == [0, 1, 2, 3, 4]


def test_a_note_stands_for_all_that_was_dropped_at_the_hub() -> None:
    sub = Sub(0, output=True)
    sub.live(text(9))
    sub.past(text(0), 0)
    sub.past(Event(TASK, 1, EventKind.NOTE, 1.0, {"lines": 7, "through": 8}), 8)
    assert not sub.behind
    sub.filled()
    assert numbers(sub) == [0, 1, 9]


def test_states_alone_are_told_by_name() -> None:
    sub = Sub(0, output=False)
    assert not sub.live(text(0))
    assert sub.live(Event(TASK, 3, EventKind.STATE, 2.0, {"state": int(TaskState.RUNNING), "endpoint": "e"}))
    assert sub.take()[0] == [(3, "state", 2.0, {"state": "running", "endpoint": "e"})]


def test_a_letter_cut_in_two_is_put_together() -> None:
    sub = Sub(0, output=True)
    sub.filled()
    first, second = "ä".encode()[:1], "ä".encode()[1:]
    sub.live(text(0, first))
    sub.live(text(1, second))
    assert "".join(row[3] for row in sub.take()[0]) == "ä"


def test_displays_are_told_of_but_not_sent() -> None:
    sub = Sub(0, output=True)
    sub.filled()
    sub.live(Event(TASK, 0, EventKind.DISPLAY, 1.0, {"content": {"data": {"text/html": "<b>big</b>"}}}))
    assert sub.take()[0] == [(0, "display", 1.0, None)]


def test_a_tab_that_does_not_read_costs_bounded_memory_and_loses_no_state() -> None:
    sub = Sub(0, output=True)
    sub.filled()
    piece = "y" * 65_535 + "\n"
    for n in range(100):
        sub.live(text(n, piece))
    assert not sub.room.is_set()
    sub.live(Event(TASK, 100, EventKind.STATE, 1.0, {"state": int(TaskState.SUCCEEDED)}))
    rows: list[Any] = []
    dropped = 0
    while sub.waiting:
        some, gone = sub.take()
        rows, dropped = rows + some, dropped + gone
    kept = sum(len(row[3]) for row in rows if row[1] == "stdout")
    assert kept <= TEXT_MAX
    assert dropped == 100 - kept // len(piece)
    assert rows[-1][1] == "state"
    assert sub.room.is_set()


async def frames_of(fill: Any) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def send(frame: str) -> None:
        sent.append(json.loads(frame))

    tab = Tab(send)
    fill(tab)
    for _ in range(20):
        await asyncio.sleep(0)
    tab.close()
    return sent


def test_the_end_of_a_task_comes_after_its_last_event() -> None:
    def fill(tab: Tab) -> None:
        sub = tab.subs[TASK] = Sub(0, output=True)
        sub.filled()
        tab.end(TASK, {"type": "info", "task_id": TASK})
        sub.live(text(0))
        tab.say("status", {"type": "status", "n": 1})
        tab.say("status", {"type": "status", "n": 2})

    sent = asyncio.run(frames_of(fill))
    assert [frame["type"] for frame in sent] == ["status", "events", "info"]
    assert sent[0]["n"] == 2
