"""How far a task is, told seldom however often it is counted; by a clock that the test turns."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_fx_worker import bars


class World:
    """A worker's bars, the clock they look at, and what they told: (when, bars)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.task = 1000.0, 1
        self.told: list[tuple[float, dict[str, Any]]] = []
        self.bars = bars.Bars(
            lambda _kind, data: self.told.append((self.now, data)), lambda: self.task, lambda: self.now
        )
        monkeypatch.setattr(bars, "_bars", self.bars)
        monkeypatch.setattr(bars, "_pid", bars.os.getpid())

    @property
    def seen(self) -> dict[str, float]:
        """What a reader of all that was told has on the screen: label: done."""
        screen: dict[str, tuple[str, float]] = {}
        for _, data in self.told:
            for bar in data["bars"]:
                screen[bar["id"]] = (bar.get("label", ""), bar["done"])
                if bar.get("ended"):
                    del screen[bar["id"]]
        return dict(screen.values())


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_a_loop_of_a_hundred_thousand_rounds_in_ten_seconds_is_some_forty_events(world: World) -> None:
    for _ in bars.progress(range(100_000), label="rows"):
        world.now += 0.0001
    assert 30 < len(world.told) < 50
    assert world.told[0][1]["bars"] == [{"id": "0", "label": "rows", "done": 0.0, "total": 100_000.0, "unit": "it"}]
    last = world.told[-1][1]["bars"][0]
    assert (last["done"], last["ended"]) == (100_000, True)
    middle = world.told[20][1]["bars"][0]
    assert middle["rate"] == pytest.approx(10_000, rel=0.01)
    assert middle["eta"] == pytest.approx((100_000 - middle["done"]) / 10_000, rel=0.02)


def test_the_longer_it_runs_the_seldomer_it_tells(world: World) -> None:
    for _ in bars.progress(range(36_000)):
        world.now += 0.1  # an hour
    assert len(world.told) < 2200


def test_inner_loops_take_each_others_place_and_their_ends_do_not_flood(world: World) -> None:
    for _ in bars.progress(range(1000), label="outer"):
        for _ in bars.progress(range(10), label="inner"):
            world.now += 0.001
    assert len(world.told) < 16 + 2 * (4 + 4) * 10
    assert {bar["id"] for _, data in world.told for bar in data["bars"]} == {"0", "1"}
    world.now += 1
    bars.progress(1, 2, label="next")
    assert world.seen == {"next": 1.0}


def test_the_first_word_of_a_bar_says_where_it_is(world: World) -> None:
    bars.progress(3, 10, "loading", label="files", unit="file")
    [(_, data)] = world.told
    assert data["bars"] == [{"id": "=files", "label": "files", "done": 3.0, "total": 10.0, "unit": "file"}]
    bars.progress(10, 10, label="files")
    assert world.seen == {}


def test_the_note_is_told_once(world: World) -> None:
    bars.progress(1, 10, "first half")
    world.now += 1
    bars.progress(2, 10, "x" * 5000)
    world.now += 1
    bars.progress(3, 10)
    assert [len(data.get("note", "")) for _, data in world.told] == [10, 500, 0]


def test_the_bars_of_one_task_are_not_those_of_the_next(world: World) -> None:
    left = bars.progress(range(10), label="left behind")
    next(left)
    world.task = 2
    bars.progress(1, 4, label="mine")
    assert [bar["label"] for bar in world.told[-1][1]["bars"]] == ["mine"]
    world.now += 5
    before = len(world.told)
    left.close()
    assert len(world.told) == before


def test_more_bars_than_can_be_drawn_count_in_silence(world: World) -> None:
    open_bars = [bars.progress(range(10), label=str(number)) for number in range(40)]
    for bar in open_bars:
        next(bar)
        world.now += 1
    assert len(world.seen) == bars.MAX_BARS


def test_a_bar_of_an_iterator_has_no_total(world: World) -> None:
    assert list(bars.progress(iter("abc"))) == ["a", "b", "c"]
    assert "total" in world.told[0][1]["bars"][0]  # a string's iterator knows its length
    assert list(bars.progress(letter for letter in "abc")) == ["a", "b", "c"]
    assert "total" not in world.told[-1][1]["bars"][-1]


def test_numbers_that_json_has_not_are_left_out(world: World) -> None:
    bars.progress(float("nan"), float("inf"))
    assert world.told[0][1]["bars"][0] == {"id": "=", "done": 0.0}


def test_what_is_neither_a_number_nor_iterable_is_told_in_a_sentence(world: World) -> None:
    with pytest.raises(TypeError, match="something to iterate over, or how much is done, not a object"):
        bars.progress(object())


def test_where_nobody_watches_it_is_the_iterable_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bars, "_bars", None)
    monkeypatch.setattr(bars, "_home", None)
    assert list(bars.progress([1, 2])) == [1, 2]
    assert bars.progress(1, 2) is None
