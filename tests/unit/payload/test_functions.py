from __future__ import annotations

import functools
import gc
import sys
import threading
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jupyter_fx import payload
from jupyter_fx.errors import PayloadError
from jupyter_fx.payload import functions
from jupyter_fx_worker import envelope, usermodules


def there(function: Callable[..., Any]) -> Callable[..., Any]:
    opened: Callable[..., Any] = envelope.loads(payload.encode_function(function).payload)[1]
    return opened


def adding(n: int) -> Callable[[int], int]:
    def add(x: int) -> int:
        return x + n

    return add


def test_a_closure_runs_there() -> None:
    assert there(adding(3))(4) == 7


def test_a_function_is_encoded_once() -> None:
    add = adding(1)
    assert payload.encode_function(add) is payload.encode_function(add)


def test_what_a_closure_holds_is_part_of_the_identity() -> None:
    assert payload.encode_function(adding(1)).digest != payload.encode_function(adding(2)).digest


def test_a_global_that_changed_is_seen() -> None:
    module = types.ModuleType("__main__")
    exec("scale = 2\nmore = [1]\ndef f(x): return x * scale + more[-1]", module.__dict__)
    assert there(module.f)(10) == 21
    module.scale = 3
    assert there(module.f)(10) == 31
    module.more.append(5)
    assert there(module.f)(10) == 35


def test_functions_are_not_kept_alive() -> None:
    add = adding(1)
    payload.encode_function(add)
    known = weakref.ref(add)
    del add
    gc.collect()
    assert known() is None


def test_the_version_follows_the_source_not_its_looks() -> None:
    one = functions.normalised_source(adding(1))
    assert "# " not in one
    assert functions.version_of(adding(1), one) == functions.version_of(adding(1), one)
    assert functions.version_of(adding(1), one) != functions.version_of(adding(2), one)


def test_names_and_packages_are_told() -> None:
    import numpy as np

    def mean(x: Any) -> Any:
        return np.mean(x)

    globals()["np"] = np
    try:
        header, _ = envelope.peek(payload.encode_function(mean).payload)
    finally:
        del globals()["np"]
    assert header["name"].endswith("mean")


def test_what_a_function_drags_along_is_named() -> None:
    lock = threading.Lock()

    def guarded() -> Any:
        return lock

    with pytest.raises(
        PayloadError, match=r"the function .*guarded.*lock \(from the enclosing function\).*_thread\.lock"
    ):
        payload.encode_function(guarded)


def test_builtins_partials_methods_and_callables_travel() -> None:
    assert there(pow)(2, 3) == 8
    assert there(functools.partial(pow, 2))(5) == 32
    assert there([1, 2, 2].count)(2) == 2
    assert payload.encode_function(functools.partial(pow, 2)).name == "pow"
    with pytest.raises(TypeError, match="not callable"):
        payload.encode_function(3)  # type: ignore[arg-type]


def test_a_module_of_the_users_own_files_travels_with_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fx_own_helper.py").write_text("def double(x):\n    return 2 * x\n")
    (tmp_path / "fx_own_main.py").write_text(
        "import fx_own_helper\nfrom fx_own_helper import double\nclass Box:\n    pass\n"
        "def run(x):\n    return double(x) + fx_own_helper.double(x), type(Box()).__name__\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import fx_own_main  # type: ignore[import-not-found]

    data = payload.encode_function(fx_own_main.run).payload
    for name in ("fx_own_main", "fx_own_helper"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(tmp_path)])
    try:
        run = envelope.loads(data)[1]
        assert run(4) == (16, "Box")
        assert run.__module__ == "fx_own_main"
    finally:
        usermodules.activate(None)


def test_an_edited_file_makes_another_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fx_own_edited.py").write_text("def run():\n    return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(functions, "_LOOK_EVERY", 0.0)
    import fx_own_edited  # type: ignore[import-not-found]

    first = payload.encode_function(fx_own_edited.run)
    assert payload.encode_function(fx_own_edited.run) is first
    (tmp_path / "fx_own_edited.py").write_text("def run():\n    return 22\n")
    assert payload.encode_function(fx_own_edited.run).digest != first.digest
    monkeypatch.delitem(sys.modules, "fx_own_edited")


@functools.lru_cache(maxsize=8)
def cached(x: int) -> int:
    return x * 3


def test_a_cached_function_travels() -> None:
    assert there(cached)(2) == 6
