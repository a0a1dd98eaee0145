"""Specifications of environments, as files say them."""

from __future__ import annotations

import sys
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
        ("r.txt", "-rbase.txt\n", "does not travel"),
        ("r.txt", "mine @ file:///home/ann/mine\n", "does not travel"),
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


def test_a_file_that_windows_wrote_is_the_same_specification(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_bytes(b"\xef\xbb\xbfnumpy==2.1\r\nsix\r\n")
    assert specs.read(tmp_path / "r.txt") == "numpy==2.1\nsix\n"


@pytest.mark.skipif(sys.platform == "win32", reason="has no such files")
def test_no_more_is_read_than_a_specification_may_have(tmp_path: Path) -> None:
    """Of a file that never ends, too: here nobody could tell by its size."""
    with pytest.raises(UsageError, match="has more than 1,048,576 bytes"):
        specs.read("/dev/zero")


def test_a_large_file_is_refused_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "r.txt"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UsageError, match="1,099,511,627,776 bytes"):
        specs.read(path)
