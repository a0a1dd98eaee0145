"""Modules that a remote cell imported: known here under the same names, loaded here when they are first used.

A cell that imports a large framework there must not load it into the notebook's kernel as well, which may not even have
it; yet `import numpy as np` above should make `np` known below, as it does in one process.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

__all__ = ["LazyModule", "come_home"]


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
