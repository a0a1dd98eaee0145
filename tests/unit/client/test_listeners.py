"""Who comes back to a task hears all of it once, and takes nothing away from who follows it already."""

from __future__ import annotations

import queue
import threading
from typing import Any

import pytest

from jupyter_fx.client import HubClient
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import Attach, Event, EventKind, Outcome, Watch
from jupyter_fx.testing.fake_hub import FakeHub
from jupyter_fx_worker import envelope


def square(x: int) -> int:
    return x * x


class Heard:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self._more: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def take(self, event: Event) -> None:
        self.events.append(event)
        self._more.put(event)

    def until(self, text: str) -> None:
        while self._more.get(timeout=5).data != text.encode():
            pass

    @property
    def text(self) -> str:
        return b"".join(event.data for event in self.events if event.kind == EventKind.STDOUT).decode()

    @property
    def numbers(self) -> list[int]:
        return [event.n for event in self.events]


def value(of: Any) -> bytes:
    return b"".join(envelope.dumps(of, "result"))


@pytest.fixture
def first() -> Heard:
    return Heard()


@pytest.fixture
def task(client: HubClient, hub: FakeHub, first: Heard) -> Any:
    hub.held = True
    future = client.submit_call(square, (3,), watch=Watch.ALL, on_event=first.take)
    client.drain(5)
    hub.tell(future.task_id, EventKind.STDOUT, b"one ")
    hub.tell(future.task_id, EventKind.STDOUT, b"two ")
    first.until("two ")
    return future


def test_both_hear_everything_once_and_both_complete(client: HubClient, hub: FakeHub, first: Heard, task: Any) -> None:
    second = Heard()
    again = client.attach(task.task_id, on_event=second.take)
    hub.tell(task.task_id, EventKind.STDOUT, b"three")
    second.until("three")
    hub.finish(Outcome(task.task_id, TaskState.SUCCEEDED, value(9)))
    assert (task.result(60), again.result(60)) == (9, 9)
    assert first.text == second.text == "one two three"
    assert second.numbers == sorted(set(second.numbers))


def test_what_happens_while_the_past_is_read_comes_after_it(client: HubClient, hub: FakeHub, task: Any) -> None:
    asked, answer = threading.Event(), threading.Event()
    past = [[e.n, e.kind, e.t, e.data] for e in hub.events[task.task_id]]

    async def slowly() -> dict[str, Any]:
        import asyncio

        asked.set()
        while not answer.is_set():
            await asyncio.sleep(0.01)
        return {"events": past, "next": None}

    hub.answers["tasks.events"] = lambda _args: slowly()
    second = Heard()
    again = client.attach(task.task_id, on_event=second.take)
    assert asked.wait(5)
    hub.tell(task.task_id, EventKind.STDOUT, b"three")
    hub.finish(Outcome(task.task_id, TaskState.SUCCEEDED, value(9)))
    assert task.result(60) == 9
    assert second.events == []
    assert not again.done()
    answer.set()
    assert again.result(60) == 9
    assert second.text == "one two three"


def test_what_the_hub_has_told_and_not_written_yet_is_asked_for_again(
    client: HubClient, hub: FakeHub, task: Any
) -> None:
    told = 0

    def late(args: dict[str, Any]) -> dict[str, Any]:
        nonlocal told
        told += 1
        if told == 1:
            hub._event(task.task_id, EventKind.STDOUT, b"three ")
            hub._event(task.task_id, EventKind.STDOUT, b"four")
            return {"events": [[0, int(EventKind.STDOUT), 0.0, b"one "]], "next": None}
        story = [e for e in hub.events[task.task_id] if e.n >= args["from"]]
        return {"events": [[e.n, e.kind, e.t, e.data] for e in story], "next": None}

    hub.answers["tasks.events"] = late
    second = Heard()
    client.attach(task.task_id, on_event=second.take)
    second.until("four")
    assert told >= 2
    assert second.text == "one two three four"


def test_it_begins_where_it_is_told_to(client: HubClient, hub: FakeHub, task: Any) -> None:
    second = Heard()
    client.attach(task.task_id, on_event=second.take, first=1)
    hub.tell(task.task_id, EventKind.STDOUT, b"three")
    second.until("three")
    assert second.text == "two three"


def test_after_a_cut_nothing_is_missed_and_nothing_comes_twice(
    client: HubClient, hub: FakeHub, first: Heard, task: Any
) -> None:
    second = Heard()
    again = client.attach(task.task_id, on_event=second.take)
    second.until("two ")
    hub.cut()
    hub.tell(task.task_id, EventKind.STDOUT, b"three")
    hub.finish(Outcome(task.task_id, TaskState.SUCCEEDED, value(9)))
    assert (task.result(60), again.result(60)) == (9, 9)
    assert first.text == second.text == "one two three"


def test_who_leaves_hears_no_more_and_still_completes(client: HubClient, hub: FakeHub, first: Heard, task: Any) -> None:
    second = Heard()
    again = client.attach(task.task_id, on_event=second.take)
    second.until("two ")
    again.leave()
    client.request("whoami")
    hub.tell(task.task_id, EventKind.STDOUT, b"three")
    first.until("three")
    hub.finish(Outcome(task.task_id, TaskState.SUCCEEDED, value(9)))
    assert again.result(60) == 9
    assert second.text == "one two "


def test_the_hub_is_asked_for_no_more_than_somebody_wants(client: HubClient, hub: FakeHub) -> None:
    hub.held = True
    plain = client.submit(square, 2)
    client.drain(5)
    heard = Heard()
    again = client.attach(plain.task_id, on_event=heard.take)
    again.leave()
    client.request("whoami")
    asked = [message.tasks[0][2] for message in hub.messages if isinstance(message, Attach)]
    assert asked == [Watch.ALL, Watch.OUTCOME]


def test_a_client_that_is_closed_says_so_to_all(client: HubClient, task: Any) -> None:
    again = client.attach(task.task_id)
    client.close(timeout=0.0)
    assert "the task goes on" in str(again.exception(5))
