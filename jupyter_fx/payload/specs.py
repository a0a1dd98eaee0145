"""Specifications of environments (requirements.txt, pylock.toml, what `%fx env freeze` wrote), and of images."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from jupyter_fx.errors import UsageError
from jupyter_fx.payload import definitions
from jupyter_fx_worker import specenvs

__all__ = ["BuildError", "Recipe", "build", "name_of", "read", "recipe"]

BuildError = specenvs.BuildError
build = specenvs.build

_MOST: Final = 1 << 20
"""Bytes of a specification."""
_HERE: Final = re.compile(
    r"-[rcef]|--(requirement|constraint|editable|find-links)\b|\.{1,2}/|/|~|file:|[\w.\[\], -]+@\s*file:"
)
_IMAGE: Final = re.compile(r"([ \t]*(#[^\n]*)?\n)*[ \t]*(FROM\s|Bootstrap:)", re.IGNORECASE)
_OTHERS: Final = {
    "uv.lock": "`uv export --format requirements-txt --no-emit-project > requirements.txt`",
    "poetry.lock": "`poetry export > requirements.txt`",
    "Pipfile.lock": "`pipenv requirements > requirements.txt`",
    "pyproject.toml": "`uv pip compile pyproject.toml -o requirements.txt`",
    "environment.yml": "a Dockerfile that has conda make it, or an image that has it (--image)",
    "environment.yaml": "a Dockerfile that has conda make it, or an image that has it (--image)",
}


class Recipe(NamedTuple):
    """How to have an environment. `name`: as tasks ask for it; `what`: for people; `build(*args)`: what makes it."""

    name: str
    what: str
    build: Callable[..., Any]
    args: tuple[Any, ...]


def recipe(file: str | Path) -> Recipe:
    """That of a specification or of an image's definition. UsageError says what cannot travel or be built."""
    if definitions.is_definition(file):
        sent = definitions.read(file)
        return Recipe(definitions.name_of(sent), "image", definitions.build, tuple(sent))
    text = read(file)
    return Recipe(name_of(text), "environment", build, (text,))


def name_of(text: str) -> str:
    """The environment's name, as tasks ask for it."""
    return "env:" + specenvs.name_of(text)


def read(file: str | Path) -> str:
    """What a specification says, without comments and empty lines. UsageError says what cannot travel or be built."""
    path = Path(file).expanduser()
    if other := _OTHERS.get(path.name):
        raise UsageError(f"{path.name} is no list of requirements: use {other}")
    try:
        data = _bytes_of(path)
        # Windows begins a text with a mark that pip passes over, too.
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise UsageError(f"{file} is no text in UTF-8: name a requirements.txt or a pylock.toml") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None
    if path.suffix == ".toml":
        if not re.search(r"^lock-version\s*=", text, re.MULTILINE):
            raise UsageError(f"{path.name} is no lock file: a pylock.toml begins with its lock-version")
        return text
    if _IMAGE.match(text):
        raise UsageError(
            f"{path.name} reads like the definition of an image: call it {path.stem}.Dockerfile or NAME.def"
        )
    lines: list[str] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"(^|\s)#.*", "", raw).strip()
        if not line:
            continue
        if _HERE.match(line):
            raise UsageError(
                f"{path.name}, line {number}: {line[:100]!r} names a file of this machine, which does not travel: "
                "write what is in it, or use `uv pip compile` to make one list"
            )
        lines.append(line)
    if not lines:
        raise UsageError(f"{path.name} names no package")
    return "\n".join(lines) + "\n"


def _bytes_of(path: Path) -> bytes:
    """What stands in a file, as long as that may be a specification."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(_MOST + 1) if size <= _MOST else b""
    if max(size, len(data)) > _MOST:
        has = f"{size:,} bytes" if size > _MOST else f"more than {_MOST:,} bytes"
        raise UsageError(f"{path} has {has}, and no specification has more than {_MOST:,}")
    return data
