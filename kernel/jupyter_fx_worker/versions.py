"""What values were made with, where that matters to who opens them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jupyter_fx_worker import codes

__all__ = ["difference", "versions"]

_PICKY = ("numpy", "pandas")


def versions() -> dict[str, str]:
    """The versions here of packages whose objects other major versions may not be able to open."""
    loaded = {name: getattr(sys.modules.get(name), "__version__", None) for name in _PICKY}
    return {name: version for name, version in loaded.items() if isinstance(version, str)}


def difference(python: Sequence[int], made: dict[str, str]) -> tuple[str, str] | None:
    """Name what differs between there and here, in two texts; None when nothing that matters does."""
    theirs, ours = [], []
    if list(python) != codes.PYTHON:
        theirs.append("Python " + ".".join(map(str, python)))
        ours.append("Python " + ".".join(map(str, codes.PYTHON)))
    here = versions()
    for name in _PICKY:
        if name in made and name in here and made[name].partition(".")[0] != here[name].partition(".")[0]:
            theirs.append(f"{name} {made[name]}")
        elif name in made or name not in here or not theirs:
            continue
        ours.append(f"{name} {here[name]}")
    return (", ".join(theirs), ", ".join(ours)) if theirs else None
