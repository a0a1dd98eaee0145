"""Which modules are the user's own, and what they bring along."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_fx.errors import UsageError
from jupyter_fx.payload import own


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("fxo_"):
            del sys.modules[name]


def test_a_module_brings_what_it_imports_and_nothing_that_is_installed(folder: Path) -> None:
    (folder / "fxo_a.py").write_text("import json, numpy, fxo_b\nfrom fxo_c import x\n")
    (folder / "fxo_b.py").write_text("def late():\n    import fxo_d\n")
    (folder / "fxo_c.py").write_text("x = 1\n")
    (folder / "fxo_d.py").write_text("")
    (folder / "fxo_unrelated.py").write_text("")
    found = own.Look().needed(["fxo_a", "numpy", "json", "os.path"])
    assert set(found) == {"fxo_a", "fxo_b", "fxo_c", "fxo_d"}
    assert found["fxo_a"].imports == ("fxo_b", "fxo_c")
    assert "fxo_a" not in sys.modules  # nothing of the user's is run for this


def test_relative_imports_and_packages_without_init(folder: Path) -> None:
    (folder / "fxo_p").mkdir()
    (folder / "fxo_p" / "__init__.py").write_text("from .core import run\n")
    (folder / "fxo_p" / "core.py").write_text("from . import deep\nfrom ..nowhere import z\n")
    (folder / "fxo_p" / "deep.py").write_text("")
    (folder / "fxo_p" / "other.py").write_text("")
    (folder / "fxo_n" / "inner").mkdir(parents=True)
    (folder / "fxo_n" / "inner" / "leaf.py").write_text("import fxo_p.core\n")
    found = own.Look().needed(["fxo_n.inner.leaf.some_function"])
    assert set(found) == {"fxo_n", "fxo_n.inner", "fxo_n.inner.leaf", "fxo_p", "fxo_p.core", "fxo_p.deep"}
    assert found["fxo_n"].source is None
    assert found["fxo_n"].package
    assert found["fxo_n.inner.leaf"].imports == ("fxo_p.core",)


def test_an_edit_is_seen_by_the_next_look(folder: Path) -> None:
    path = folder / "fxo_e.py"
    path.write_text("x = 1\n")
    look = own.Look()
    first = look.digest(["fxo_e"])
    path.write_text("x = 2\n")
    os.utime(path, ns=(1, 1))
    assert look.digest(["fxo_e"]) == first
    assert own.Look().digest(["fxo_e"]) != first
    assert own.Look().digest(["json", "numpy"]) == b""


def test_sources_beyond_the_limit_are_refused_with_the_cure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "fxo_large.py").write_text("x = 1\n" * 100)
    monkeypatch.setattr(own, "SOURCES_MAX", 500)
    with pytest.raises(UsageError, match=r"fxo_large is a package of your own files .* install it at the endpoint"):
        own.Look().needed(["fxo_large"])


def test_a_module_that_cannot_be_parsed_travels_as_it_is(folder: Path) -> None:
    (folder / "fxo_bad.py").write_text("def f(:\n")
    assert own.Look().needed(["fxo_bad"])["fxo_bad"].imports == ()


def test_ours_and_installed_ones_are_not_the_users() -> None:
    import numpy as np

    assert not own.is_own(np)
    assert not own.is_own(own)
    assert not own.is_own(os)
