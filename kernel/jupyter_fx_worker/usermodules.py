"""Modules of the user's own files, imported here from sources that came with a cell or a function.

The other side knows which of its modules are the user's own (`jupyter_fx.payload.own`), and sends those that a payload
needs as `Bringing`: when the payload is opened, they are known here before anything that is imported from them. A
finder in front of all others then answers for them, so that they work wherever this runs. A session's modules stay
with it; a module that comes again with another source is executed anew in place, and so is what imports from it.

Two functions in one pooled worker may come from two notebooks whose `helpers` differ: each has a `World` of its own.

A result that holds objects of such modules takes them along (`Lending`): another task that takes it as an argument may
know nothing of them. Who has a module of that name keeps it; at home, where the files are, nothing is taken.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import importlib.util
import linecache
import os
import sys
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Any, Optional

__all__ = ["NAME", "Bringing", "Entry", "Lending", "With", "World", "activate", "active", "borrow"]

NAME = "_fx_modules_"
"""The name under which modules stand in front of a cell's values."""

Row = tuple[str, str, str, bool, "tuple[str, ...]", Optional[bytes]]

_WORLDS_KEPT = 64
_MARK = "__fx_digest__"
"""What a module that was made here says of the source that it was made from."""


class Entry:
    """One module: `digest` names its source, `imports` the user's modules that it imports.

    `source` None: a package without a file of its own.
    """

    __slots__ = ("digest", "imports", "name", "package", "path", "source")

    def __init__(
        self, name: str, digest: str, path: str, package: bool, imports: Sequence[str], source: bytes | None
    ) -> None:
        self.name, self.digest, self.path, self.package = name, digest, path, package
        self.imports, self.source = tuple(imports), source

    @property
    def row(self) -> Row:
        """As it travels."""
        return self.name, self.digest, self.path, self.package, self.imports, self.source

    @property
    def text(self) -> str:
        """The source as text; its lines are what tracebacks show."""
        return importlib.util.decode_source(self.source) if self.source is not None else ""

    @property
    def folder(self) -> str:
        """Where a package's files are, or were."""
        return os.path.dirname(self.path) if self.source is not None else self.path


class World:
    """The user's modules that one session, or one function of the pool, imports from."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self._borrowed: set[str] = set()
        """Those that came with a result: of these the latest holds."""
        self._parked: dict[str, ModuleType] = {}

    def leave(self) -> None:
        """Take its modules out of sys.modules."""
        for name in self.entries:
            module = sys.modules.pop(name, None)
            if module is not None:
                self._parked[name] = module

    def enter(self) -> None:
        """Put them back."""
        sys.modules.update(self._parked)
        self._parked.clear()

    def take(self, entries: Iterable[Entry]) -> None:
        """Know these from now on; what is loaded and differs is executed anew. Raises what the user's code raises."""
        for entry in entries:
            known = sys.modules.get(entry.name)
            if entry.name not in self.entries and known is not None and not _same(known, entry):
                # Of a file that lies about here: the one that came is meant.
                del sys.modules[entry.name]
            self.entries[entry.name] = entry
            self._borrowed.discard(entry.name)
        for name in self._stale():
            _again(sys.modules[name], self.entries[name])

    def borrow(self, entries: Iterable[Entry]) -> None:
        """Know these too, as far as nobody who may decide brought others of their names."""
        new = [entry for entry in entries if entry.name not in self.entries or entry.name in self._borrowed]
        self.take(new)
        self._borrowed.update(entry.name for entry in new)

    def needed(self, names: Iterable[str]) -> list[Entry]:
        """Those of its modules that dotted `names` lead to, and all that these import."""
        found: dict[str, Entry] = {}
        todo = list(names)
        while todo:
            parts = todo.pop().split(".")
            for length in range(1, len(parts) + 1):
                entry = self.entries.get(".".join(parts[:length]))
                if entry is not None and entry.name not in found:
                    found[entry.name] = entry
                    todo += entry.imports
        return [found[name] for name in sorted(found)]

    def _stale(self) -> list[str]:
        """Loaded modules to execute anew, in order: those with another source, and those that import from them."""
        loaded = [name for name in self.entries if _MARK in getattr(sys.modules.get(name), "__dict__", ())]
        stale = {name for name in loaded if sys.modules[name].__dict__[_MARK] != self.entries[name].digest}
        grown = bool(stale)
        while grown:
            more = {name for name in loaded if name not in stale and stale.intersection(self.entries[name].imports)}
            stale |= more
            grown = bool(more)
        order: list[str] = []
        seen: set[str] = set()

        def visit(name: str) -> None:
            if name in seen:
                return
            seen.add(name)
            for inner in self.entries[name].imports if name in self.entries else ():
                visit(inner)
            if name in stale:
                order.append(name)

        for name in sorted(stale):
            visit(name)
        return order


_active: World | None = None
_borrows = False
_by_content: OrderedDict[frozenset[tuple[str, str]], World] = OrderedDict()


def active() -> World | None:
    """The world whose modules are imported now."""
    return _active


def activate(world: World | None) -> None:
    """Let imports find the modules of `world` and of no other."""
    global _active  # noqa: PLW0603 - sys.modules, which it stands for, is one for all, too
    if world is _active:
        return
    if _active is not None:
        _active.leave()
    _active = world
    if world is not None:
        world.enter()


def borrow() -> None:
    """From now on modules that came with results are taken: this process is a worker, and the files are elsewhere."""
    global _borrows  # noqa: PLW0603 - what a process is, it is for all
    _borrows = True


class Bringing:
    """Opened, these modules are known where it is opened. It is pickled in front of what needs them."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.rows = [entry.row for entry in entries]

    def __reduce__(self) -> tuple[Any, ...]:
        return _bring, (self.rows,)


class With:
    """`value` behind the modules that it needs: opened, it is `value` itself."""

    def __init__(self, entries: Iterable[Entry], value: Any) -> None:
        self.bringing, self.value = Bringing(entries), value

    def __reduce__(self) -> tuple[Any, ...]:
        return _second, (self.bringing, self.value)


class Lending:
    """A result behind the modules that it needs: opened, it is `value` itself."""

    def __init__(self, entries: Iterable[Entry], value: Any) -> None:
        self.lent, self.value = _Lent(entries), value

    def __reduce__(self) -> tuple[Any, ...]:
        return _second, (self.lent, self.value)


class _Lent(Bringing):
    def __reduce__(self) -> tuple[Any, ...]:
        return _lend, (self.rows,)


def _second(_first: Any, second: Any) -> Any:
    return second


def _lend(rows: list[Row]) -> None:
    if _borrows:
        _world_for(rows).borrow(Entry(*row) for row in rows)


def _bring(rows: list[Row]) -> None:
    _world_for(rows).take(Entry(*row) for row in rows)


def _world_for(rows: list[Row]) -> World:
    """The world that is active; else, active from now on, one that had the same modules before."""
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    if _active is None:
        key = frozenset((row[0], row[1]) for row in rows)
        world = _by_content.setdefault(key, World())
        _by_content.move_to_end(key)
        while len(_by_content) > _WORLDS_KEPT:
            _by_content.popitem(last=False)
        activate(world)
    assert _active is not None
    return _active


class _Loader:
    """Executes one entry."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry

    def create_module(self, _spec: ModuleSpec) -> None:
        """As usual."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the source in the module."""
        entry = self._entry
        # Of this version, whatever becomes of the file: with no time, checkcache leaves it alone.
        text = entry.text
        linecache.cache[entry.path] = (len(text), None, text.splitlines(True), entry.path)
        code = self.get_code(entry.name)
        if code is not None:
            exec(code, module.__dict__)
        module.__dict__[_MARK] = entry.digest

    def get_code(self, _name: str) -> CodeType | None:
        """The compiled source."""
        entry = self._entry
        if entry.source is None:
            return None
        code: CodeType = compile(entry.source, entry.path, "exec", dont_inherit=True)
        return code

    def get_source(self, _name: str) -> str:
        """The source, for linecache and inspect."""
        return self._entry.text

    def is_package(self, _name: str) -> bool:
        """Whether it is one."""
        return self._entry.package

    def get_data(self, path: str) -> bytes:
        """A file beside it, if that is here too. Raises FileNotFoundError that says what does not travel."""
        try:
            with open(path, "rb") as file:
                return file.read()
        except FileNotFoundError:
            raise FileNotFoundError(
                errno.ENOENT,
                f"not here: {self._entry.name} came as source, files beside it do not travel; pass their contents",
                path,
            ) from None


class _Finder:
    """Answers for the modules of the active world."""

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> ModuleSpec | None:
        """The spec of a module that came, else None."""
        entry = _active.entries.get(name) if _active is not None else None
        if entry is None:
            return None
        loader: Any = _Loader(entry)
        spec = ModuleSpec(name, loader, origin=entry.path, is_package=entry.package)
        if entry.source is not None:
            spec.has_location = True
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(entry.folder)
        return spec

    def invalidate_caches(self) -> None:
        """It has none."""


_finder: Any = _Finder()


def _same(module: ModuleType, entry: Entry) -> bool:
    """Whether a module that was loaded from a file has the source that came."""
    try:
        with open(str(module.__file__), "rb") as file:
            return file.read() == entry.source
    except (OSError, AttributeError):
        return False


def _again(module: ModuleType, entry: Entry) -> None:
    """Execute the new source in the module that everybody holds. Objects of its classes become those of the new ones.

    Whatever it raises, the module is then as it was before.
    """
    space = module.__dict__
    before = dict(space)
    inside = entry.name + "."
    for name, value in before.items():
        submodule = isinstance(value, ModuleType) and value.__name__.startswith(inside)
        if not (name.startswith("__") or submodule):
            del space[name]
    try:
        importlib.reload(module)
    except BaseException:
        space.clear()
        space.update(before)
        raise
    for name, old in before.items():
        new = space.get(name)
        if isinstance(old, type) and isinstance(new, type) and old is not new and old.__module__ == entry.name:
            _move_objects(old, new)


def _move_objects(old: type, new: type) -> None:
    for found in gc.get_referrers(old):
        if type(found) is old:
            with contextlib.suppress(TypeError, AttributeError):
                object.__setattr__(found, "__class__", new)
