"""Modules of the user's own files: which they are, their sources, and what they import in turn.

Own is a module whose file is neither of the standard library nor below a `site-packages`: beside the notebook, in a
package there, somewhere that the user put on `sys.path`, or installed *editable*. These travel as sources, whatever
the other side has, because they are what the user edits. Everything else is imported there by its name.

What is on disk counts: a file that was edited is sent anew, whether this kernel has reloaded it or not. Compiled
modules and data files beside a module do not travel.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from jupyter_fx.errors import UsageError
from jupyter_fx_worker.usermodules import Bringing, Entry, With

__all__ = ["SOURCES_MAX", "Bringing", "Entry", "Look", "With", "imported_by", "is_installed", "is_own", "may_be_own"]

SOURCES_MAX: Final = 16 << 20
"""Bytes of source that one cell or function takes along."""
_FILES_MAX: Final = 4000
_OURS: Final = frozenset({"__main__", "__mp_main__", "jupyter_fx", "jupyter_fx_worker", "jupyter_fx_kernel"})


@functools.cache
def _installed() -> tuple[str, ...]:
    paths = {sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    return tuple(sorted(str(path) for path in paths if path))


@functools.lru_cache(maxsize=4096)
def _is_own_file(path: str) -> bool:
    return "site-packages" not in path and "dist-packages" not in path and not path.startswith(_installed())


def may_be_own(name: str) -> bool:
    """False for names that are known to be installed, without looking at any file."""
    top = name.partition(".")[0]
    return bool(top) and not (top in _OURS or top in sys.stdlib_module_names or top in _installed_tops)


def is_own(module: Any) -> bool:
    """Whether a module is a file of the user: neither of the standard library nor installed, nor ours."""
    file = getattr(module, "__file__", None)
    return bool(file) and may_be_own(getattr(module, "__name__", "")) and _is_own_file(str(file))


def is_installed(name: str) -> bool:
    """Whether a top-level name is an installed package's here: not of the standard library, not the user's own."""
    if name in _OURS or name in sys.stdlib_module_names or name == "cloudpickle":  # which every worker brings along
        return False
    _top(name)
    return name in _installed_tops


@dataclass(frozen=True)
class _Parsed:
    stamp: tuple[int, int]
    entry: Entry
    wanted: frozenset[str]
    """Names that the source imports, absolute: modules, or what is in them."""


_parsed: dict[tuple[str, str], _Parsed] = {}
"""By (name, path); one process's files do not change their names often."""
_installed_tops: set[str] = set()
"""Top-level names that were found among the installed packages: looking for them again costs more than all the rest."""


class Look:
    """One look at the files: within it each is examined once. Make a new one for each cell."""

    def __init__(self) -> None:
        self._found: dict[str, Entry | None] = {}
        self._wanted: dict[str, frozenset[str]] = {}

    def needed(self, names: Iterable[str]) -> dict[str, Entry]:
        """The user's own modules among `names` (dotted; what is in a module counts for it), and all that these import.

        UsageError when they are too many.
        """
        done: dict[str, Entry] = {}
        todo = list(names)
        seen: set[str] = set()
        size = 0
        while todo:
            name = todo.pop()
            if name in seen or not may_be_own(name):
                continue
            seen.add(name)
            for entry in self._chain(name):
                if entry.name in done:
                    continue
                done[entry.name] = entry
                size += len(entry.source or b"")
                if size > SOURCES_MAX or len(done) > _FILES_MAX:
                    top = entry.name.partition(".")[0]
                    raise UsageError(
                        f"{top} is a package of your own files ({entry.path}) and has more than "
                        f"{SOURCES_MAX >> 20} MiB or {_FILES_MAX} files of source, too much to send "
                        "along: install it at the endpoint"
                    )
                todo += self._wanted.get(entry.name, ())
                if entry.package:
                    todo += _loaded_below(entry.name)
        return {name: self._with_imports(entry, done) for name, entry in sorted(done.items())}

    def digest(self, names: Iterable[str]) -> bytes:
        """Changes when one of the own modules that `names` reach does; empty when they reach none."""
        found = self.needed(names)
        return ",".join(f"{name}={entry.digest}" for name, entry in found.items()).encode()

    def _with_imports(self, entry: Entry, done: dict[str, Entry]) -> Entry:
        imports = set()
        for name in self._wanted.get(entry.name, ()):
            leading = list(self._chain(name))
            if leading and leading[-1].name in done and leading[-1].name != entry.name:
                imports.add(leading[-1].name)
        return Entry(entry.name, entry.digest, entry.path, entry.package, sorted(imports), entry.source)

    def _chain(self, name: str) -> Iterator[Entry]:
        """The packages that lead to a dotted name and the module itself, as far as they are the user's own files."""
        parts = name.split(".")
        if len(parts) == 1 and not may_be_own(name):
            return
        for length in range(1, len(parts) + 1):
            entry = self._one(".".join(parts[:length]))
            if entry is None:
                return
            yield entry
            if not entry.package:
                return

    def _one(self, name: str) -> Entry | None:
        if name not in self._found:
            with contextlib.suppress(OSError):
                self._found[name] = self._examine(name)
        return self._found.setdefault(name, None)

    def _examine(self, name: str) -> Entry | None:
        parent, _, last = name.rpartition(".")
        if parent:
            above = self._one(parent)
            place = _below(above.folder, last) if above is not None and above.package else None
        else:
            place = _top(name)
        if place is None:
            return None
        path, package = place
        if Path(path).is_dir():
            return Entry(name, "namespace", path, True, (), None)
        info = Path(path).stat()
        stamp = info.st_mtime_ns, info.st_size
        known = _parsed.get((name, path))
        if known is None or known.stamp != stamp:
            source = Path(path).read_bytes()
            entry = Entry(name, hashlib.sha256(source).hexdigest()[:32], path, package, (), source)
            known = _parsed[name, path] = _Parsed(stamp, entry, frozenset(_imports(source, name, package)))
        self._wanted[name] = known.wanted
        return known.entry


def _top(name: str) -> tuple[str, bool] | None:
    """(file or folder, whether it is a package) of a top-level module that is the user's own, else None."""
    if name in _installed_tops:
        return None
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    if module is None:
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError, AttributeError):
            return None
    file = getattr(module, "__file__", None) or getattr(spec, "origin", None)
    folders = [str(folder) for folder in getattr(spec, "submodule_search_locations", None) or ()]
    if file and file != "namespace":
        if not _is_own_file(str(file)):
            _installed_tops.add(name)
            return None
        if not (str(file).endswith(".py") and Path(file).is_file()):
            return None
        return str(file), bool(folders)
    # Without a file of its own: a folder beside the notebook, say.
    if len(folders) >= 1 and Path(folders[0]).is_dir() and all(map(_is_own_file, folders)):
        return folders[0], True
    return None


def _below(folder: str, name: str) -> tuple[str, bool] | None:
    base = Path(folder, name)
    if (inside := base / "__init__.py").is_file():
        return str(inside), True
    if (file := Path(f"{base}.py")).is_file():
        return str(file), False
    return (str(base), True) if base.is_dir() else None


def _loaded_below(package: str) -> list[str]:
    """Modules of a package that were loaded here, by whatever way: a registry of plug-ins, say."""
    inside = package + "."
    return [name for name, module in list(sys.modules.items()) if name.startswith(inside) and _is_module(module)]


def _is_module(module: object) -> bool:
    return isinstance(module, ModuleType) and is_own(module)


def _imports(source: bytes, name: str, package: bool) -> Iterator[str]:
    """The absolute dotted names that a module's source imports; nothing when it cannot be read."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return
    yield from imported_by(tree, name if package else name.rpartition(".")[0])


def imported_by(tree: ast.AST, package: str = "") -> Iterator[str]:
    """The absolute dotted names that are imported anywhere in `tree`; relative ones start at `package`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                if node.level > len(parts) or not package:
                    continue
                base = ".".join([*parts[: len(parts) - node.level + 1], *([base] if base else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")
