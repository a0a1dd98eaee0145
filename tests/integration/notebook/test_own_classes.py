"""Objects of the notebook's own classes as arguments and results: `isinstance` says the same everywhere."""

from __future__ import annotations

from typing import Any

import pytest

DEFINED = """
import enum
from dataclasses import dataclass
import jupyter_fx as fx
@dataclass(frozen=True)
class Point:
    x: int
class Near(Point):
    def far(self):
        return type(self)(self.x * 10)
class Color(enum.Enum):
    RED = 1
class Refused(Exception):
    pass
@fx.remote
def asked(p, more=None, *, color=Color.RED):
    if not isinstance(p, Point):
        raise Refused(p)
    return isinstance(p, Near), p == Point(p.x), color is Color.RED, all(isinstance(q, Point) for q in more.values())
@fx.remote
def made(p):
    return [Near(p.x), p, Color.RED, {Point(1): Color.RED}]
"""


@pytest.fixture
def book(kernels: Any) -> Any:
    kernel = kernels()
    assert kernel.run(DEFINED).error == {}
    return kernel


def test_arguments_are_of_the_class_that_the_function_knows(book: Any) -> None:
    assert book.value("asked.remote(Near(2), {'a': Point(1)})") == "(True, False, True, True)"
    assert book.value("asked.remote(Point(2), {'a': Near(1)}, color=Color.RED)") == "(False, True, True, True)"
    assert book.run("try:\n    asked.remote(3)\nexcept Refused as error:\n    print('caught', error)").stream() == (
        "caught 3\n"
    )


def test_results_are_of_the_notebooks_classes(book: Any) -> None:
    book.run("one, other, color, table = made.remote(Near(3))")
    assert book.value("type(one) is Near, type(other) is Near, color is Color.RED") == "(True, True, True)"
    assert book.value("one == other == Near(3), one.far(), table[Point(1)] is color") == "(True, Near(x=30), True)"
    assert book.value("[type(found[1]) for found in made.map([Near(1), Point(2)])] == [Near, Point]") == "True"
    book.run("with fx.Executor() as ex:\n    told = list(ex.map(lambda p: (isinstance(p, Point), p), [Near(1)]))")
    assert book.value("told[0][0], type(told[0][1]) is Near") == "(True, True)"
    # What came home goes there again, and a cell's own objects are no others.
    assert book.value("type(made.remote(one)[1]) is Near") == "True"
    book.remote("there = Near(7)")
    assert book.value("type(there) is Near, asked.remote(there, {})") == "(True, (True, False, True, True))"


def test_a_class_that_was_defined_again_is_another_one_there_as_at_home(book: Any) -> None:
    book.run("old = Near(3)")
    book.run("@dataclass(frozen=True)\nclass Point:\n    x: int\n    y: int = 0")
    assert book.value("issubclass(Near, Point), asked.remote(Point(3), {})[1]") == "(False, True)"
    refused = book.run("asked.remote(old, {})")
    assert refused.error["ename"] == "Refused"
    assert "raise Refused(p)" in refused.traceback
    # Found again by its id, too.
    found = "fx.attach(made.submit(Point(4)).task_id).result()"
    assert book.value(f"[isinstance({found}[1], Point), isinstance(made.remote(old)[1], Point)]") == "[True, False]"
