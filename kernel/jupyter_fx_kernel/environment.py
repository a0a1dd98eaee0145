"""This kernel's environment beside an endpoint's: what differs, what of it matters, and the cure. Pure but for `used`.

`compare` takes two answers of `jupyter_fx_worker.inventory.describe`.
"""

from __future__ import annotations

import ast
import re
import sys
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jupyter_fx.payload.own import is_own

__all__ = ["Comparison", "Row", "compare", "imports_of", "package", "plain", "requirements", "table", "telling", "used"]

Side = Mapping[str, Any]

SAME, MINOR, MAJOR, MISSING, ONLY_THERE, NOWHERE = (
    "same",
    "differs (minor)",
    "differs (major)",
    "missing there",
    "only there",
    "nowhere",
)

_OURS = frozenset({"jupyter_fx", "jupyter_fx_kernel", "jupyter_fx_worker", "jupyter_fx_hub"})
_SHELLS = frozenset({"IPython", "ipykernel", "__main__", "builtins", "google", "__mp_main__"})
# What goes wrong when two versions of a package exchange objects, at which difference.
_OBJECTS = {
    "numpy": (MAJOR, "arrays of numbers and text cross all the same; object arrays and generators may not open"),
    "pandas": (MAJOR, "data frames of one may not open in the other"),
    "sklearn": (MINOR, "a fitted model of one may fail in the other, or predict something else"),
    "torch": (MAJOR, "models and tensors of one may not open in the other"),
    "scipy": (MAJOR, "sparse matrices and fitted objects of one may not open in the other"),
}


@dataclass(frozen=True)
class Row:
    """One line of the comparison. `matters` says what may go wrong and how to cure it, or is empty."""

    name: str
    here: str
    there: str
    verdict: str
    matters: str = ""


@dataclass
class Comparison:
    """All lines, first those about Python and platform."""

    place: str
    rows: list[Row] = field(default_factory=list)

    @property
    def differing(self) -> list[Row]:
        """The lines that are not `same`."""
        return [row for row in self.rows if row.verdict != SAME]


def compare(here: Side, there: Side, place: str, *, everything: bool = False) -> Comparison:
    """Compare this kernel's environment with the one at `place`."""
    found = Comparison(place)
    found.rows += _interpreters(here, there)
    names = sorted({*here["packages"], *there["packages"]}, key=str.lower)
    for name in names:
        found.rows.append(package(name, here, there))
    if everything:
        known = {plain(row.name) for row in found.rows}
        mine, theirs = _by_name(here.get("all") or {}), _by_name(there.get("all") or {})
        for key in sorted({*mine, *theirs} - known):
            (name, one), (_, other) = mine.get(key, theirs.get(key, (key, None))), theirs.get(key, (key, None))
            one = one if key in mine else None
            found.rows.append(Row(name, one or "–", other or "–", verdict(one, other)))
    return found


def verdict(here: str | None, there: str | None) -> str:
    """How two versions differ: by their first number, below 1.0 by their second, is a major difference."""
    if here is None and there is None:
        return NOWHERE
    if there is None:
        return MISSING
    if here is None:
        return ONLY_THERE
    if here == there or not here or not there:
        return SAME
    first, second = _numbers(here), _numbers(there)
    if first[:1] == second[:1] == [0]:
        first, second = first[1:], second[1:]
    return MINOR if first[:1] == second[:1] else MAJOR


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version.partition("+")[0])]


def _interpreters(here: Side, there: Side) -> list[Row]:
    mine, theirs = list(here["python"]), list(there["python"])
    versions = _dotted(mine), _dotted(theirs)
    if mine[:2] != theirs[:2]:
        why = (
            "functions and classes travel as source and are compiled there; what has no source (made by exec) is "
            f"refused by name. Cure: run the workers with Python {_dotted(mine[:2])} (`c.Endpoint.python`)"
        )
        rows = [Row("Python", *versions, MAJOR, why)]
    else:
        rows = [Row("Python", *versions, SAME if mine == theirs else MINOR)]
    if here.get("implementation") != there.get("implementation"):
        rows.append(Row("implementation", str(here["implementation"]), str(there["implementation"]), MAJOR))
    for key in ("platform", "machine"):
        one, other = str(here.get(key) or ""), str(there.get(key) or "")
        rows.append(Row(key, one, other, SAME if one == other else MINOR))
    if there.get("ipython") is None:
        why = f"magics need it: {_install('ipython', here.get('ipython'), there)}"
        rows.append(Row("IPython", here.get("ipython") or "–", "–", MISSING, why))
    elif "matplotlib" in there["packages"] and not there.get("inline", True):
        why = f"%matplotlib needs it, figures appear all the same: {_install('matplotlib-inline', None, there)}"
        rows.append(Row("matplotlib-inline", "", "–", MISSING, why))
    return rows


def package(name: str, here: Side, there: Side) -> Row:
    """Compare one package of two sides, of which no more than `packages` and `executable` is looked at."""
    distribution, mine = here["packages"].get(name) or (name, None)
    named, theirs = there["packages"].get(name) or (name, None)
    said = verdict(mine, theirs)
    why = ""
    if said == MISSING:
        why = f"cells that use {name} fail there: {_install(distribution, mine, there)}"
    elif said in (MAJOR, MINOR) and name in _OBJECTS:
        least, what = _OBJECTS[name]
        if said == MAJOR or least == MINOR:
            why = f"{what}: {_install(distribution, mine, there)}"
    elif said == MAJOR:
        why = f"its objects may not open on the other side: {_install(distribution, mine, there)}"
    shown = [("–" if version is None else version or "there") for version in (mine, theirs)]
    return Row(distribution if mine is not None else named, shown[0], shown[1], said, why)


def telling(row: Row) -> bool:
    """Whether two versions differ by more than a release that mends: in their first two numbers, or so that it
    matters.
    """
    if row.verdict not in (MAJOR, MINOR):
        return False
    return bool(row.matters) or _numbers(row.here)[:2] != _numbers(row.there)[:2]


def _install(distribution: str, version: str | None, there: Side) -> str:
    exact = f"{distribution}=={version.partition('+')[0]}" if version else distribution
    return install([exact], there["executable"], str(there.get("within") or ""))


def install(distributions: Sequence[str], executable: str, within: str = "") -> str:
    """How they get into an environment. `within`: its name; what was built from a file gets them from there."""
    wanted = " ".join(distributions)
    if within.startswith("built:"):
        return f"`RUN {executable} -m pip install {wanted}` in what its image is built from"
    if within.startswith("env:"):
        return f"`{wanted}` in what its environment is built from"
    return f"`{executable} -m pip install {wanted}`"


def _dotted(version: Sequence[int]) -> str:
    return ".".join(map(str, version))


def plain(name: str) -> str:
    """The name of a distribution as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _by_name(versions: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    return {plain(name): (name, version) for name, version in versions.items()}


def table(found: Comparison, *, all_rows: bool = True) -> str:
    """The comparison as text: a line for each thing, then what matters and how to cure it."""
    rows = found.rows if all_rows else [row for row in found.rows if row.verdict != SAME or row.name == "Python"]
    lines = [("", "here", f"on {found.place}", "")]
    lines += [(row.name, row.here, row.there, row.verdict) for row in rows]
    widths = [max(len(line[at]) for line in lines) for at in range(3)]
    shown = [
        "  ".join([*(part.ljust(width) for part, width in zip(line, widths, strict=False)), line[3]]).rstrip()
        for line in lines
    ]
    notes = [f"{row.name}: {row.matters}" for row in found.rows if row.matters]
    same = len(found.rows) - len(rows)
    if same:
        shown.append(f"and {same} that are the same")
    if not notes:
        notes = ["nothing differs" if not found.differing else "no difference matters"]
    return "\n".join([*shown, "", *notes])


# --- what a notebook uses ---


def imports_of(source: str) -> set[str]:
    """The top-level packages that a cell's text imports; magics are read over. Empty when it is no Python."""
    lines = ["" if line.lstrip().startswith(("%", "!", "?")) else line for line in source.split("\n")]
    try:
        tree = ast.parse("\n".join(lines))
    except (SyntaxError, ValueError):
        return set()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def used(namespace: Mapping[str, Any], cells: Iterable[str]) -> set[str]:
    """The packages that a notebook uses: those that its cells import, and those that its variables are made by."""
    found: set[str] = set().union(*(imports_of(cell) for cell in cells))
    for name, value in list(namespace.items()):
        if not name.startswith("_"):
            module = value.__name__ if isinstance(value, types.ModuleType) else getattr(type(value), "__module__", "")
            found.add(str(module or "").partition(".")[0])
    return {name for name in found if name and _is_package(name)}


def _is_package(name: str) -> bool:
    if name in sys.stdlib_module_names or name in _OURS or name in _SHELLS or not name.isidentifier():
        return False
    module = sys.modules.get(name)
    return module is None or not is_own(module)


def requirements(sides: Sequence[Side], python: Sequence[int]) -> str:
    """A requirements file: the version here of each package, else the one there. No addresses, no hashes."""
    lines = [f"# What the notebook uses, as it was with Python {_dotted(python[:2])}."]
    names = sorted({name for side in sides for name in side["packages"]}, key=str.lower)
    for name in names:
        for side in sides:
            distribution, version = side["packages"].get(name) or (name, None)
            if version:
                lines.append(f"{distribution}=={version}")
                break
        else:
            lines.append(f"# {name}: its version is not known")
    return "\n".join(lines) + "\n"
