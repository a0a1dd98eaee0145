"""Values in a few words, without asking much of them: for cards, lists and sentences."""

from __future__ import annotations

import dataclasses
import enum
import functools
import itertools
import reprlib
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from jupyter_fx.ids import short_id
from jupyter_fx.payload.functions import name_of
from jupyter_fx_worker.frames_told import is_secret

__all__ = ["brief", "brief_call", "summary"]

_PLAIN: Final = frozenset((int, float, bool, complex, type(None), str, bytes, range, list, tuple, dict, set, frozenset))
_TELLING: Final = frozenset(("datetime", "decimal", "fractions", "pathlib", "uuid"))
"""Modules whose values have short reprs."""
_WHOLE: Final = (set, frozenset, bytes)
_WHOLE_MAX: Final = 1000
"""Up to how many items the first few of these are shown: all of them would be put in order, or copied, for that."""
_ARGUMENT: Final = 80
_CALL: Final = 160
"""Characters of an argument, and of a call."""


def summary(value: Any) -> str:
    """Say in a few words what `value` is: `ndarray (1797, 64) float64`, `function`, `module numpy`."""
    if isinstance(value, types.ModuleType):
        return f"module {value.__name__}"
    words = [type(value).__name__]
    shape, dtype = _read(value, "shape"), _read(value, "dtype")
    if isinstance(shape, tuple):
        words.append(str(shape))
    elif isinstance(value, list | tuple | dict | set | frozenset | str | bytes):
        words.append(f"of {len(value)}")
    if dtype is not None and not callable(dtype):
        words.append(str(dtype))
    return " ".join(words)


def _read(value: Any, name: str) -> Any:
    try:
        return getattr(value, name, None)
    except Exception:  # noqa: BLE001 - a property of a user's class may raise anything
        return None


class _Brief(reprlib.Repr):
    """`repr` of what has a short one that costs nothing, also in containers and dataclasses; of other things what
    they are: a data frame takes milliseconds for its own."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxstring = self.maxother = self.maxlong = _ARGUMENT
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = 6

    def repr1(self, x: Any, level: int) -> str:
        """`x` in short, with `level` more levels of what it contains."""
        kind = type(x)
        if kind in _PLAIN and not (kind in _WHOLE and len(x) > _WHOLE_MAX):
            return super().repr1(x, level)
        telling = isinstance(x, enum.Enum) or kind.__module__.partition(".")[0] in _TELLING
        if telling or (kind.__module__ == "numpy" and _read(x, "shape") == ()):
            return self.repr_instance(x, level)
        if getattr(kind, "_fx_handle_", False):
            # What stands for something elsewhere must not be asked for it.
            task = vars(x).get("task_id") if hasattr(x, "__dict__") else None
            return f"<{kind.__name__} {short_id(task)}>" if isinstance(task, str) else f"<{kind.__name__}>"
        if isinstance(x, types.FunctionType | types.BuiltinFunctionType | type):
            return x.__name__
        if dataclasses.is_dataclass(x):
            told = ((f"{field.name}=", field.name, getattr(x, field.name)) for field in dataclasses.fields(x))
            return f"{kind.__name__}({self._told(told, level)})"
        return f"<{summary(x)}>"

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        """The first items, in their order."""
        return f"{{{self._told(((f'{self.repr1(k, level - 1)}: ', str(k), v) for k, v in x.items()), level)}}}"

    def _told(self, entries: Any, level: int) -> str:
        if level <= 0:
            return "..."
        first = list(itertools.islice(entries, self.maxdict + 1))
        told = [
            f"{shown}{_HIDDEN if is_secret(name) else self.repr1(value, level - 1)}"
            for shown, name, value in first[: self.maxdict]
        ]
        return ", ".join([*told, *(["..."] if len(first) > self.maxdict else [])])


_HIDDEN: Final = "<not shown>"
"""Cards are kept with the notebook: what is called a password or a token is no part of them."""
_brief = _Brief()


def brief(value: Any) -> str:
    """`value` in at most 80 characters: its `repr` where that costs next to nothing, else what it is."""
    try:
        return _cut(_brief.repr(value), _ARGUMENT)
    except Exception:  # noqa: BLE001 - whatever the user's class does
        return f"<{type(value).__name__}>"


def brief_call(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """`train(3, rate=0.1)`, in at most 160 characters. What is called a password or a token is left out."""
    names = itertools.chain(_parameters(function), itertools.repeat(""))
    told = [_HIDDEN if is_secret(name) else brief(value) for name, value in zip(names, args, strict=False)]
    told += [f"{name}={_HIDDEN if is_secret(name) else brief(value)}" for name, value in kwargs.items()]
    return _cut(f"{name_of(function)}({', '.join(told)}", _CALL - 1) + ")"


def _parameters(function: Any) -> tuple[str, ...]:
    """What positional arguments are called there, as far as that is known without importing or running anything."""
    given = 0
    if isinstance(function, functools.partial):
        function, given = function.func, len(function.args)
    if isinstance(function, types.MethodType):
        function, given = function.__func__, given + 1
    code = getattr(getattr(function, "__wrapped__", function), "__code__", None)
    return code.co_varnames[given : code.co_argcount] if isinstance(code, types.CodeType) else ()


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
