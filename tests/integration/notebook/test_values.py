"""The value of a remote cell's last expression: the object itself, shown as it was shown there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="module")
def kernel(kernels: Callable[[], Any]) -> Any:
    started = kernels()
    started.run("import fractions, os, random")
    return started


@pytest.mark.parametrize("line", ["", "--bg", "--stateless"])
def test_it_is_an_object_to_go_on_with(kernel: Any, line: str) -> None:
    kernel.remote("import fractions\nfractions.Fraction(1, 3)", line)
    kernel.run("value = _.result(60) if hasattr(_, 'result') else _")
    assert kernel.value("type(value) is fractions.Fraction, value + 1") == "(True, Fraction(4, 3))"


def test_it_is_shown_as_it_was_there(kernel: Any) -> None:
    kernel.run(
        "class Where:\n    pid = os.getpid()\n    def __repr__(self):\n        return f'in process {os.getpid()}'"
    )
    shown = kernel.remote("import os\nmine = os.getpid()\nWhere()").result
    assert kernel.value("isinstance(_, Where)") == "True"
    assert shown == f"in process {kernel.value('mine')}"
    # The next value is shown as ever.
    assert kernel.value("Where()") == f"in process {kernel.value('os.getpid()')}"


def test_a_variable_is_the_one_that_is_here(kernel: Any) -> None:
    kernel.remote("rows = [{1}, {2}]\nrows")
    assert kernel.value("_ is rows") == "True"
    kernel.run("kept = [fractions.Fraction(1, 2)]")
    for _ in range(2):
        assert kernel.remote("kept").result == "[Fraction(1, 2)]"
        assert kernel.value("_ is kept") == "True"
    kernel.remote("long = 'x' * 2_000_000\nlong")
    assert kernel.value("_ is long, len(_.get())") == "(True, 2000000)"


@pytest.mark.parametrize("body", ["import threading\nthreading.Lock()", "bytearray(2_000_000)"])
def test_what_cannot_come_says_so_when_it_is_used(kernel: Any, body: str) -> None:
    kernel.remote(body)
    failed = kernel.run("_.acquire()")
    assert failed.error["ename"] == "AttributeError"
    assert "this value stayed there" in failed.error["evalue"]


def test_one_of_a_class_that_is_not_here_takes_nothing_else_with_it(kernel: Any) -> None:
    made = "import sys, types\nmodule = types.ModuleType('fxi_only_there')\nexec('class T: pass', module.__dict__)\n"
    kernel.remote(f"{made}sys.modules['fxi_only_there'] = module\nbeside = 5\nmodule.T()")
    assert kernel.value("beside, type(_).__name__") == "(5, 'Replay')"


def test_who_attaches_gets_it_too(kernel: Any, kernels: Callable[[], Any]) -> None:
    kernel.remote("import fractions\nfractions.Fraction(2, 3)", "--name fxi-attached")
    other = kernels()
    other.run("import jupyter_fx as fx\nagain = %fx attach fxi-attached")
    assert other.value("again.result(), fx.attach('fxi-attached').result()") == "(Fraction(2, 3), Fraction(2, 3))"


def test_a_background_cells_seed_comes_home_with_the_next_cell_that_is_waited_for(kernel: Any) -> None:
    kernel.run("random.seed(1)")
    kernel.remote("import random\nrandom.seed(5)", "--bg")
    kernel.run("_.result(60)")
    # Nobody could say between which cells of the notebook that happened: nothing here has changed.
    assert kernel.value("random.getstate() == random.Random(1).getstate()") == "True"
    kernel.remote("'waited for'")
    assert kernel.value("random.getstate() == random.Random(5).getstate()") == "True"
    # What is set here later holds.
    kernel.remote("random.seed(7)", "--bg")
    kernel.run("_.result(60)\nrandom.seed(8)")
    assert kernel.remote("random.getstate() == random.Random(8).getstate()").result == "True"
    assert kernel.value("random.getstate() == random.Random(8).getstate()") == "True"
