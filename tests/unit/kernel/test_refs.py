"""Handles of values that are elsewhere: what they are pickled as, and what they say."""

from __future__ import annotations

import pickle
import sys
from types import ModuleType
from typing import Any

import pytest

from jupyter_fx.errors import PayloadError, RefLost
from jupyter_fx.payload import encode_args
from jupyter_fx.payload.inputs import collecting
from jupyter_fx_kernel.refs import Place, RemoteValue, pickling
from jupyter_fx_worker import aliases


class There:
    """A session as far as a handle needs one."""

    def __init__(self) -> None:
        self.alive, self.version, self.kept = True, 1, []

    def value(self, name: str = "big", why: str = "larger than 10 bytes") -> RemoteValue:
        place = Place(
            name=name,
            session="s1",
            endpoint="polaris",
            kind="numpy.ndarray",
            cell="In[3]",
            version=self.version,
            alive=lambda: self.alive,
            current=lambda: self.version,
            fetch=lambda wanted: f"fetched {wanted}",
            keep=self.keep,
        )
        return RemoteValue(place, {"type": "numpy.ndarray", "shape": [3, 4], "dtype": "float64", "size": 96}, why)

    def keep(self, name: str) -> str:
        self.kept.append(name)
        return "1" * 32


def test_in_its_own_session_it_is_the_variable_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    there = There()
    with pickling("s1"):
        data = pickle.dumps([there.value()])
    main = ModuleType("__main__")
    main.big = marker = object()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert pickle.loads(data)[0] is marker
    assert there.kept == []


def test_elsewhere_it_is_the_result_that_its_endpoint_keeps() -> None:
    there = There()
    value = there.value()
    assert encode_args((value, [value]), {}).inputs == ["1" * 32]
    with pickling("s2"), collecting() as wanted:
        pickle.dumps(value)
    assert wanted == ["1" * 32]


def test_to_be_known_again_nothing_is_kept() -> None:
    there = There()
    first, other = there.value(), there.value("other")
    with pickling("s2", weighing=True):
        assert pickle.dumps(first) == pickle.dumps(first) != pickle.dumps(other)
    there.version = 2
    with pickling("s2", weighing=True):
        assert pickle.dumps(first) != pickle.dumps(there.value())
    assert there.kept == []


def test_it_is_no_file_format() -> None:
    with pytest.raises(PayloadError, match=r"big\.get\(\) brings it"):
        pickle.dumps(There().value())


def test_what_cannot_be_pickled_does_not_leave_its_session() -> None:
    value = There().value(why="TypeError: cannot pickle it")
    with pickling("s1"):
        assert pickle.dumps(value)
    with pickling("s2"), collecting(), pytest.raises(PayloadError, match="cannot be pickled"):
        pickle.dumps(value)


@pytest.mark.parametrize(("what", "said"), [("gone", "run In.3. again"), ("anew", "assigned anew")])
def test_a_lost_one_says_what_made_it(what: str, said: str) -> None:
    there = There()
    value = there.value()
    there.alive, there.version = what != "gone", 2
    assert "(lost)" in repr(value)
    for use in (value.get, lambda: encode_args((value,), {})):
        with pytest.raises((RefLost, PayloadError), match=said):
            use()


def test_it_says_what_it_is_and_what_to_do_instead() -> None:
    value: Any = There().value()
    assert repr(value) == "<remote big: ndarray, (3, 4), float64, 96 B, on polaris; .get() brings it here>"
    for use in (
        lambda: value + 1,
        lambda: 1 + value,
        lambda: value[0],
        lambda: len(value),
        lambda: list(value),
        lambda: bool(value),
        lambda: value(3),
        lambda: value < 3,
    ):
        with pytest.raises(TypeError, match=r"big is on polaris, not here: use it in a %%remote cell, or .*big\.get"):
            use()
    with pytest.raises(AttributeError, match=r"big\.get\(\)\.mean"):
        value.mean()
    assert not hasattr(value, "_repr_html_")


def test_numpy_is_told_too() -> None:
    numpy = pytest.importorskip("numpy")
    value = There().value()
    for use in (lambda: numpy.asarray(value), lambda: numpy.ones(3) * value, lambda: numpy.sqrt(value)):
        with pytest.raises(TypeError):
            use()


def test_two_handles_share_nothing_that_matters() -> None:
    there = There()
    assert not aliases.parts(there.value()) & aliases.parts(there.value("other"))
