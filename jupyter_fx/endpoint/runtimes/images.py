"""What a name of an image means: its form, the runtime for it, whether it is allowed. Pure.

A name is `[RUNTIME:]IMAGE`. IMAGE is a path (a directory, a SquashFS or SIF file), a name that one of the endpoint's
image folders has, or a reference in the store of Podman, Docker or Shifter, say `docker.io/library/python:3.12`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final

from jupyter_fx.config import nearest
from jupyter_fx.endpoint.runtimes.command import NAMES, RUNTIMES, Runtime
from jupyter_fx.errors import UsageError

__all__ = ["HEAD", "HOST", "choose", "form", "form_of", "is_digest", "is_path", "permitted", "split"]

HOST: Final = frozenset(("", "host"))
"""Names of the environment that is no image."""

_REFERENCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@+-]*\Z")
_DIGEST: Final = re.compile(r"(sha256|blake3|tree):[0-9a-f]{64}\Z")
_SUFFIXES: Final = {".sqfs": "squashfs", ".squashfs": "squashfs", ".squash": "squashfs", ".sif": "sif"}
HEAD: Final = 1024
"""Bytes at the beginning of a file that tell what it is."""
_MAGIC: Final = (
    (0, b"hsqs", "squashfs"),
    (32, b"SIF_MAGIC", "sif"),
    (31, b"hsqs", "sif"),  # as Singularity 2 made them
    (257, b"ustar", "archive"),
    (0, b"\x1f\x8b", "archive"),
    (0, b"\x28\xb5\x2f\xfd", "archive"),
    (0, b"\xfd7zXZ", "archive"),
    (0, b"BZh", "archive"),
)
_DEFINITION: Final = re.compile(rb"\A(?:\s|#[^\n]*\n)*(?:FROM|ARG|Bootstrap:)\s", re.IGNORECASE)
_NOT: Final = {
    "archive": (
        "an archive: `podman load -i` or `podman import` brings it into a store, or unpack it and name the directory"
    ),
    "definition": (
        "a definition, of which an image is built first: name it as --env (env= of a function), and the endpoint "
        "builds it"
    ),
    "": "no SquashFS and no SIF file, going by how it begins: it may be damaged or incomplete",
}
_CURES: Final = {
    "sif": (
        "install Apptainer there, or unpack it where Apptainer is (`apptainer build --sandbox DIRECTORY FILE`) and "
        "name the directory"
    ),
    "squashfs": "install Charliecloud there, or unpack it (`unsquashfs -d DIRECTORY FILE`) and name the directory",
    "directory": "install Charliecloud or bubblewrap there",
    "reference": "install Podman there, or name a directory, a .sqfs or a .sif file",
}


def split(name: str) -> tuple[str, str]:
    """(runtime or empty, image) of a name. UsageError when it can be no image."""
    if "://" in name and not is_path(name):
        raise UsageError(
            f"{name[:100]!r} is a URL and no image: name what a store there has, as in docker.io/library/python:3.12, "
            "or a directory or file"
        )
    first, mark, rest = name.partition(":")
    runtime, image = (first, rest) if mark and first in NAMES else ("", name)
    if not image or not image.isprintable() or image.startswith("-") or image != image.strip():
        raise UsageError(f"{name[:100]!r} is no image: name a directory, a .sqfs or .sif file, or a reference")
    if not is_path(image) and not _REFERENCE.match(image):
        raise UsageError(f"{name[:100]!r} is no image: a reference looks like docker.io/library/python:3.12")
    return runtime, image


def is_path(image: str) -> bool:
    """Whether it names a place in the file system by itself."""
    return image.startswith(("/", "./", "../", "~"))


def form(image: str, *, directory: bool) -> str:
    """`directory`, `squashfs`, `sif` or `reference`; the last when it is no file's name."""
    if directory:
        return "directory"
    return next((kind for suffix, kind in _SUFFIXES.items() if image.endswith(suffix)), "reference")


def form_of(image: str, head: bytes) -> str:
    """`squashfs` or `sif`, going by the first HEAD bytes of a file. UsageError says what a file is that is no image."""
    kind = next((kind for at, magic, kind in _MAGIC if head[at : at + len(magic)] == magic), "")
    if kind in _CURES:
        return kind
    if not kind and _DEFINITION.match(head):
        kind = "definition"
    raise UsageError(f"{image[:200]!r} is {_NOT[kind]}")


def choose(name: str, kind: str, wanted: str, present: Collection[str]) -> Runtime:
    """The runtime for an image of this form. `wanted`: named by the user or the configuration; `present`: installed.

    UsageError says what there is and what would do.
    """
    fit = [one for one in RUNTIMES if kind in one.kinds]
    if wanted:
        found = next((one for one in RUNTIMES if one.name == wanted), None)
        if found is None:
            raise UsageError(f"there is no container runtime {wanted!r}{nearest(wanted, NAMES)}")
        if found not in fit:
            does = " or a ".join(found.kinds)
            what = f"{wanted} cannot start {name[:200]!r}, which is a {kind}: it takes a {does}"
            takes = " or ".join(one.name for one in fit if one.name in present)
            raise UsageError(f"{what}; {takes} can" if takes else f"{what}; {_CURES[kind]}")
        if wanted not in present:
            raise UsageError(
                f"{wanted} ({found.program}) is not installed where {name[:200]!r} should start: {_CURES[kind]}"
            )
        return found
    here = next((one for one in fit if one.name in present), None)
    if here is None:
        does = " or ".join(one.name for one in fit)
        raise UsageError(f"nothing here can start {name[:200]!r}, which is a {kind}: it needs {does}; {_CURES[kind]}")
    return here


def is_digest(pattern: str) -> bool:
    """Whether an entry of an allow-list is a digest."""
    return bool(_DIGEST.match(pattern))


def permitted(names: Sequence[str], digest: str, allowed: Iterable[str]) -> bool:
    """Whether an allow-list admits an image. An empty list admits all.

    `names`: as it was asked for, and as it was found; `digest`: empty while it is not known. Then an entry that is a
    digest may turn out to be this image's, so it admits for now: ask again when it is known (`"?"` never fits).
    """
    entries = list(allowed)
    if not entries:
        return True
    said = {posixpath.normpath(name) if is_path(name) else name for name in names}
    for entry in entries:
        if is_digest(entry):
            if digest in {"", entry}:
                return True
        elif any(fnmatchcase(name, entry) for name in said):
            return True
    return False
