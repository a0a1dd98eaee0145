"""Questions about a session's variables."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from jupyter_fx_worker import asks, introspect


class Nosy:
    """Whatever is asked of it runs code of the user's."""

    asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        raise AttributeError(name)

    @property
    def costly(self) -> int:
        self.asked.append("costly")
        return 1

    def __sizeof__(self) -> int:
        self.asked.append("__sizeof__")
        return 1

    def __repr__(self) -> str:
        self.asked.append("__repr__")
        return "nosy"


def test_who_tells_type_size_and_shape_without_asking_the_users_own_classes() -> None:
    Nosy.asked.clear()
    space = {"nosy": Nosy(), "data": [Nosy()] * 3, "text": "abc", "_": 1, "hidden": 2, "sys": sys}
    rows = {row["name"]: row for row in asks.who(space, frozenset({"hidden"}), {"text": "In[2]", "data": "sent"})}
    assert set(rows) == {"nosy", "data", "text", "sys"}
    assert rows["data"]["shape"] == [3]
    assert rows["data"]["made"] == "sent"
    assert rows["text"]["made"] == "In[2]"
    assert rows["nosy"]["size"] > 0
    assert rows["sys"]["of"] == "sys"
    assert Nosy.asked == []


def test_who_knows_arrays() -> None:
    numpy = pytest.importorskip("numpy")
    (row,) = asks.who({"a": numpy.zeros((3, 4))}, frozenset(), {})
    assert (row["shape"], row["dtype"], row["size"]) == ([3, 4], "float64", 96)


def test_the_size_of_a_container_is_reckoned_from_a_sample() -> None:
    assert 60_000_000 > asks.size_in_memory([b"x" * 50_000] * 1000) > 50_000_000


def _session(complete: Any) -> Any:
    return SimpleNamespace(ready=lambda: SimpleNamespace(complete=complete))


@pytest.fixture
def _free_alarm_clock() -> Iterator[None]:
    """As a worker has it: pytest's own time limit uses it here."""
    before, left = signal.signal(signal.SIGALRM, signal.SIG_DFL), signal.setitimer(signal.ITIMER_REAL, 0)
    yield
    signal.signal(signal.SIGALRM, before)
    signal.setitimer(signal.ITIMER_REAL, *left)


@pytest.mark.usefixtures("_free_alarm_clock")
def test_what_hangs_is_interrupted_and_the_alarm_clock_left_as_it_was() -> None:
    def hangs(_code: str, _at: int) -> Any:
        # Longer than a test may take.
        end = time.monotonic() + 600
        while time.monotonic() < end:
            try:
                time.sleep(20)
            except Exception:
                continue

    assert asks.answer(_session(hangs), "complete", {"code": "x.", "within": 0.1}) == {"late": True}
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_an_alarm_clock_of_the_users_is_not_touched() -> None:
    mine = lambda *_: None  # noqa: E731
    before = signal.signal(signal.SIGALRM, mine)
    try:
        told = asks.answer(_session(lambda code, at: (0, [])), "complete", {"code": "x", "within": 0.1})
        assert told == {"start": 0, "matches": []}
        assert signal.getsignal(signal.SIGALRM) is mine
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_failure_and_an_unknown_question_are_answers() -> None:
    assert "ValueError" in asks.answer(_session(lambda code, at: int("x")), "complete", {"code": "x"})["error"]
    assert "older" in asks.answer(_session(None), "dance", {})["error"]


def test_completion_without_ipython() -> None:
    space = {"nosy": Nosy(), "number": 1, "sys": sys}
    Nosy.asked.clear()
    assert introspect.complete(space, "x = num", 7) == (4, [["number", "instance"]])
    start, found = introspect.complete(space, "nosy.cos", 8)
    assert (start, [name for name, _ in found]) == (5, ["costly"])
    assert ["version_info", "instance"] in introspect.complete(space, "sys.version_", 12)[1]
    assert introspect.complete(space, "f().a", 5) == (4, [])
    assert Nosy.asked == []


def test_inspection_without_ipython() -> None:
    def add(x: int, y: int = 2) -> int:
        """Add them."""
        return x + y

    told = introspect.tell({"add": add}, "add(1", 3, 0)["text/plain"]
    assert "add(x: 'int', y: 'int' = 2)" in told
    assert "Add them." in told
    assert "return x + y" in introspect.tell({"add": add}, "add", 3, 1)["text/plain"]
    assert introspect.tell({}, "nothing", 7, 0) == {}
