from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from jupyter_fx.endpoint.store import Store
from jupyter_fx.errors import UsageError


@pytest.mark.parametrize("name", ["", ".", "..", "../outside", "/etc/passwd", "a/b", "a\0b", "x" * 200])
def test_no_name_leads_out_of_the_store(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path / "home")
    (tmp_path / "outside").write_text("not yours")
    with pytest.raises(UsageError, match="no digest"):
        store.has_input(name)
    with pytest.raises(UsageError, match="no digest"):
        store.take_input(store.fresh_input("f"), name)
    store.put_function(name, b"mine")
    assert store.ref_path(name) is None
    store.drop_ref(name)
    assert (tmp_path / "outside").read_text() == "not yours"
    assert {path.name for path in tmp_path.rglob("*")} == {"home", "functions", "inputs", "refs", "outside"}


def test_what_is_kept_is_found_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    assert not store.has_input("a" * 64)
    assert put(store, "a" * 64, b"bytes").read_bytes() == b"bytes"
    assert store.has_input("a" * 64)


def put(store: Store, name: str, data: bytes, used: float | None = None) -> Path:
    fresh = store.fresh_input(name)
    fresh.write_bytes(data)
    path = store.take_input(fresh, name)
    if used is not None:
        os.utime(path, (used, used))
    return path


def test_beyond_its_limit_what_was_used_longest_ago_goes_and_what_is_in_use_stays(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    now = time.time()
    for age, name in enumerate(("newest", "middle", "older", "oldest")):
        put(store, name, b"x" * 100, now - 60 * age)
    assert store.trim(300, {"oldest"}) == ["older"]
    assert store.trim(300, set()) == []
    assert store.has_input("oldest")
    assert store.trim(100, set()) == ["middle", "newest"]


def test_what_nobody_used_for_a_week_goes_and_what_is_being_fetched_does_not(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    put(store, "old", b"x", time.time() - 8 * 86400)
    store.fresh_input("coming").write_bytes(b"xx")
    assert store.trim(0, set()) == ["old"]
    assert len(list((tmp_path / "home" / "inputs").iterdir())) == 1
