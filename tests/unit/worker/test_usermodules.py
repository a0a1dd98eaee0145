"""Modules that came as sources: found, executed anew when they change, kept apart."""

from __future__ import annotations

import importlib
import pickle
import sys
import traceback
from collections.abc import Iterator

import pytest

from jupyter_fx_worker import usermodules
from jupyter_fx_worker.usermodules import Bringing, Entry, With, World


@pytest.fixture
def world() -> Iterator[World]:
    before = usermodules.active()
    made = World()
    usermodules.activate(made)
    yield made
    usermodules.activate(before)
    if usermodules._finder in sys.meta_path:
        sys.meta_path.remove(usermodules._finder)


def entry(name: str, source: str, *imports: str, package: bool = False) -> Entry:
    path = f"/nowhere/{name.replace('.', '/')}{'/__init__' if package else ''}.py"
    return Entry(name, str(hash(source)), path, package, imports, source.encode())


def bring(*entries: Entry) -> None:
    pickle.loads(pickle.dumps(Bringing(entries)))


def test_what_came_is_imported_without_any_file(world: World) -> None:
    bring(entry("fxu_p", "from .a import g", "fxu_p.a", package=True), entry("fxu_p.a", "def g(): return 7"))
    assert importlib.import_module("fxu_p").g() == 7
    usermodules.activate(None)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("fxu_p")


def test_it_is_there_before_what_needs_it_is_opened(world: World) -> None:
    first = entry("fxu_one", "class Box: pass")
    bring(first)
    box = importlib.import_module("fxu_one").Box()
    data = pickle.dumps(With([first], {"box": box}))
    usermodules.activate(World())
    assert type(pickle.loads(data)["box"]).__module__ == "fxu_one"


def test_an_edited_one_is_executed_in_place_with_those_that_import_it(world: World) -> None:
    bring(
        entry("fxu_low", "def f(): return 1\ndef gone(): pass"), entry("fxu_high", "from fxu_low import f", "fxu_low")
    )
    high, low = importlib.import_module("fxu_high"), importlib.import_module("fxu_low")
    bring(entry("fxu_low", "def f(): return 2"))
    assert high.f() == low.f() == 2
    assert not hasattr(low, "gone")
    assert sys.modules["fxu_low"] is low


def test_objects_that_live_get_the_new_methods(world: World) -> None:
    bring(entry("fxu_c", "class C:\n    def m(self): return 1"))
    module = importlib.import_module("fxu_c")
    living = module.C()
    bring(entry("fxu_c", "class C:\n    def m(self): return 2"))
    assert living.m() == 2
    assert isinstance(living, module.C)


def test_one_that_cannot_be_executed_stays_as_it_was_and_is_tried_again(world: World) -> None:
    good, bad = entry("fxu_s", "def f(): return 1"), entry("fxu_s", "1 / 0")
    bring(good)
    module = importlib.import_module("fxu_s")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            bring(bad)
    assert module.f() == 1
    bring(entry("fxu_s", "def f(): return 3"))
    assert module.f() == 3


def test_two_worlds_have_modules_of_one_name(world: World) -> None:
    other = World()
    bring(entry("fxu_same", "who = 'one'"))
    assert importlib.import_module("fxu_same").who == "one"
    usermodules.activate(other)
    bring(entry("fxu_same", "who = 'two'"))
    assert importlib.import_module("fxu_same").who == "two"
    usermodules.activate(world)
    assert importlib.import_module("fxu_same").who == "one"


def test_without_a_world_the_same_modules_are_loaded_once(world: World) -> None:
    del world
    for _ in range(2):
        usermodules.activate(None)
        bring(entry("fxu_once", "import builtins\nbuiltins.fxu_count = getattr(builtins, 'fxu_count', 0) + 1"))
        importlib.import_module("fxu_once")
    import builtins

    assert vars(builtins).pop("fxu_count") == 1


def test_tracebacks_show_its_lines(world: World) -> None:
    bring(entry("fxu_t", "def bad():\n    raise ValueError('here')"))
    with pytest.raises(ValueError, match="here") as caught:
        importlib.import_module("fxu_t").bad()
    assert "raise ValueError('here')" in "".join(traceback.format_tb(caught.value.__traceback__))


def test_a_data_file_beside_it_is_refused_in_words(world: World) -> None:
    import pkgutil

    bring(entry("fxu_d", "", package=True))
    with pytest.raises(FileNotFoundError, match="files beside it do not travel"):
        pkgutil.get_data("fxu_d", "table.csv")
