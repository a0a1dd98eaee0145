"""Specifications of environments: requirements.txt, pylock.toml, what `%fx env freeze` wrote."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from jupyter_fx.errors import UsageError
from jupyter_fx_worker import specenvs

__all__ = ["BuildError", "build", "name_of", "read"]

BuildError = specenvs.BuildError
build = specenvs.build

_MOST: Final = 1 << 20
_HERE: Final = re.compile(r"(-r|--requirement|-c|--constraint|-e|--editable|-f|--find-links)\b|\.{1,2}/|/|~|file:")
_OTHERS: Final = {
    "uv.lock": "uv export --format requirements-txt --no-emit-project > requirements.txt",
    "poetry.lock": "poetry export > requirements.txt",
    "Pipfile.lock": "pipenv requirements > requirements.txt",
    "pyproject.toml": "uv pip compile pyproject.toml -o requirements.txt",
    "environment.yml": "an image made by conda, and --image",
    "environment.yaml": "an image made by conda, and --image",
}


def name_of(text: str) -> str:
    """The environment's name, as tasks ask for it."""
    return "env:" + specenvs.name_of(text)


def read(file: str | Path) -> str:
    """What a specification says, without comments and empty lines. UsageError says what cannot travel or be built."""
    path = Path(file).expanduser()
    if other := _OTHERS.get(path.name):
        raise UsageError(f"{path.name} is no list of requirements: use `{other}`")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{file} is no text in UTF-8: name a requirements.txt or a pylock.toml") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None
    if len(text) > _MOST:
        raise UsageError(f"{file} has {len(text):,} characters, and no specification has more than {_MOST:,}")
    if path.suffix == ".toml":
        if not re.search(r"^lock-version\s*=", text, re.MULTILINE):
            raise UsageError(f"{path.name} is no lock file: a pylock.toml begins with its lock-version")
        return text
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
