from __future__ import annotations

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
        store.put_input(name, b"mine")
    store.put_function(name, b"mine")
    assert store.ref_path(name) is None
    store.drop_ref(name)
    assert (tmp_path / "outside").read_text() == "not yours"
    assert {path.name for path in tmp_path.rglob("*")} == {"home", "functions", "inputs", "refs", "outside"}


def test_what_is_kept_is_found_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    assert not store.has_input("a" * 64)
    assert store.put_input("a" * 64, b"bytes").read_bytes() == b"bytes"
    assert store.has_input("a" * 64)
