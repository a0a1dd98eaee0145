"""Which hub a server uses: a choice that cannot be kept is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_fx import paths
from jupyter_fx.client import logins
from jupyter_fx.errors import FxError
from jupyter_fx.server.choice import Choice


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JUPYTER_FX_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setattr(logins, "sign_in", lambda _address, _token: "ann")
    paths.config_dir().mkdir(parents=True, exist_ok=True)
    return paths.config_dir() / "server-hub"


def test_a_chosen_hub_is_kept_and_left(file: Path) -> None:
    environ = {"JUPYTER_FX_HUB": "https://configured", "JUPYTER_FX_TOKEN": "for that one"}
    choice = Choice(environ)
    assert choice.sign_in("https://chosen", "secret") == "ann"
    assert (environ, choice.where) == ({"JUPYTER_FX_HUB": "https://chosen"}, "chosen")
    assert Choice({}).where == "chosen"
    assert "secret" not in file.read_text()
    choice.leave(forget=False)
    assert environ == {"JUPYTER_FX_HUB": "https://configured", "JUPYTER_FX_TOKEN": "for that one"}
    assert Choice({}).where == "own"


def test_one_that_cannot_be_kept_leaves_everything_as_it_was(file: Path) -> None:
    file.mkdir()
    environ = {"JUPYTER_FX_HUB": "https://configured", "JUPYTER_FX_TOKEN": "for that one"}
    before, choice = dict(environ), Choice(environ)
    with pytest.raises(FxError, match=r"cannot be kept in .*server-hub"):
        choice.sign_in("https://chosen", "secret")
    assert (environ, choice.where) == (before, "configured")


def test_a_file_that_says_nothing_readable_chooses_nothing(file: Path) -> None:
    file.write_bytes(b"\xff\xfe")
    assert Choice({}).where == "own"
