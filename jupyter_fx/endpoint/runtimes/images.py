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

__all__ = ["HOST", "choose", "form", "is_digest", "is_path", "permitted", "split"]

HOST: Final = frozenset(("", "host"))
"""Names of the environment that is no image."""

_REFERENCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@+-]*\Z")
_DIGEST: Final = re.compile(r"(sha256|blake3|tree):[0-9a-f]{64}\Z")
_SUFFIXES: Final = {".sqfs": "squashfs", ".squashfs": "squashfs", ".squash": "squashfs", ".sif": "sif"}


def split(name: str) -> tuple[str, str]:
    """(runtime or empty, image) of a name. UsageError when it can be no image."""
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
            does = ", ".join(found.kinds)
            raise UsageError(f"{wanted} cannot start {name[:200]!r}, which is a {kind}: it takes a {does}")
        if wanted not in present:
            raise UsageError(f"{wanted} ({found.program}) is not installed where {name[:200]!r} should start")
        return found
    here = next((one for one in fit if one.name in present), None)
    if here is None:
        does = " or ".join(one.name for one in fit)
        raise UsageError(f"nothing here can start {name[:200]!r}, which is a {kind}: it needs {does}")
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
