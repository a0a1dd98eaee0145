"""Code objects that any Python can open: with the bytecode travels the source that it was compiled from.

Bytecode means something to one minor version only; another one crashes on it, or computes something else. So a code
object is pickled as both: its bytecode, used where the version is the same, and a *recipe*, the statement of the module
that it stands in and which of the statement's code objects it is. Elsewhere the statement is compiled (never run) and
that code object is taken out. Decorators, closures, defaults and classes need no care of their own: they are objects
that hold code objects, and travel as they are.

A recipe is made only when it is proven: the statement is compiled here first, and has to give this very code. Code
without one (made by `exec`, in a file that was edited since, …) opens under its own version only. Where another one
needs it, a stub takes its place while the pickle is read, and `opening` refuses the whole before anything runs.
"""

from __future__ import annotations

import ast
import linecache
import sys
import threading
import types
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import cloudpickle

__all__ = ["PYTHON", "Lost", "build", "forgive", "is_stub", "opening", "recipe_of", "reduced"]

PYTHON = [sys.version_info[0], sys.version_info[1]]

Recipe = dict[str, Any]
"""text: the statement; line: its first; name, at, args, free: which code object; one, of: its number among equals;
flags: of the compiler."""
Lost = tuple[str, str]
"""The name of a code object, and why it cannot be made here."""

_MAX_SOURCE = 200_000
_MAX_FILES = 1000
_FUTURES = 0x1FF0000  # CO_FUTURE_...: what `from __future__` changed
_recipes: dict[int, tuple[Any, Any]] = {}
_files: dict[str, tuple[int, Any, dict[Any, str]]] = {}

_told: dict[str, dict[int, str]] = {}
"""Statements that came with code from elsewhere: by file and first line."""


class _Opening(threading.local):
    def __init__(self) -> None:
        self.lost: list[tuple[types.CodeType, Lost]] = []
        self.depth = 0


_opening = _Opening()


# --- on the way out ---


def reduced(code: types.CodeType) -> tuple[Any, bool]:
    """Return what a code object is pickled as, and whether another Python can open it."""
    recipe = recipe_of(code)
    return (build, (tuple(PYTHON), _Native(code), code.co_name, code.co_freevars, recipe)), isinstance(recipe, dict)


class _Native:
    """The bytecode of a code object and of those inside of it; None under another Python."""

    def __init__(self, code: types.CodeType) -> None:
        self._code = code

    def __reduce__(self) -> Any:
        _make, args = cloudpickle.cloudpickle._code_reduce(self._code)  # noqa: SLF001 - the arguments of CodeType
        args = tuple(_consts(arg) if type(arg) is tuple else arg for arg in args)
        return _native, (tuple(PYTHON), *args)


def _consts(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_Native(value) if isinstance(value, types.CodeType) else value for value in values)


def recipe_of(code: types.CodeType) -> Any:
    """Return the recipe of a code object, or a text that says why there is none. Found once for each code object."""
    known = _recipes.get(id(code))
    if known is not None and known[0]() is code:
        return known[1]
    found: Any
    try:
        found = _find(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        found = "its source cannot be read"
    _remember(code, found)
    return found


def _remember(code: types.CodeType, found: Any) -> None:
    key = id(code)

    def forget(_gone: Any, known: dict[int, Any] = _recipes) -> None:
        # Bound early: when the interpreter ends, the module's names may be gone before its code objects.
        known.pop(key, None)

    _recipes[key] = (weakref.ref(code, forget), found)


def _find(code: types.CodeType) -> Any:
    name, at = code.co_filename, code.co_firstlineno
    lines = linecache.getlines(name) or _told_of(name, at)
    if not lines:
        return "its source is not known"
    statements, texts = _statements(name, lines)
    around = [node for node in statements if _first(node) <= at <= (node.end_lineno or node.lineno)]
    if not around:
        return "its source has changed since it was defined"
    first, last = _first(around[0]), max(node.end_lineno or node.lineno for node in around)
    # One object for all of a statement's code objects: it is in a pickle once.
    text = texts.setdefault((first, last), "".join(lines[first - 1 : last]))
    if len(text) > _MAX_SOURCE:
        return f"the statement that it stands in is longer than {_MAX_SOURCE} characters"
    found = _proven(code, text, first, lines)
    if found is None:
        return "its source has changed since it was defined, or is not what was run"
    one, flags = found
    alike = _named(_compiled(text, first, name, flags), code.co_name, at)
    who = _who(code)
    twins = [number for number, other in enumerate(alike) if _who(other) == who]
    return {
        "text": text,
        "line": first,
        "name": code.co_name,
        "at": at,
        "args": who[0],
        "free": list(code.co_freevars),
        "one": twins.index(one),
        "of": len(twins),
        "flags": flags,
        "file": name,
    }


def _told_of(name: str, at: int) -> list[str]:
    """The statement around this line, each line where it was, if it came with other code of the same file."""
    for first, text in _told.get(name, {}).items():
        if first <= at <= first + text.count("\n"):
            return ["\n"] * (first - 1) + text.splitlines(keepends=True)
    return []


def _keep(code: types.CodeType, recipe: Any) -> None:
    """Remember where code that came from elsewhere is from: it may go on, and what it makes too."""
    _remember(code, recipe)
    if isinstance(recipe, dict):
        if len(_told) > _MAX_FILES:
            _told.clear()
        _told.setdefault(recipe["file"], {})[recipe["line"]] = recipe["text"]


def _proven(code: types.CodeType, text: str, first: int, lines: list[str]) -> tuple[int, int] | None:
    """Which of the statement's code objects of its name and line it is, and the flags that it was compiled with.

    IPython compiles statement by statement, Python a file as a whole: a method of what the file imports is then called
    in another way. A shell that awaits at top level compiles what is async otherwise than a file does.
    """
    whole = "".join(lines)
    for more in (0, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT):
        flags = code.co_flags & _FUTURES | more
        for source, line in ((text, first), (whole, 1)):
            try:
                tree = _compiled(source, line, code.co_filename, flags)
            except SyntaxError:
                continue
            alike = _named(tree, code.co_name, code.co_firstlineno)
            same = [number for number, one in enumerate(alike) if _same(one, code)]
            if same:
                # Of two that are equal but for their columns any would do; the columns say which it is all the same.
                return next((n for n in same if _columns(alike[n]) == _columns(code)), same[0]), flags
    return None


def _statements(name: str, lines: list[str]) -> tuple[list[ast.stmt], dict[Any, str]]:
    text = "".join(lines)
    key = hash(text)
    known = _files.get(name)
    if known is None or known[0] != key:
        if len(_files) > 64:
            _files.clear()
        try:
            tree = _parsed(text)
        except SyntaxError:
            # A cell as it was typed, with magics: those are no code, and everything else keeps its line.
            tree = _parsed(_without_magics(lines))
        known = _files[name] = (key, tree.body, {})
    return known[1], known[2]


def _parsed(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


def _without_magics(lines: list[str]) -> str:
    return "".join("\n" if line.lstrip().startswith(("%", "!")) else line for line in lines)


def _first(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(one.lineno for one in decorators)])


@lru_cache(maxsize=32)
def _compiled(text: str, first: int, name: str, flags: int) -> types.CodeType:
    with warnings.catch_warnings():
        # Said already, when it was compiled to be run.
        warnings.simplefilter("ignore")
        tree = compile(text, name, "exec", ast.PyCF_ONLY_AST | flags, dont_inherit=True)
        ast.increment_lineno(tree, first - 1)
        code: types.CodeType = compile(tree, name, "exec", flags, dont_inherit=True)
    return code


def _named(code: types.CodeType, name: str, line: int) -> list[types.CodeType]:
    """All code objects inside of `code` of this name that begin on this line, in their order."""
    found = []
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            if inner.co_name == name and inner.co_firstlineno == line:
                found.append(inner)
            found += _named(inner, name, line)
    return found


def _who(code: types.CodeType) -> tuple[list[str], list[str]]:
    """What a code object looks like under every Python: its parameters, and what it takes from around it."""
    count = int(code.co_argcount) + int(code.co_kwonlyargcount) + bool(code.co_flags & 4) + bool(code.co_flags & 8)
    return list(code.co_varnames[:count]), list(code.co_freevars)


def _columns(code: types.CodeType) -> Any:
    positions = getattr(code, "co_positions", None)
    return list(positions()) if positions is not None else None


def _same(one: types.CodeType, other: types.CodeType) -> bool:
    fields = "co_code co_names co_varnames co_freevars co_cellvars co_argcount co_posonlyargcount co_kwonlyargcount"
    if any(getattr(one, field) != getattr(other, field) for field in fields.split()):
        return False
    return bool(one.co_flags == other.co_flags) and _same_constant(one.co_consts, other.co_consts)


def _same_constant(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, types.CodeType):
        return _same(one, other)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(_same_constant, one, other))
    if isinstance(one, frozenset):
        return bool(one == other)
    # repr tells 0.0 from -0.0, and finds nan equal to itself.
    return repr(one) == repr(other)


# --- where it is opened ---


def _native(version: tuple[int, int], *args: Any) -> Any:
    return types.CodeType(*args) if list(version) == PYTHON else None


def build(version: tuple[int, int], native: Any, name: str, free: tuple[str, ...], recipe: Any) -> types.CodeType:
    """Return the code object: the bytecode where the version is this one, else from its recipe, else a stub."""
    if list(version) == PYTHON:
        _keep(native, recipe)
        return native  # type: ignore[no-any-return]
    if not isinstance(recipe, dict):
        return _stub(name, free, str(recipe))
    try:
        made = _cooked(recipe)
    except SyntaxError as error:
        line = (error.lineno or 1) + recipe["line"] - 1
        where = f" (line {line}: {(error.text or '').strip()[:80]})" if error.text else ""
        return _stub(name, free, f"it is written in a syntax that Python {_dotted(PYTHON)} does not have{where}")
    except (ValueError, RecursionError, MemoryError) as error:
        return _stub(name, free, f"its source cannot be compiled here: {error}")
    if made is not None:
        _keep(made, recipe)
    return made or _stub(name, free, f"Python {_dotted(PYTHON)} makes something else of its source")


def _cooked(recipe: Recipe) -> types.CodeType | None:
    text, name = recipe["text"], recipe["file"]
    try:
        whole = _compiled(text, recipe["line"], name, recipe["flags"])
    except SyntaxError:
        plain = _without_magics(text.splitlines(keepends=True))
        if plain == text:
            raise
        whole = _compiled(plain, recipe["line"], name, recipe["flags"])
    wanted = (recipe["args"], recipe["free"])
    alike = [one for one in _named(whole, recipe["name"], recipe["at"]) if _who(one) == wanted]
    if len(alike) == recipe["of"]:
        return alike[recipe["one"]]
    # An older compiler makes one of two that are equal.
    return alike[0] if alike and all(_same(alike[0], other) for other in alike) else None


def _stub(name: str, free: tuple[str, ...], why: str) -> types.CodeType:
    inner = "\n".join(f"  {one}" for one in free)
    text = f"def outer({', '.join(free)}):\n def stub(*a, **k):\n{inner}\n  raise TypeError({name!r})\n return stub"
    outer = compile(text, "<fx-stub>", "exec").co_consts[0]
    code: types.CodeType = next(one for one in outer.co_consts if isinstance(one, types.CodeType))
    _opening.lost.append((code, (name, why)))
    return code


def is_stub(code: Any) -> bool:
    """Whether this code object stands for one that could not be made."""
    return any(one is code for one, _ in _opening.lost)


def forgive(stubs: Any) -> None:
    """Somebody made what these stubs stand for in another way."""
    _opening.lost = [pair for pair in _opening.lost if not any(pair[0] is stub for stub in stubs)]


@contextmanager
def opening() -> Iterator[list[Lost]]:
    """While a pickle is read. The list that it gives says, after it, which code objects could not be made."""
    outer, _opening.lost = _opening.lost, []
    said: list[Lost] = []
    try:
        yield said
    finally:
        said += [lost for _, lost in _opening.lost]
        _opening.lost = outer


def _dotted(version: Any) -> str:
    return ".".join(map(str, version))
