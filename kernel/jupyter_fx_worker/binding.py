"""Functions of a session share the session's namespace: rebuild one so that its globals are that namespace.

A cloudpickled function gets globals of its own, so that `global x` writes vanish and later assignments are not seen.
Both sides therefore send such functions without globals (`unbound`) and bind them on arrival (`bind`).
"""

from __future__ import annotations

import types
from typing import Any

__all__ = ["bind", "unbound"]


def bind(function: Any, namespace: dict[str, Any]) -> Any:
    """Return `function` with `namespace` as its globals.

    Anything that is not a plain Python function comes back as it is.
    """
    if not isinstance(function, types.FunctionType):
        return function
    bound = types.FunctionType(
        function.__code__, namespace, function.__name__, function.__defaults__, function.__closure__
    )
    bound.__kwdefaults__ = function.__kwdefaults__
    bound.__qualname__ = function.__qualname__
    bound.__doc__ = function.__doc__
    bound.__annotations__ = dict(function.__annotations__)
    bound.__dict__.update(function.__dict__)
    bound.__module__ = namespace.get("__name__", function.__module__)
    return bound


def unbound(function: types.FunctionType) -> types.FunctionType:
    """Return `function` with empty globals, so that pickling it takes nothing of the namespace along."""
    name = function.__globals__.get("__name__", "__main__")
    copy: types.FunctionType = bind(function, {"__name__": name})
    return copy
