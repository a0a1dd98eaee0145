"""A bad Python for the workers is found when the endpoint starts, and said in one sentence."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from jupyter_fx.endpoint.interpreter import check_python
from jupyter_fx.errors import ConfigError


def program(folder: Path, text: str) -> str:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_python_that_works_is_taken(tmp_path: Path) -> None:
    assert check_python(sys.executable, tmp_path / "config.py") == sys.executable


def test_a_name_is_looked_for_in_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    program(tmp_path, "echo 3 12")
    assert check_python("python", tmp_path / "config.py") == str(tmp_path / "python")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo 3 8", r"is Python 3\.8, and workers need 3\.9 or newer"),
        ("echo No module named _ctypes >&2; exit 1", "does not work as a Python: No module named _ctypes"),
        ("exit 3", "does not work as a Python: it ended with status 3"),
        ("echo hello", "does not work as a Python"),
        ("exec sleep 60", r"did not start within 0\.2 s"),
    ],
)
def test_one_that_does_not_is_refused(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        check_python(program(tmp_path, text), tmp_path / "config.py", within=0.2 if "sleep" in text else 20)


def test_file_and_line_of_the_setting_are_named(tmp_path: Path) -> None:
    config = tmp_path / "config.py"
    config.write_text("c = get_config()\nc.Endpoint.python = '/no/such'\n")
    with pytest.raises(
        ConfigError, match=r"config\.py, line 2: c\.Endpoint\.python = '/no/such': there is no such file"
    ):
        check_python("/no/such", config)


def test_a_folder_is_not_a_python(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="bin/python in it"):
        check_python(str(tmp_path), tmp_path / "config.py")
