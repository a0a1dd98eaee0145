from __future__ import annotations

import os
from pathlib import Path

import pytest

from jupyter_fx.auth.sources import find_token, sources_for
from jupyter_fx.errors import AuthError, ConfigError


def secret(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_environment_comes_before_a_file_and_a_file_before_the_hubs(tmp_path: Path) -> None:
    environ = {"JUPYTER_FX_TOKEN": "env", "JUPYTER_FX_TOKEN_FILE": str(secret(tmp_path / "t", "file\n"))}
    hub_file = secret(tmp_path / "hub.json", '{"token": "hub"}')
    assert find_token(sources_for("", hub_file=hub_file, environ=environ)) == "env"
    del environ["JUPYTER_FX_TOKEN"]
    assert find_token(sources_for("", hub_file=hub_file, environ=environ)) == "file"
    assert find_token(sources_for("", hub_file=hub_file, environ={})) == "hub"


def test_the_token_of_jupyterhub_goes_to_the_hub_of_its_environment_only() -> None:
    environ = {"JUPYTER_FX_HUB": "https://hub.example/services/jfx", "JUPYTERHUB_API_TOKEN": "key to everything"}
    assert find_token(sources_for("https://hub.example/services/jfx", environ=environ)) == "key to everything"
    with pytest.raises(AuthError, match=r"no token was found in \$JUPYTER_FX_TOKEN"):
        find_token(sources_for("https://elsewhere.example", environ=environ))


@pytest.mark.skipif(os.name == "nt", reason="no modes there")
def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    environ = {"JUPYTER_FX_TOKEN_FILE": str(secret(tmp_path / "t", "file", 0o640))}
    with pytest.raises(ConfigError, match="chmod 600"):
        find_token(sources_for("wss://hub", environ=environ))


def test_files_that_hold_no_token(tmp_path: Path) -> None:
    with pytest.raises(AuthError):
        find_token(sources_for("wss://hub", environ={"JUPYTER_FX_TOKEN_FILE": str(tmp_path / "none")}))
    with pytest.raises(ConfigError, match=r"no hub\.json"):
        find_token(sources_for("", hub_file=secret(tmp_path / "hub.json", "[]"), environ={}))
    with pytest.raises(ConfigError, match="look like a file"):
        find_token(
            sources_for("wss://hub", environ={"JUPYTER_FX_TOKEN_FILE": str(secret(tmp_path / "b", "x" * 70000))})
        )
