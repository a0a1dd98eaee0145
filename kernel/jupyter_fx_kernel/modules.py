"""Modules on both sides: those of the user's own files that a session has, and those that a remote cell imported.

The latter are known here under the same names, and loaded here when they are first used.

A cell that imports a large framework there must not load it into the notebook's kernel as well, which may not even have
it; yet `import numpy as np` above should make `np` known below, as it does in one process.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from jupyter_fx.payload.own import Entry

__all__ = ["LazyModule", "Served", "come_home"]


class Served:
    """Which of the user's own modules a session has, by digest, and the lines that tracebacks of these show."""

    def __init__(self) -> None:
        self._known: dict[str, Entry] = {}

    @property
    def names(self) -> set[str]:
        """The modules that the session has: each cell looks whether one of them was edited."""
        return set(self._known)

    def news(self, needed: Mapping[str, Entry]) -> list[Entry]:
        """Those of `needed` that the session lacks, or has from another source."""
        return [entry for entry in needed.values() if self._digest(entry.name) != entry.digest]

    def edited(self, news: list[Entry]) -> list[str]:
        """The names of those that the session had from another source."""
        return [entry.name for entry in news if self._digest(entry.name) not in {None, entry.digest}]

    def sent(self, news: list[Entry]) -> None:
        """These travelled."""
        self._known.update((entry.name, entry) for entry in news)

    def forget(self) -> None:
        """Nobody knows what arrived."""
        self._known.clear()

    def lines_of(self, file: str) -> list[str] | None:
        """The lines of a module as it travelled."""
        for entry in self._known.values():
            if entry.path == file and entry.source is not None:
                return entry.text.splitlines()
        return None

    def _digest(self, name: str) -> str | None:
        known = self._known.get(name)
        return known.digest if known is not None else None


class LazyModule(ModuleType):
    """Stands for an installed module until one of its attributes is asked for."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)

    def __dir__(self) -> list[str]:
        return dir(importlib.import_module(self.__name__))

    def __reduce__(self) -> tuple[Any, ...]:
        return importlib.import_module, (self.__name__,)

    def __repr__(self) -> str:
        return f"<module {self.__name__!r}, imported by a remote cell, loaded here on first use>"


def come_home(namespace: dict[str, Any], name: str, module: str) -> bool:
    """Bind `name` to the module called `module` in `namespace`; False when this Python does not have it."""
    known = namespace.get(name)
    if isinstance(known, ModuleType) and known.__name__ == module:
        return True
    loaded = sys.modules.get(module)
    if loaded is None and not _installed(module):
        return False
    namespace[name] = loaded if loaded is not None else LazyModule(module)
    return True


def _installed(module: str) -> bool:
    """Whether its top-level package can be found, without importing anything."""
    try:
        return importlib.util.find_spec(module.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return False
