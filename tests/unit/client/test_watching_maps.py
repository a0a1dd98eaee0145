"""What somebody beside a map or a wait sees of it: counts without iterating, failures with their inputs, its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from jupyter_fx.client import Executor, HubClient, MapResult, as_completed, remote, wait, watchers
from jupyter_fx.client.given import call_of
from jupyter_fx.client.tally import Tally
from jupyter_fx.client.watchers import MISSING, Counts
from jupyter_fx.ids import short_id
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import ErrorInfo, Outcome


class Seen:
    """Notes what it is called with."""

    def __init__(self) -> None:
        self.of: list[Any] = []
        self.ends = 0

    def __call__(self, what: Any) -> Seen:
        self.of.append(what)
        return self

    def ended(self) -> None:
        self.ends += 1


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    seen = Seen()
    monkeypatch.setattr(watchers, "on_map", seen)
    monkeypatch.setattr(watchers, "on_wait", seen)
    return seen


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def odd_fails(x: int) -> int:
    if x % 2:
        raise ValueError(f"odd {x}")
    return x


def test_a_map_is_counted_although_nobody_iterates(client: HubClient, seen: Seen) -> None:
    result = remote(odd_fails, client=client).map(range(100), chunksize=10)
    assert seen.of == [result]
    until(lambda: result.done)
    assert result.counts() == Counts(100, 100, 0, 50, 0)
    assert result.progress.done == 0
    failures = result.failures(3)
    assert [(failure.index, failure.item, str(failure.error)) for failure in failures] == [
        (1, 1, "odd 1"),
        (3, 3, "odd 3"),
        (5, 5, "odd 5"),
    ]
    assert seen.ends == 0
    assert len(list(result.results(errors=True))) == 100
    assert seen.ends == 1
    assert result.counts() == Counts(100, 100, 0, 50, 0)


def test_inputs_of_iterators_are_kept_as_long_as_they_may_be_told(client: HubClient, seen: Seen) -> None:
    result = remote(odd_fails, client=client).map((x for x in [2, 4, 5, 6, 7, 8]), chunksize=2)
    until(lambda: result.done)
    assert [failure.item for failure in result.failures()] == [5, 7]
    assert set(result._tally._kept or ()) == {2, 4}


def test_without_a_watcher_nothing_is_kept(client: HubClient) -> None:
    result = remote(odd_fails, client=client).map((x for x in [1, 2]), chunksize=1)
    until(lambda: result.done)
    assert [failure.item for failure in result.failures()] == [MISSING]
    assert "iterator" in repr(MISSING)


def test_several_arguments_are_told_together(client: HubClient, seen: Seen) -> None:
    result = remote(lambda x, y: x // y, client=client).map([1, 2], [1, 0])
    until(lambda: result.done)
    [failure] = result.failures()
    assert (failure.index, failure.item) == (1, (2, 0))


def test_no_card_when_it_is_not_wanted(client: HubClient, seen: Seen) -> None:
    function = remote(odd_fails, client=client)
    assert list(function.map([2, 4], card=False)) == [2, 4]
    done = function.submit(2)
    wait([done], card=False)
    assert list(as_completed([done], card=False)) == [done]
    assert seen.of == []


def test_who_waits_is_watched_to_the_end(client: HubClient, seen: Seen) -> None:
    jobs = [remote(odd_fails, client=client).submit(x) for x in range(3)]
    assert not wait(jobs, 10).not_done
    assert (seen.of, seen.ends) == ([jobs], 1)
    assert set(as_completed(jobs)) == set(jobs)
    assert seen.ends == 2
    for _ in as_completed(jobs):
        break
    assert seen.ends == 3


class Chunk(Future[Any]):
    """A chunk that came back."""

    def __init__(self, outcome: Outcome | None, *, cancelled: bool = False) -> None:
        super().__init__()
        self.outcome = outcome
        if cancelled:
            self.cancel()


def ended(state: TaskState, usage: dict[str, Any] | None = None, **details: Any) -> Outcome:
    return Outcome("1" * 32, state, usage=usage, error=ErrorInfo("E", "m", details) if details else None)


@pytest.mark.parametrize(
    ("chunk", "counted"),
    [
        (Chunk(ended(TaskState.SUCCEEDED, {"items": 10, "failed": 2})), (2, 0)),
        (Chunk(ended(TaskState.FAILED, {"items": 4, "failed": 1})), (7, 0)),
        (Chunk(ended(TaskState.LOST, {"rss": 7}, finished=6)), (4, 0)),
        (Chunk(None), (10, 0)),
        (Chunk(ended(TaskState.CANCELLED, {"items": 3, "failed": 1}), cancelled=True), (1, 7)),
        (Chunk(None, cancelled=True), (0, 10)),
    ],
    ids=["went well", "raised", "its worker died", "no outcome", "stopped midway", "never started"],
)
def test_items_are_counted_by_how_their_chunk_ended(chunk: Any, counted: tuple[int, int]) -> None:
    tally = Tally((range(10),), keep=True)
    tally.came(chunk, 0, 10)
    assert (tally.back, tally.failed, tally.cancelled) == (10, *counted)


def test_a_container_that_cannot_be_indexed_by_number_hides_no_failure() -> None:
    assert Tally(({"a": 1},), keep=True).item(0, 0, star=False) is MISSING


def test_a_chunk_cancelled_elsewhere_stops_the_map(client: HubClient, seen: Seen) -> None:
    result = MapResult(client, odd_fails, (iter(range(0, 10**9, 2)),), chunksize=1)
    until(lambda: result.counts().done > 5)
    with result._change:
        victim = Chunk(None, cancelled=True)
        victim.task_id = "v"  # type: ignore[attr-defined]
        result._slots["v"] = (0, 1)
        result._came(victim)
    until(lambda: result.done)
    assert result.was_cancelled


def test_what_a_call_was_given_is_known_as_it_was_then(client: HubClient, seen: Seen) -> None:
    changed = {"rate": 1}
    call = client.submit(divided, 3, by=changed)
    changed["rate"] = 2
    chunk = client.submit_map(divided, [1, 2])
    with Executor(client=client, initializer=list) as executor:
        pooled = executor.submit(divided, 5)
        assert list(executor.map(divided, [2, 4], chunksize=2)) == [2.0, 4.0]
    assert [call_of(future) for future in (call, chunk, pooled)] == [
        "divided(3, by={'rate': 1})",
        "divided of each of [1, 2]",
        "divided(5)",
    ]


def test_nothing_is_noted_where_nobody_looks(client: HubClient) -> None:
    assert watchers.on_wait is None
    call = client.submit(divided, 3)
    assert call_of(call) == f"divided (task {short_id(call.task_id)})"


def divided(number: float, by: dict[str, float] | None = None) -> float:
    return number / (by or {"rate": 1})["rate"]
