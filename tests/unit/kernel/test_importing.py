"""Values that come home beside a cell are opened between its imports."""

from __future__ import annotations

import importlib
import threading
from pathlib import Path

import pytest

from jupyter_fx_kernel.importing import wait_for_imports


def test_what_is_opened_beside_an_import_waits_for_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fx_slow_import.py").write_text("import threading\nbegun.set()\nheld.wait(0.3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    begun, ended, order = threading.Event(), threading.Event(), []
    monkeypatch.setattr("builtins.begun", begun, raising=False)
    monkeypatch.setattr("builtins.held", threading.Event(), raising=False)

    def opens() -> None:
        begun.wait(30)
        wait_for_imports()
        order.append("opened")
        ended.set()

    threading.Thread(target=opens, daemon=True).start()
    importlib.import_module("fx_slow_import")
    order.append("imported")
    assert ended.wait(30)
    assert order == ["imported", "opened"]


def test_an_import_that_waits_for_it_holds_it_up_for_a_while_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fx_waiting_import.py").write_text("assert opened.wait(30)\n")
    monkeypatch.syspath_prepend(tmp_path)
    opened = threading.Event()
    monkeypatch.setattr("builtins.opened", opened, raising=False)
    threading.Thread(target=lambda: (wait_for_imports(0.1), opened.set()), daemon=True).start()
    importlib.import_module("fx_waiting_import")
