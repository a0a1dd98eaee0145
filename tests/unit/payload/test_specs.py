"""Specifications of environments, as files say them."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_fx.errors import UsageError
from jupyter_fx.payload import specs


def test_comments_and_empty_lines_make_no_other_environment(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(
        "# What the notebook uses, as it was with Python 3.11.7\nnumpy==2.1  # arrays\n\nsix\n"
    )
    (tmp_path / "b.txt").write_text("numpy==2.1\nsix\n")
    texts = [specs.read(tmp_path / name) for name in ("a.txt", "b.txt")]
    assert texts == ["numpy==2.1\nsix\n"] * 2
    assert specs.name_of(texts[0]).startswith("env:")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("r.txt", "numpy\n-r base.txt\n", "r.txt, line 2: '-r base.txt' names a file of this machine"),
        ("r.txt", "-e .\n", "does not travel"),
        ("r.txt", "./wheels/a.whl\n", "does not travel"),
        ("r.txt", "# nothing\n", "names no package"),
        ("uv.lock", "", "uv export"),
        ("environment.yml", "", "--image"),
        ("pyproject.toml", "", "uv pip compile"),
        ("other.toml", "a = 1\n", "lock-version"),
    ],
)
def test_what_cannot_be_built_elsewhere_is_refused_here(tmp_path: Path, name: str, text: str, says: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=says):
        specs.read(tmp_path / name)


def test_a_file_that_is_not_there_or_no_text_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        specs.read(tmp_path / "missing.txt")
    (tmp_path / "r.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="no text in UTF-8"):
        specs.read(tmp_path / "r.txt")
