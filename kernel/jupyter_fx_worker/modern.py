"""Names that moved: what another version of Python or numpy calls otherwise, found under its name here.

numpy 2 keeps its insides in `numpy._core`, numpy 1 in `numpy.core`; Python 3.13 says that a path is made by
`pathlib._local`. The things themselves are the same. Bytecode is not: it is never made from what another version says.
"""

from __future__ import annotations

import importlib
import pickle
import types
from typing import Any

__all__ = ["Unpickler", "knows"]

_MOVED = (("numpy._core", "numpy.core"), ("numpy.core", "numpy._core"), ("pathlib._local", "pathlib"))


def knows(module: str) -> bool:
    """Whether a module of this name, missing here, may be called otherwise."""
    return any(module == old or module.startswith(old + ".") for old, _ in _MOVED)


class Unpickler(pickle.Unpickler):
    """pickle's own, which looks for what it does not find where it used to be, or where it went."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what `module` calls `name`."""
        if (module, name) in (("cloudpickle.cloudpickle", "_builtin_type"), ("types", "CodeType")):
            return _no_bytecode
        try:
            return super().find_class(module, name)
        except ModuleNotFoundError:
            for old, new in _MOVED:
                if module == old or module.startswith(old + "."):
                    return getattr(importlib.import_module(new + module[len(old) :]), name)
            raise


def _no_bytecode(name: str, *_args: Any) -> Any:
    if name != "CodeType":
        return getattr(types, name)
    raise TypeError("it holds the bytecode of another version of Python")
