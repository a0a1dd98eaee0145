"""Definitions of images (Dockerfile, Containerfile, NAME.def), with the files that they copy: what travels to be built.

Only what COPY, ADD and %files name travels, less what a .dockerignore excludes, and only so much of it; that is found
out before anything is read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from jupyter_fx.errors import UsageError
from jupyter_fx_worker import definitions, imagebuilds

__all__ = ["PREFIX", "Sent", "build", "is_definition", "name_of", "read"]

_Ignored: TypeAlias = list[tuple[bool, re.Pattern[str]]]
PREFIX: Final = "built:"

build = imagebuilds.build

_MOST: Final = 256 << 10
"""Bytes of a definition."""
_MOST_BYTES: Final = 16 << 20
_MOST_FILES: Final = 1000
_NAMED: Final = re.compile(r"(Dockerfile|Containerfile)(\..+)?\Z|.+\.(dockerfile|containerfile|def)\Z", re.IGNORECASE)


class Sent(NamedTuple):
    """What is sent. `files`: path below the definition's folder, whether it can be executed, content."""

    kind: str
    text: str
    file: str
    files: list[tuple[str, bool, bytes]]


def is_definition(file: str | Path) -> bool:
    """Whether a file is named as definitions of images are."""
    return bool(_NAMED.match(Path(file).name))


def name_of(sent: Sent) -> str:
    """The image's name, as tasks ask for it."""
    return PREFIX + imagebuilds.name_of(sent.kind, sent.text, sent.files)


def read(file: str | Path) -> Sent:
    """A definition and what it copies. UsageError says what cannot be built or cannot travel, and in which line."""
    path = Path(file).expanduser()
    try:
        with path.open("rb") as opened:
            data = opened.read(_MOST + 1)
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise UsageError(f"{file} is no text in UTF-8, and no definition of an image") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None
    if len(data) > _MOST:
        raise UsageError(f"{file} has more than {_MOST:,} bytes, and no definition of an image has")
    kind = definitions.DEF if path.suffix == ".def" else definitions.DOCKERFILE
    try:
        definition = definitions.parse(kind, text)
        folder = path.parent.resolve()
        chosen: dict[str, Path] = {}
        size = 0
        ignored = _ignored(path) if definition.copies else []
        for copy in definition.copies:
            for inside, one in _found(copy, folder, ignored):
                size += one.stat().st_size if inside not in chosen else 0
                chosen[inside] = one
                if size > _MOST_BYTES or len(chosen) > _MOST_FILES:
                    raise definitions.DefinitionError(
                        f"what is copied, up to {copy.source}, has more than {_MOST_FILES:,} files or "
                        f"{_MOST_BYTES >> 20} MiB, which is what travels with a definition: name single files, exclude "
                        "others by a .dockerignore beside it, or have large data at the endpoint (c.Containers.data)",
                        copy.line,
                    )
    except definitions.DefinitionError as error:
        raise UsageError(f"{path.name}{f', line {error.line}' if error.line else ''}: {error}") from None
    except OSError as error:
        raise UsageError(f"{path.name}: {error.filename} cannot be read: {error.strerror}") from None
    return Sent(kind, text, path.name, [_content(path, inside, one) for inside, one in sorted(chosen.items())])


def _content(path: Path, inside: str, file: Path) -> tuple[str, bool, bytes]:
    try:
        with file.open("rb") as opened:
            data = opened.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path.name}: {inside} cannot be read: {error.strerror}") from None
    if len(data) > _MOST_BYTES:
        raise UsageError(f"{path.name}: {inside} grows while it is read")
    return inside, os.access(file, os.X_OK), data


def _found(copy: definitions.Copy, folder: Path, ignored: _Ignored) -> Iterator[tuple[str, Path]]:
    """The files that a source names, each with its path below the folder."""
    source = copy.source.lstrip("/") if copy.source.startswith("/") else copy.source
    parts = [part for part in source.split("/") if part not in {"", "."}]
    if ".." in parts or copy.source.startswith("~"):
        raise definitions.DefinitionError(
            f"{copy.source} is outside of {folder}, the definition's folder, from which alone files travel", copy.line
        )
    pattern = "/".join(parts)
    tops = sorted(folder.glob(pattern)) if parts and re.search(r"[*?\[]", pattern) else [folder / pattern]
    any_found = False
    for top in tops:
        for one in _below(top):
            inside = one.relative_to(folder).as_posix()
            if _is_ignored(inside, ignored):
                continue
            if not one.resolve().is_relative_to(folder):
                raise definitions.DefinitionError(f"{inside} is a link to a file outside of {folder}", copy.line)
            any_found = True
            yield inside, one
    if not any_found:
        raise definitions.DefinitionError(
            f"there is no {copy.source} in {folder}, the definition's folder, or a .dockerignore excludes it", copy.line
        )


def _below(top: Path) -> Iterator[Path]:
    if top.is_file():
        yield top
    for where, folders, files in os.walk(top):
        folders.sort()
        for name in sorted(files):
            if (one := Path(where, name)).is_file():
                yield one


def _ignored(definition: Path) -> _Ignored:
    """What a .dockerignore says: whether a pattern brings files back, and the pattern."""
    found: _Ignored = []
    for name in (".containerignore", ".dockerignore"):
        if (file := definition.parent / name).is_file():
            for raw in file.read_text(errors="replace").splitlines():
                line = raw.strip()
                if line and not line.startswith("#"):
                    back = line.startswith("!")
                    found.append((back, _pattern(line.lstrip("!").strip().strip("/"))))
            break
    return found


def _pattern(text: str) -> re.Pattern[str]:
    said = ""
    for part in re.split(r"(\*\*/|\*\*|\*|\?)", text.removeprefix("./")):
        said += {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(part, re.escape(part))
    return re.compile(f"{said}(/.*)?\\Z")


def _is_ignored(inside: str, ignored: _Ignored) -> bool:
    hidden = False
    for back, pattern in ignored:
        if pattern.match(inside):
            hidden = not back
    return hidden
