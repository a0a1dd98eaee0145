"""Which names a cell assigned or changed, and which of them can come home.

A name counts as assigned when it is bound to another object than before, when the cell's own code stores it, or when
the cell mentions it and its value was changed in place (digests before and after; aliases that the cell does not
mention go unnoticed).
"""

from __future__ import annotations

import ast
import builtins
import dis
import reprlib
import sys
import types
import zlib
from typing import Any

from jupyter_fx_worker import aliases, binding, envelope, pristine

__all__ = ["Home", "Snapshot", "estimate", "is_hidden"]

_BOOKKEEPING = frozenset(
    (
        "In",
        "Out",
        "exit",
        "quit",
        "get_ipython",
        "open",
        "display",
        "_",
        "__",
        "___",
        "_i",
        "_ii",
        "_iii",
        "_ih",
        "_oh",
        "_dh",
        "_exit_code",
    )
)
_SCALARS = (int, float, complex, str, bytes, bool, type(None))
_UNCHANGING = (*_SCALARS, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type)
# What a cell mentions is looked at before and after it: arrays up to this size (6 GB/s), objects up to the other.
_DIGEST_BUFFER = 2 << 30
_DIGEST_OBJECTS = 32 << 20
# From here on it is cheaper to ask whether an array was written to at all than to read it.
_LARGE = 32 << 20
_REPR = reprlib.Repr()
_REPR.maxlist = _REPR.maxtuple = _REPR.maxset = _REPR.maxdict = 6
_REPR.maxstring = _REPR.maxother = 200
_REPR.maxlevel = 3


def is_hidden(name: str) -> bool:
    """True for names that belong to Python, to IPython's bookkeeping or to us, never to the user."""
    if not name.startswith("_"):
        return name in _BOOKKEEPING
    if name.startswith("_fx") or (name.startswith("__") and name.endswith("__")) or name in _BOOKKEEPING:
        return True
    return name[1:].isdigit() or (name.startswith("_i") and name[2:].isdigit())


def estimate(value: Any) -> int:
    """Return a cheap lower bound of what pickling `value` would take, in bytes."""
    try:
        if type(value).__module__.partition(".")[0] == "pandas":
            # Not of others: a lazy frame would compute itself to tell.
            used = value.memory_usage()
            return int(used.sum() if hasattr(used, "sum") else used)
        size = getattr(value, "nbytes", None)
        if isinstance(size, int):
            return size
        if isinstance(value, (str, bytes, bytearray)):
            return len(value)
        if isinstance(value, (list, tuple, set, frozenset, dict)):
            return len(value)
        # A quarter: in-memory sizes are larger than pickles, but never by much more.
        return sys.getsizeof(value) // 4
    except Exception:
        return 0


def describe(value: Any) -> dict[str, Any]:
    """Return {type, size, shape, dtype, repr} of a value that stays; never raises, never long."""
    kind = type(value)
    shape = _safe(lambda: list(value.shape))
    if shape is not None and not all(isinstance(n, int) for n in shape):
        shape = None
    try:
        text = _REPR.repr(value)
    except BaseException as error:
        text = f"<{kind.__qualname__} whose repr raised {type(error).__name__}>"
    return {
        "type": f"{kind.__module__}.{kind.__qualname__}" if kind.__module__ != "builtins" else kind.__qualname__,
        "size": estimate(value),
        "shape": shape,
        "dtype": _safe(lambda: str(value.dtype)),
        "repr": text[:500],
    }


def _of_objects(value: Any) -> bool:
    """Whether its size is that of many objects, each of which would have to be pickled."""
    return isinstance(value, (list, tuple, dict, set, frozenset))


def _safe(read: Any) -> Any:
    try:
        return read()
    except Exception:
        return None


def _codes(code: types.CodeType) -> list[types.CodeType]:
    found = [code]
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            found += _codes(const)
    return found


def _stored_and_mentioned(source: str) -> tuple[set[str], set[str]]:
    """Return the global names that a cell's code stores, and those that it mentions at all.

    Magics hide code: identity sees those.
    """
    lines = [line if not line.lstrip().startswith(("%", "!")) else "" for line in source.split("\n")]
    try:
        code = compile("\n".join(lines), "<names>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set(), set()
    stored: set[str] = set()
    mentioned: set[str] = set()
    for part in _codes(code):
        mentioned.update(part.co_names)
        for instruction in dis.get_instructions(part):
            if instruction.opname == "STORE_GLOBAL" or (part is code and instruction.opname == "STORE_NAME"):
                stored.add(str(instruction.argval))
    return stored, mentioned


class Home:
    """What comes home after a cell: `values`, and the header fields about the rest."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.stay: dict[str, Any] = {}
        self.why: dict[str, str] = {}
        self.deleted: list[str] = []
        self.bind: list[str] = []
        self.modules: dict[str, str] = {}
        self.same: list[str] = []
        self.last = ""
        """The name among `values` that is the value of the cell's last expression."""

    def header(self) -> dict[str, Any]:
        """The `names` header fields."""
        return {
            "stay": self.stay,
            "deleted": self.deleted,
            "why": self.why,
            "bind": self.bind,
            "modules": self.modules,
            "made": envelope.versions(),
            "home": [[name, type(value).__qualname__] for name, value in self.values.items() if not is_hidden(name)],
            **({"same": self.same} if self.same else {}),
            **({"last": self.last} if self.last else {}),
        }

    def dumps(self) -> list[envelope.Buffer]:
        """Return the `names` envelope. Names that share objects are in one pickle, so that they still share them."""
        try:
            with envelope.sharing_memory(self.values.values()):
                return envelope.dumps(self.values, "names", **self.header())
        except Exception as error:
            ours = {name: value for name, value in self.values.items() if is_hidden(name)}
            for name, value in self.values.items():
                if name not in ours:
                    self.stay[name] = describe(value)
                    self.why[name] = f"{type(error).__name__}: {error}"[:500]
            self.values = ours
            return envelope.dumps(ours, "names", **self.header())


class Snapshot:
    """A namespace as it was before a cell."""

    def __init__(
        self, ns: dict[str, Any], source: str, limit: int, hidden: frozenset[str] = frozenset(), most: int = 1 << 30
    ) -> None:
        """`limit` is the number of bytes up to which a name comes home, `most` that of all that is asked for."""
        self._limit = limit
        self._most = most
        self._hidden = hidden
        self._before = dict(ns)
        self._whole = True
        self._stored, mentioned = _stored_and_mentioned(source)
        self._digests: dict[str, Any] = {}
        for name in mentioned:
            value = ns.get(name)
            if value is not None and not self._skip(name, value) and not isinstance(value, _UNCHANGING):
                self._digests[name] = self._digest(value)

    def _skip(self, name: str, value: Any) -> bool:
        return is_hidden(name) or name in self._hidden or isinstance(value, types.ModuleType)

    def _digest(self, value: Any) -> Any | None:
        """Return something that changes when the value does, or None when that would cost too much."""
        size = estimate(value)
        numpy = sys.modules.get("numpy")
        try:
            if numpy is not None and type(value) is numpy.ndarray and not value.dtype.hasobject:
                if size > _DIGEST_BUFFER:
                    return None
                if size > _LARGE and pristine.is_pristine(value):
                    return value.shape, value.dtype.str, "as it came"
                data = value if value.flags.c_contiguous else numpy.ascontiguousarray(value)
                return value.shape, value.dtype.str, zlib.crc32(data.reshape(-1).view(numpy.uint8)) if value.size else 0
            if size > _DIGEST_BUFFER or (size > _DIGEST_OBJECTS and _of_objects(value)):
                return None
            return envelope.fingerprint(value, _DIGEST_OBJECTS, _DIGEST_BUFFER)
        except Exception:
            return None

    def compare(self, ns: dict[str, Any], want: frozenset[str], *, same_python: bool, whole: bool) -> Home:
        """Return what the cell that has just run leaves for home.

        With `same_python` False no code is sent that has no source. `whole`: the cell ran to its end.
        """
        home = Home()
        self._whole = whole
        before = self._before
        home.deleted = [name for name in before if name not in ns and not is_hidden(name)]
        for name, value in list(ns.items()):
            if isinstance(value, types.ModuleType):
                if self._imported(name, value):
                    home.modules[name] = value.__name__
            elif name in want or (not self._skip(name, value) and self._changed(name, value)):
                if name in want:
                    self._most -= self._add(home, name, value, max(1, self._most), same_python)
                else:
                    self._add(home, name, value, self._limit, same_python)
        self._add_aliases(home, ns)
        for name in want:
            if name not in ns and not hasattr(builtins, name):
                home.why[name] = "the cell left no variable of this name"
        return home

    def _add_aliases(self, home: Home, ns: dict[str, Any]) -> None:
        """Let names that share objects with what comes home come along, if they can: they changed with it."""
        moving = set().union(*(aliases.parts(value) for value in home.values.values()))
        todo = dict(ns) if moving else {}
        again = True
        while again:
            again = False
            for name, value in list(todo.items()):
                if (
                    name in home.values
                    or name in home.stay
                    or self._skip(name, value)
                    or isinstance(value, _UNCHANGING)
                ):
                    del todo[name]
                elif (shared := aliases.parts(value)) & moving:
                    del todo[name]
                    if self._can_go(value):
                        home.values[name] = value
                        moving |= shared
                        again = True

    def _can_go(self, value: Any) -> bool:
        try:
            return estimate(value) <= self._limit and envelope.pickled(value, self._limit)[2] == envelope.NO_CODE
        except Exception:
            return False

    def _imported(self, name: str, value: types.ModuleType) -> bool:
        """Whether the cell bound this module, which another interpreter can import by its name."""
        if is_hidden(name) or name in self._hidden or getattr(value, "__spec__", None) is None:
            return False
        return self._before.get(name) is not value or (name in self._stored and self._whole)

    def _changed(self, name: str, value: Any) -> bool:
        if name not in self._before or self._before[name] is not value:
            return True
        if name in self._stored and (self._whole or not isinstance(value, _UNCHANGING)):
            # `x = 1` where x was 1 already assigns it, though nothing shows; a cell that failed may not have got there.
            return True
        digest = self._digests.get(name)
        return digest is not None and digest != self._digest(value)

    def _add(self, home: Home, name: str, value: Any, limit: int, same_python: bool) -> int:
        """Let `name` come home if it can; returns the bytes that it takes there."""
        if isinstance(value, types.FunctionType) and value.__globals__.get("__name__") == "__main__":
            value = binding.unbound(value)
            home.bind.append(name)
        try:
            if estimate(value) > limit:
                raise envelope.TooBig(f"larger than {limit} bytes")
            if isinstance(value, _SCALARS):
                home.values[name] = value
                return 0
            if self._before.get(name) is value:
                home.same.append(name)
            data, buffers, code = envelope.pickled(value, limit)
            if code == envelope.BOUND and not same_python:
                raise TypeError("it holds code without a source, which another version of Python cannot run")
            home.values[name] = value
            return len(data) + sum(memoryview(buffer).nbytes for buffer in buffers)
        except envelope.TooBig:
            home.stay[name] = self._described(name, value)
            home.why[name] = f"larger than {limit} bytes"
        except Exception as error:
            home.stay[name] = self._described(name, value)
            home.why[name] = f"{type(error).__name__}: {error}"[:500]
        if name in home.bind:
            home.bind.remove(name)
        return 0

    def _described(self, name: str, value: Any) -> dict[str, Any]:
        """Of a value that stays: `same` says that the name stood for this very object before the cell."""
        return {**describe(value), "same": self._before.get(name) is value}
