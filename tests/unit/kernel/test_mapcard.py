"""The card of a map and that of a wait, by a clock that the test turns; the results are stand-ins."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import jsonschema
import pytest

from jupyter_fx.client import TaskFuture, watchers
from jupyter_fx.client.watchers import MISSING, Counts, Failure
from jupyter_fx.ids import new_id, short_id
from jupyter_fx.payload.failures import shown_item
from jupyter_fx_kernel import mapcard
from jupyter_fx_kernel.cardview import words
from jupyter_fx_kernel.mapcard import MapCard, WaitCard
from jupyter_fx_kernel.snapshot import MIME, schema

VALIDATOR = jsonschema.Draft202012Validator(schema())


class Shell:
    """A notebook's shell as far as displays go: `shots` are the snapshots, `updates` how often one was replaced."""

    def __init__(self) -> None:
        self.display_pub = self
        self.shots: list[dict[str, Any]] = []
        self.texts: list[str] = []
        self.updates = 0

    def publish(self, data: dict[str, Any], _metadata: Any, *, transient: Any, update: bool) -> None:
        VALIDATOR.validate(data[MIME])
        self.updates += update
        self.shots.append(data[MIME])
        self.texts.append(data["text/plain"])


class Task:
    def __init__(self) -> None:
        self.task_id = new_id()


class Result:
    """What a MapResult says."""

    def __init__(self, total: int | None = 1000) -> None:
        self.group, self.endpoint, self.name = new_id(), "polaris", "train"
        self.now = Counts(total, 0, 0, 0, 0)
        self.tasks: list[Any] = [Task(), Task()]
        self.told: list[Failure] = []
        self.done = self.was_cancelled = False
        self.cancels = 0

    def counts(self) -> Counts:
        return self.now

    def unfinished(self) -> list[Any]:
        return self.tasks

    def failures(self, most: int = 20) -> list[Failure]:
        return self.told[:most]

    def cancel(self) -> int:
        self.cancels += 1
        return 0


class World:
    def __init__(self, total: int | None = 1000) -> None:
        self.time = 100.0
        self.shell, self.result = Shell(), Result(total)
        self.card = MapCard(self.shell, self.result, lambda: self.time)  # type: ignore[arg-type]

    def at(self, seconds: float, **changes: Any) -> None:
        self.time = 100.0 + seconds
        self.result.now = self.result.now._replace(**changes)
        self.card._refresh()


def test_a_map_shows_counts_rate_and_how_long_it_will_be() -> None:
    world = World()
    for second in range(1, 9):
        world.at(second, done=50 * second, running=2)
    shot = world.shell.shots[-1]
    assert shot["map"]["rate"] == pytest.approx(50)
    assert shot["map"]["eta"] == pytest.approx(600 / 50)
    assert shot["map"]["tasks"] == [task.task_id for task in world.result.tasks]
    assert "train on polaris · running" in world.shell.texts[-1]
    assert "400 of 1,000 done · 2 running · 50/s · 12 s left" in world.shell.texts[-1]
    assert world.shell.updates == len(world.shell.shots) - 1


def test_the_rate_is_that_of_late() -> None:
    world = World()
    for second in range(1, 20):
        world.at(second, done=10 * second, running=1)
    for second in range(20, 40):
        world.at(second, done=190 + (second - 19), running=1)
    assert world.shell.shots[-1]["map"]["rate"] == pytest.approx(1, rel=0.2)


def test_an_iterator_has_no_total_and_no_end_in_sight() -> None:
    world = World(total=None)
    world.at(1, done=5)
    world.at(3, done=50)
    assert world.shell.shots[-1]["map"]["total"] is None
    assert world.shell.shots[-1]["map"].get("eta") is None


def test_a_quick_map_that_goes_well_shows_nothing() -> None:
    world = World()
    world.result.done = True
    world.at(0.3, done=1000)
    assert world.shell.shots == []
    world.at(9)
    assert world.shell.shots == []


def test_failures_are_listed_with_their_inputs() -> None:
    world = World()
    world.result.told = [Failure(at, {"rate": at, "x" * 500: 1}, ValueError("bad\nnews")) for at in range(50)]
    world.result.done = True
    world.at(0.2, done=1000, failed=50)
    shot = world.shell.shots[-1]
    assert shot["state"] == "failed"
    assert len(shot["map"]["failures"]) == 20
    assert shot["map"]["failures"][3]["error"] == "ValueError: bad"
    assert shot["map"]["failures"][3]["input"].startswith("{'rate': 3, 'xxx")
    assert "tasks" not in shot["map"] or shot["map"]["tasks"] == []


def test_a_map_cancelled_elsewhere_is_cancelled_here_and_says_so() -> None:
    world = World()
    world.result.was_cancelled = True
    world.at(1, done=10, cancelled=4)
    assert world.result.cancels == 1
    assert world.shell.shots[-1]["state"] == "running"
    world.result.done = True
    world.at(2, done=14, cancelled=8)
    assert world.shell.shots[-1]["state"] == "cancelled"


def test_a_map_that_nobody_feeds_on_is_cancelled_although_every_chunk_was_done() -> None:
    world = World()
    world.result.was_cancelled = world.result.done = True
    world.at(1, done=10)
    assert world.shell.shots[-1]["state"] == "cancelled"


def test_nothing_new_is_drawn_once_a_second_at_most() -> None:
    world = World()
    world.at(1, done=1)
    for tick in range(8):
        world.at(1.1 + tick / 10)
    assert len(world.shell.shots) == 1
    world.at(2.1)
    assert len(world.shell.shots) == 2


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize("item", [Unshowable(), "x" * 10**6, list(range(10**6)), MISSING, b"\xff\x00", "<script>"])
def test_any_item_is_shown_in_two_hundred_characters(item: Any) -> None:
    assert 0 < len(shown_item(item)) <= 200


# --- waits ---


def wait_for(*futures: Future[Any]) -> tuple[WaitCard, Shell, list[float]]:
    shell, time = Shell(), [0.0]
    card = WaitCard(shell, futures, lambda: time[0])
    time[0] = 1.0
    return card, shell, time


def test_a_wait_counts_its_futures_and_names_those_that_failed() -> None:
    good, bad, gone, runs = (Future[Any]() for _ in range(4))
    good.set_result(1)
    bad.set_exception(ZeroDivisionError("division by zero"))
    gone.cancel()
    runs.set_running_or_notify_cancel()
    card, shell, time = wait_for(good, bad, gone, runs)
    card._refresh()
    told = shell.shots[-1]["map"]
    assert (told["total"], told["done"], told["running"], told["failed"], told["cancelled"]) == (4, 3, 1, 1, 1)
    assert told["failures"][0]["index"] == 1
    assert told["failures"][0]["error"] == "ZeroDivisionError: division by zero"
    runs.set_result(2)
    time[0] = 2.0
    card.ended()
    assert shell.shots[-1]["state"] == "failed"
    card.ended()
    assert len(shell.shots) == 2


def test_a_waits_failures_are_told_by_their_calls_else_by_their_tasks() -> None:
    hub: Any = object()
    called, attached, unnamed = (TaskFuture(hub, new_id()) for _ in range(3))
    called.name = attached.name = "train"
    called._call = "train(0.1, epochs=3)"
    local: Future[Any] = Future()
    for future in (called, attached, unnamed, local):
        future.set_exception(ValueError("bad"))
    card, shell, _ = wait_for(called, attached, unnamed, local)
    card._refresh()
    told = [failure["input"] for failure in shell.shots[-1]["map"]["failures"]]
    assert told[:3] == [
        "train(0.1, epochs=3)",
        f"train (task {short_id(attached.task_id)})",
        f"(task {short_id(unnamed.task_id)})",
    ]
    assert "<Future at" in told[3]


def test_a_wait_that_is_left_says_so_and_is_over() -> None:
    card, shell, time = wait_for(Future())
    card._refresh()
    time[0] = 2.0
    card.ended()
    assert shell.shots[-1]["note"] == "no longer waited for"
    time[0] = 9.0
    card._refresh()
    assert len(shell.shots) == 2


def test_only_a_notebook_has_cards_of_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchers, "on_map", None)
    monkeypatch.setattr(watchers, "on_wait", None)
    mapcard.install(Shell())
    assert watchers.on_map is None
    shell: Any = Shell()
    shell.kernel = object()
    mapcard.install(shell)
    assert watchers.on_map is not None
    assert watchers.on_wait is not None
    done: Future[Any] = Future()
    done.set_result(1)
    assert watchers.on_wait([done]) is None
    mapcard.uninstall()
    assert (watchers.on_map, watchers.on_wait) == (None, None)


def test_what_was_cancelled_is_not_called_done() -> None:
    items = {"total": 40, "done": 40, "running": 0, "failed": 2, "cancelled": 34}
    assert words.counts(items, over=True) == "6 of 40 done · 2 failed · 34 cancelled"
    assert words.counts({**items, "total": None}, over=False).startswith("6 done · 2 failed")
