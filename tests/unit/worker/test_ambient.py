"""Random generators and display options follow the notebook from side to side."""

from __future__ import annotations

import pickle
import random
import sys
import threading
import types
from collections.abc import Iterator
from typing import Any

import pytest

from jupyter_fx_worker import ambient, envelope, names
from jupyter_fx_worker.ambient import Ambient


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    before = ambient._read()
    yield
    for kind, value in before.items():
        ambient._KINDS[kind][2](value)


def test_what_did_not_change_is_told_once() -> None:
    one = Ambient()
    assert "random" in one.changed()
    assert one.changed() == {}
    random.random()
    assert set(one.changed()) == {"random"}
    random.random()
    one.settle()
    assert one.changed() == {}
    one.forget()
    assert "random" in one.changed()


def test_numpy_and_pandas_go_on_where_the_other_side_stopped() -> None:
    np, pd = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    one, other = Ambient(), Ambient()
    np.random.seed(7)
    np.set_printoptions(precision=3)
    pd.set_option("display.max_columns", 3)
    told = pickle.loads(pickle.dumps(one.changed()))
    expected = np.random.rand()
    np.random.seed(8)
    np.set_printoptions(precision=5)
    pd.set_option("display.max_columns", 5)
    other.take(told)
    assert np.random.rand() == expected
    assert np.get_printoptions()["precision"] == 3
    assert pd.get_option("display.max_columns") == 3
    assert set(other.changed()) & {"numpy.random", "numpy.print", "pandas.display"} == {"numpy.random"}


def test_what_is_told_of_a_library_waits_until_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Any] = []
    monkeypatch.setitem(ambient._KINDS, "later", ("fx_not_loaded", lambda: len(taken), taken.append))
    side = Ambient()
    side.take({"later": 1, "of a newer version": 2}, "fx_not_loaded_either = 1")
    assert taken == []
    monkeypatch.setitem(sys.modules, "fx_not_loaded", types.ModuleType("fx_not_loaded"))
    assert "later" not in side.changed()
    assert taken == [1]


def test_a_library_that_the_next_cell_names_is_loaded_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Any] = []
    monkeypatch.setitem(ambient._KINDS, "later", ("wave", lambda: 0, taken.append))
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    side = Ambient()
    side.take({"later": 1})
    side.take({}, "import wave")
    assert taken == [1]


def test_what_cannot_be_taken_over_is_left_alone() -> None:
    Ambient().take({"random": "no state"})
    assert random.getstate()


def test_a_setting_that_cannot_travel_stays_and_holds_up_nothing_else() -> None:
    """A formatter may hold a lock or an open file: the cell beside it comes and goes all the same."""
    np = pytest.importorskip("numpy")
    side, lock = Ambient(), threading.Lock()
    side.settle()
    np.set_printoptions(formatter={"float": lambda x, lock=lock: f"{x:.1f}"})
    random.random()
    home = names.Home()
    home.values = {"x": 1, ambient.NAME: side.changed()}
    told = envelope.loads(bytearray(b"".join(bytes(part) for part in home.dumps())))[1]
    assert told["x"] == 1
    assert set(told[ambient.NAME]) == {"random"}
    assert side.changed() == {}
