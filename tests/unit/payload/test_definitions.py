"""Which files travel with a definition, and which do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_fx.errors import UsageError
from jupyter_fx.payload import definitions, specs


def put(folder: Path, text: str, name: str = "Dockerfile") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_what_is_copied_travels_and_names_the_image_with_it(tmp_path: Path) -> None:
    (tmp_path / "src" / "deep").mkdir(parents=True)
    (tmp_path / "src" / "deep" / "a.py").write_text("a = 1\n")
    (tmp_path / "src" / "b.pyc").write_text("")
    (tmp_path / "src" / "keep.pyc").write_text("")
    (tmp_path / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / ".dockerignore").write_text("# made\n**/*.pyc\n!src/keep.pyc\n")
    file = put(tmp_path, "FROM x\nCOPY src *.sh /opt/\n")
    sent = definitions.read(file)
    assert [(path, runs) for path, runs, _ in sent.files] == [
        ("run.sh", True),
        ("src/deep/a.py", False),
        ("src/keep.pyc", False),
    ]
    name = definitions.name_of(sent)
    assert specs.recipe(file).name == name
    (tmp_path / "src" / "deep" / "a.py").write_text("a = 2\n")
    assert definitions.name_of(definitions.read(file)) != name


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("FROM x\nCOPY nothing /\n", r"Dockerfile, line 2: there is no nothing in .*, the definition's folder"),
        ("FROM x\nCOPY ../secret /\n", r"line 2: \.\./secret is outside of "),
        ("FROM x\nRUN true\nCOPY out /\n", r"line 3: out is a link to a file outside of "),
        (
            "FROM x\nCOPY large /\n",
            r"line 2: .*, up to large, has more than 1,000 files or 16 MiB.*\.dockerignore",
        ),
        ("FROM x\nCOPY many /\n", r"line 2: what is copied, up to many, has more than 1,000 files"),
        ("FORM x\n", r"line 1: there is no instruction 'FORM': did you mean FROM\?"),
    ],
)
def test_what_cannot_travel_is_refused_with_its_line(tmp_path: Path, text: str, why: str) -> None:
    folder = tmp_path / "mine"
    (folder / "many").mkdir(parents=True)
    (tmp_path / "secret").write_text("")
    (folder / "out").symlink_to(tmp_path / "secret")
    with (folder / "large").open("wb") as file:
        file.truncate(1 << 40)  # more than there is memory
    for n in range(1001):
        (folder / "many" / str(n)).touch()
    with pytest.raises(UsageError, match=why):
        definitions.read(put(folder, text))


def test_a_file_that_is_no_definition_says_so(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_bytes(b"FROM \xff\n")
    with pytest.raises(UsageError, match="no text in UTF-8"):
        definitions.read(tmp_path / "Dockerfile")
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        definitions.read(tmp_path / "Containerfile")
    (tmp_path / "Dockerfile").write_text("FROM x\n" + "#" * (300 << 10))
    with pytest.raises(UsageError, match="no definition of an image has"):
        definitions.read(tmp_path / "Dockerfile")


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("Dockerfile", True),
        ("docker/Containerfile.gpu", True),
        ("gpu.Dockerfile", True),
        ("torch.def", True),
        ("requirements.txt", False),
        ("torch.sif", False),
        ("docker.io/library/python:3.12", False),
    ],
)
def test_definitions_are_known_by_their_names(name: str, is_one: bool) -> None:
    assert definitions.is_definition(name) == is_one


def test_one_under_another_name_is_told_what_to_be_called(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"x\.txt reads like the definition of an image: call it x\.Dockerfile"):
        specs.recipe(put(tmp_path, "# mine\n\nFROM python:3.12\n", "x.txt"))
    with pytest.raises(UsageError, match="names no package"):
        specs.recipe(put(tmp_path, "\n" * 100_000, "y.txt"))
