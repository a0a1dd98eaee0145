"""Modules of the user's own files, with a session whose directory is elsewhere."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def library(stack: Path) -> Path:
    """A folder on the notebook's sys.path that is not where the session runs."""
    return Path(tempfile.mkdtemp(prefix="lib", dir=stack))


@pytest.fixture(scope="module")
def kernel(kernels: Callable[[], Any], library: Path) -> Any:
    (library / "fxi_helper.py").write_text("def h():\n    return 0\n")
    (library / "fxi_mod.py").write_text(
        "import fxi_helper\nclass P:\n    def __init__(self, v):\n        self.v = v\n"
        "    def sign(self):\n        return self.v\n"
        "def f(x):\n    return 3 * x + fxi_helper.h()\ndef bad():\n    raise ValueError('in the module')\n"
    )
    started = kernels()
    started.run(f"import sys\nsys.path.insert(0, {str(library)!r})\nimport fxi_mod\nfrom fxi_mod import f, P\np = P(4)")
    return started


def test_functions_objects_and_imports_inside_of_the_cell_work_there(kernel: Any) -> None:
    assert kernel.remote("import fxi_mod as m\nf(2), m.f(2), p.sign(), isinstance(p, m.P)").result == "(6, 6, 4, True)"


def test_an_object_made_there_is_one_of_its_class_here(kernel: Any) -> None:
    kernel.remote("q = fxi_mod.P(5)")
    assert kernel.value("isinstance(q, fxi_mod.P), q.sign()") == "(True, 5)"


def test_a_traceback_shows_the_modules_own_lines(kernel: Any) -> None:
    ran = kernel.remote("fxi_mod.bad()")
    assert ran.error["ename"] == "ValueError"
    assert "raise ValueError('in the module')" in ran.traceback
    assert "def bad():" in ran.traceback


def test_an_edit_holds_from_the_next_remote_cell_on_and_for_living_objects(kernel: Any, library: Path) -> None:
    text = (library / "fxi_mod.py").read_text()
    (library / "fxi_mod.py").write_text(text.replace("3 * x", "30 * x").replace("return self.v", "return -self.v"))
    ran = kernel.remote("f(2), q.sign(), isinstance(q, fxi_mod.P)")
    assert ran.result == "(60, -5, True)"
    assert "edited here, and loaded anew there: fxi_mod" in ran.shown
    (library / "fxi_helper.py").write_text("def h():\n    return 100\n")
    assert kernel.remote("f(2)").result == "160"


def test_what_cannot_be_loaded_any_more_stops_the_cell_until_it_is_mended(kernel: Any, library: Path) -> None:
    text = (library / "fxi_helper.py").read_text()
    (library / "fxi_helper.py").write_text("def h(:\n")
    assert kernel.remote("f(2)").error["ename"] == "SyntaxError"
    (library / "fxi_helper.py").write_text(text)
    assert kernel.remote("f(2)").result == "160"


def test_functions_of_the_pool_use_them_too_and_two_notebooks_do_not_mix_theirs(
    kernel: Any, kernels: Callable[[], Any], stack: Path
) -> None:
    define = (
        "import jupyter_fx as fx, fxi_helper\ndef inside(x):\n    import fxi_helper\n    return fxi_helper.h(), x\n"
    )
    kernel.run(define)
    assert kernel.value("fx.remote(fxi_helper.h).remote(), fx.remote(inside).remote(1)") == "(100, (100, 1))"
    assert (
        kernel.run("with fx.Executor() as ex:\n    print(list(ex.map(inside, [1, 2])))").stream()
        == "[(100, 1), (100, 2)]\n"
    )
    assert kernel.value("fx.remote(lambda one: type(one).__module__).remote(p)") == "'fxi_mod'"
    other = Path(tempfile.mkdtemp(prefix="lib", dir=stack))
    (other / "fxi_helper.py").write_text("def h():\n    return 'other'\n")
    second = kernels()
    second.run(f"import sys\nsys.path.insert(0, {str(other)!r})\n{define}")
    for _ in range(3):
        assert (
            second.value("fx.remote(fxi_helper.h).remote(), fx.remote(inside).remote(1)") == "('other', ('other', 1))"
        )
        assert kernel.value("fx.remote(fxi_helper.h).remote()") == "100"


def test_who_takes_an_object_that_was_made_there_needs_not_know_its_module(
    kernels: Callable[[], Any], stack: Path
) -> None:
    """The function that makes it mentions the module; the one that takes it, and another session, do not."""
    place = Path(tempfile.mkdtemp(prefix="lib", dir=stack))
    (place / "fxi_base.py").write_text("class Base:\n    scale = 10\n")
    (place / "fxi_shape.py").write_text(
        "import fxi_base\nclass Shape(fxi_base.Base):\n    def __init__(self, r):\n        self.r = r\n"
        "    def area(self):\n        return self.scale * self.r\n"
    )
    kernel = kernels()
    kernel.run(f"import sys\nsys.path.insert(0, {str(place)!r})\nimport jupyter_fx as fx, fxi_shape")
    kernel.run("made = fx.remote(fxi_shape.Shape).submit(3)\narea = fx.remote(lambda s: s.area())")
    assert kernel.value("area.remote(made)") == "30"
    assert kernel.value("type(made.result()) is fxi_shape.Shape") == "True"
    kernel.remote("large = [fxi_shape.Shape(4)]\nlarge[0].pad = 'x' * 2_000_000")
    assert kernel.value("fx.remote(lambda s: s[0].area()).remote(large)") == "40"
    kernel.run("%fx keep large\n%fx session new")
    assert kernel.remote("large[0].area()").result == "40"
    # Where both know it, the taker's own word holds: here it was edited since the object was made.
    text = (place / "fxi_shape.py").read_text()
    (place / "fxi_shape.py").write_text(text.replace("return self", "return -self"))
    kernel.run(
        "def inside(s):\n    import fxi_shape\n    return s.area()\nimport importlib\nimportlib.reload(fxi_shape)"
    )
    assert kernel.value("fx.remote(inside).remote(made)") == "-30"
