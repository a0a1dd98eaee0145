"""Completion and inspection where there is no IPython. Nothing of the user's is run: no property, no `__getattr__`."""

from __future__ import annotations

import builtins
import inspect
import keyword
import re
import types
from typing import Any

__all__ = ["complete", "find", "tell"]

_PATH = re.compile(r"(?:[^\W\d]\w*\.)*(?:[^\W\d]\w*)?$")
_NOTHING = object()


def complete(namespace: dict[str, Any], code: str, at: int) -> tuple[int, list[list[str]]]:
    """Return where the last word before `at` starts, and [text, type] of each way to complete it."""
    match = _PATH.search(code[:at])
    path = match.group() if match else ""
    before, _, word = path.rpartition(".")
    start = at - len(word)
    if not before and start and code[start - 1] == ".":
        # An attribute of something that is no name: only running it would tell.
        return start, []
    if before:
        value = find(namespace, before)
        names = set() if value is _NOTHING else set(_attributes(value))
    else:
        names = {*namespace, *dir(builtins), *keyword.kwlist}
    hidden = not word.startswith("_")
    found = sorted(name for name in names if name.startswith(word) and not (hidden and name.startswith("_")))
    return start, [[name, _kind(namespace, before, name)] for name in found]


def _kind(namespace: dict[str, Any], before: str, name: str) -> str:
    value = find(namespace, f"{before}.{name}" if before else name)
    if isinstance(value, type):
        return "class"
    if isinstance(value, types.ModuleType):
        return "module"
    return "function" if inspect.isroutine(value) else "keyword" if keyword.iskeyword(name) else "instance"


def find(namespace: dict[str, Any], path: str) -> Any:
    """Return what a dotted path names as far as that can be told without running anything, else NOTHING."""
    first, *rest = path.split(".")
    value: Any = namespace.get(first, getattr(builtins, first, _NOTHING))
    for name in rest:
        if value is _NOTHING:
            return _NOTHING
        value = inspect.getattr_static(value, name, _NOTHING)
        if isinstance(value, (property, types.GetSetDescriptorType, types.MemberDescriptorType)):
            return _NOTHING
        if isinstance(value, (staticmethod, classmethod)):
            value = value.__func__
    return value


def _attributes(value: Any) -> list[str]:
    names = set(dir(type(value)))
    if isinstance(value, type):
        names |= set(type.__dir__(value))
    elif isinstance(value, types.ModuleType):
        names = set(value.__dict__)
    else:
        names |= set(getattr(value, "__dict__", ()) if not hasattr(type(value), "__getattr__") else ())
    return list(names)


def tell(namespace: dict[str, Any], code: str, at: int, detail: int) -> dict[str, str]:
    """Return signature, docstring and (with `detail`) source of the dotted name at position `at`, as text/plain."""
    end = at
    while end < len(code) and (code[end].isalnum() or code[end] == "_"):
        end += 1
    match = _PATH.search(code[:end].rstrip("("))
    path = match.group() if match else ""
    value: Any = find(namespace, path) if path else _NOTHING
    if value is _NOTHING:
        return {}
    lines = [f"Type: {type(value).__qualname__}"]
    if callable(value):
        try:
            lines.insert(0, f"Signature: {path}{inspect.signature(value)}")
        except (TypeError, ValueError):
            pass
    if detail:
        try:
            lines += ["Source:", inspect.getsource(value)]
        except (OSError, TypeError):
            detail = 0
    doc = inspect.getdoc(value) if not detail else None
    if doc:
        lines += ["Docstring:", doc]
    return {"text/plain": "\n".join(lines)}
