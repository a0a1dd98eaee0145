"""What an environment is like, told without importing anything of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from jupyter_fx_worker import inventory


def test_packages_are_told_by_their_import_names():
    told = inventory.describe([("numpy", "numpy"), ("sklearn", "scikit-learn"), ("nope", ""), ("json", "")])
    assert told["python"] == list(sys.version_info[:3])
    assert told["packages"]["numpy"][1] == pytest.importorskip("numpy").__version__
    assert told["packages"]["sklearn"][0] == "scikit-learn"
    assert told["packages"]["nope"] == ["nope", None]
    assert told["packages"]["json"] == ["json", ""]
    assert "all" not in told
    assert "numpy" in inventory.describe([], everything=True)["all"]


def test_what_is_known_already_is_not_told_again(monkeypatch, tmp_path):
    known = inventory.describe([])["digest"]
    assert inventory.describe([], known=known) == {"digest": known}
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert "python" in inventory.describe([], known=known)


def test_nothing_is_imported_for_it():
    code = (
        "import sys; from jupyter_fx_worker import inventory; inventory.describe([('numpy', ''), ('pandas', '')]); "
        "assert not {'numpy', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
