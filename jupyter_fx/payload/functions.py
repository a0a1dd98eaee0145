"""Functions on their way out: bytes, digest, and an identity that follows the source.

cloudpickle's bytes are not stable from one run to the next, so the digest of the bytes says only what to send once.
What says "the same code" is `version` in the envelope's header: the normalised source, what the closure holds, and the
packages.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import textwrap
import time
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jupyter_fx.digest import digest, digest_parts
from jupyter_fx.errors import PayloadError, UsageError
from jupyter_fx.payload import own
from jupyter_fx.payload.diagnose import diagnose
from jupyter_fx.payload.values import join
from jupyter_fx.protocol.limits import BLOB_MAX, NAME_MAX
from jupyter_fx_worker import envelope

__all__ = ["EncodedFunction", "encode_function", "normalised_source", "version_of"]


class EncodedFunction(NamedTuple):
    """A function as it travels: BLAKE3 of its envelope, the envelope, its display name."""

    digest: str
    payload: bytes
    name: str


class _Cached(NamedTuple):
    function: weakref.ref[types.FunctionType]
    identity: tuple[Any, ...]
    witnesses: list[_Witness] | None
    encoded: EncodedFunction
    files: _Files | None


class _Files:
    """The user's own files that came along with a function, and whether they are as they were."""

    def __init__(self, paths: list[str]) -> None:
        self._paths = paths
        self._stamps = self._look()
        self._looked = time.monotonic()

    def _look(self) -> list[tuple[int, int]]:
        found = []
        for path in self._paths:
            try:
                info = Path(path).stat()
                found.append((info.st_mtime_ns, info.st_size))
            except OSError:
                found.append((0, 0))
        return found

    def same(self) -> bool:
        """Whether none was edited. They are looked at once a second at most."""
        now = time.monotonic()
        if now - self._looked < _LOOK_EVERY:
            return True
        self._looked = now
        return self._look() == self._stamps


_LOOK_EVERY = 1.0
# By id of the function: looking up a weak key costs as much as the rest of it.
_cache: dict[int, _Cached] = {}
_builtins: dict[int, EncodedFunction] = {}


def encode_function(function: Callable[..., Any]) -> EncodedFunction:
    """The envelope of `function`, made once per function object as long as its code, defaults and closure are the same.

    A function of one of the user's own files travels by name, with the sources of its module and of those that this
    imports (`payload.own`); one of an installed package by name alone. PayloadError says what of it cannot be pickled.
    """
    if not callable(function):
        raise TypeError(f"{type(function).__name__} object is not callable")
    if type(function) is types.BuiltinFunctionType:
        known = _builtins.get(id(function))
        if known is None:
            known = _encode(function)[0]
            if not inspect.ismodule(getattr(function, "__self__", None)):
                return known  # a method of an object: it may go away and its id be used again
            _builtins[id(function)] = known
        return known
    if type(function) is not types.FunctionType:
        return _encode(function)[0]
    key = id(function)
    cached = _cache.get(key)
    if cached is not None and (
        cached.function() is not function or (cached.files is not None and not cached.files.same())
    ):
        cached = None
    if cached is not None and cached.witnesses is not None and _unchanged(function, cached.witnesses):
        return cached.encoded
    by_name = _by_name(function)
    identity = (function.__code__,) if by_name else _identity(function)
    if identity is None:
        return _encode(function)[0]
    if cached is not None and cached.identity == identity:
        encoded, files = cached.encoded, cached.files
    else:
        encoded, files = _encode(function)
    # By name: what it reads is no part of its bytes, and need not be looked at.
    witnesses = [_Witness(None, function.__code__, function.__defaults__, [], [])] if by_name else _witnesses(function)
    _cache[key] = _Cached(weakref.ref(function, _Forget(key)), identity, witnesses, encoded, files)
    return encoded


def _by_name(function: types.FunctionType) -> bool:
    """Whether it travels by its name, so that what it reads is no part of its bytes."""
    module = sys.modules.get(function.__module__ or "")
    return module is not None and module.__name__ != "__main__" and vars(module).get(function.__qualname__) is function


class _Forget:
    """Drops the cache's entry of a function that is gone, unless another one has its id by now."""

    __slots__ = ("key",)

    def __init__(self, key: int) -> None:
        self.key = key

    def __call__(self, gone: weakref.ref[Any]) -> None:
        cached = _cache.get(self.key)
        if cached is not None and cached.function is gone:
            _cache.pop(self.key, None)


class _Unstable(Exception):
    """The function holds something whose content cannot be compared at no cost."""


def _identity(function: types.FunctionType, seen: frozenset[int] = frozenset()) -> tuple[Any, ...] | None:
    """Something that is equal as long as the function's bytes would be; None when that cannot be told at no cost."""
    try:
        return _of(function, seen)
    except _Unstable:
        return None


def _of(function: types.FunctionType, seen: frozenset[int]) -> tuple[Any, ...]:
    if id(function) in seen:
        return (id(function),)
    seen |= {id(function)}
    cells = []
    for cell in function.__closure__ or ():
        try:
            cells.append(_stamp(cell.cell_contents, seen))
        except ValueError:
            cells.append(None)
    names = function.__globals__
    used = tuple([_stamp(names[name], seen) for name in _global_names(function.__code__) if name in names])
    return function.__code__, _stamp(function.__defaults__, seen), tuple(cells), used


def _stamp(value: Any, seen: frozenset[int]) -> Any:
    kind = type(value)
    if kind in _SCALARS:
        return kind, value
    if kind is tuple and len(value) <= 64:
        return kind, tuple([_stamp(item, seen) for item in value])
    if kind is types.FunctionType:
        return _of(value, seen)
    if kind in _FIXED or isinstance(value, type):
        return id(value)
    # An array, a list, an object: it may have changed in place since, so that the function is encoded anew.
    raise _Unstable


class _Witness(NamedTuple):
    """What one function's identity was made from. What could lead back to the function is held weakly."""

    function: weakref.ref[types.FunctionType] | None
    """None: the function that is asked for itself."""
    code: types.CodeType
    defaults: tuple[Any, ...] | None
    cells: list[tuple[types.CellType, Any]]
    names: list[tuple[str, Any]]


class _Absent:
    """Stands for the value of a name or cell that has none."""


def _witnesses(function: types.FunctionType) -> list[_Witness] | None:
    """What must still be the same *objects* for the identity to be the same; None when looking would not be cheaper."""
    found: list[_Witness] = []
    seen: set[int] = set()
    todo = [function]
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        space = one.__globals__
        cells = [(cell, _content(cell)) for cell in one.__closure__ or ()]
        names = [(name, space.get(name, _Absent)) for name in _global_names(one.__code__)]
        values = [*(one.__defaults__ or ()), *(value for _, value in cells), *(value for _, value in names)]
        if any(type(value) is tuple for value in values) or (
            one.__defaults__ and not _SCALARS.issuperset(map(type, one.__defaults__))
        ):
            return None
        todo += [value for value in values if type(value) is types.FunctionType]
        found.append(
            _Witness(
                None if one is function else weakref.ref(one),
                one.__code__,
                one.__defaults__,
                [(cell, _held(value)) for cell, value in cells],
                [(name, _held(value)) for name, value in names],
            )
        )
    return found


def _held(value: Any) -> Any:
    return value if type(value) in _SCALARS or value is _Absent else weakref.ref(value)


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _Absent


def _unchanged(function: types.FunctionType, witnesses: list[_Witness]) -> bool:
    """Whether everything is the same as when the witnesses were taken. Scalars cannot change in place."""
    for witness in witnesses:
        one = function if witness.function is None else witness.function()
        if one is None or one.__code__ is not witness.code or one.__defaults__ is not witness.defaults:
            return False
        for cell, value in witness.cells:
            if _content(cell) is not (value() if type(value) is weakref.ref else value):
                return False
        space = one.__globals__
        for name, value in witness.names:
            if space.get(name, _Absent) is not (value() if type(value) is weakref.ref else value):
                return False
    return True


_SCALARS = frozenset((int, float, str, bytes, bool, type(None), complex))
_FIXED = frozenset((types.ModuleType, types.BuiltinFunctionType))


@functools.lru_cache(maxsize=4096)
def _global_names(code: types.CodeType) -> tuple[str, ...]:
    names = list(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names += _global_names(constant)
    return tuple(names)


def _encode(function: Any) -> tuple[EncodedFunction, _Files | None]:
    name = name_of(function)
    extra: dict[str, Any] = {"name": name, "module": str(getattr(function, "__module__", "") or "")}
    source = normalised_source(function)
    if source:
        extra["version"] = version_of(function, source)
    packages = packages_of(function)
    if packages:
        extra["packages"] = packages
    pieces, entries = _dumps(function, name, extra)
    payload = join(pieces)
    files = _Files([entry.path for entry in entries]) if entries else None
    return EncodedFunction(digest(payload), payload, name), files


def _dumps(function: Any, name: str, extra: dict[str, Any]) -> tuple[Any, list[own.Entry]]:
    """The envelope in pieces, and the modules in it. TooBig before memory is spent on what could not travel."""
    try:
        with envelope.collecting_modules() as met:
            data, buffers, code = envelope.pickled(function, BLOB_MAX)
        if entries := list(own.Look().needed(met | met.later).values()):
            data, buffers, code = envelope.pickled(own.With(entries, function), BLOB_MAX)
            parts = [extra.get("version", ""), *(entry.digest for entry in entries)]
            extra["version"] = digest("\n".join(parts).encode())
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001 a value's own pickling may raise anything
        raise PayloadError(diagnose(f"the function {name}", function, error)) from None
    return envelope.assemble(data, buffers, "fn", {**extra, "code": True} if code else extra), entries


def name_of(function: Any) -> str:
    """The name of a function for people."""
    inner = function.func if isinstance(function, functools.partial) else function
    name = getattr(inner, "__qualname__", None) or getattr(inner, "__name__", None) or type(inner).__qualname__
    return str(name).replace("<locals>.", "")[:NAME_MAX]


def normalised_source(function: Any) -> str:
    """The source of a function without comments, blank lines and indentation, or "" where it cannot be had."""
    try:
        text = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
        tree = ast.parse(text)
    except (OSError, TypeError, SyntaxError, ValueError):
        return ""
    return ast.unparse(tree) if len(text) < 200_000 else ""


def version_of(function: Any, source: str) -> str:
    """A digest that is the same as long as source, defaults, closure values and packages are."""
    parts = [source.encode(), repr(sorted(packages_of(function).items())).encode()]
    inner = inspect.unwrap(function)
    for cell in getattr(inner, "__closure__", None) or ():
        try:
            parts.append(envelope.pickled(cell.cell_contents, limit=1 << 20)[0])
        except Exception:  # noqa: BLE001 an empty cell, or a value that is told apart by the digest of the bytes
            parts.append(b"?")
    parts.append(repr(getattr(inner, "__defaults__", None)).encode())
    return digest_parts(parts)


def packages_of(function: Any) -> dict[str, str]:
    """Installed packages that the function's globals mention, with their versions: {import name: version}."""
    inner = inspect.unwrap(function)
    code, names = getattr(inner, "__code__", None), getattr(inner, "__globals__", {})
    found: dict[str, str] = {}
    if code is None:
        return found
    for name in _global_names(code):
        value = names.get(name)
        module = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
        top = str(module or "").partition(".")[0]
        loaded = sys.modules.get(top)
        version = (
            getattr(loaded, "__version__", None) if loaded is not None and top not in sys.stdlib_module_names else None
        )
        if isinstance(version, str):
            found[top] = version
    return found
