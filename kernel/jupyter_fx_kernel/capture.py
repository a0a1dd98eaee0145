"""What a cell takes along: from the names it mentions to the values that travel.

`Ledger` remembers what the session has: a name whose value has not changed is not sent again, and a remote object is
never overwritten by an unchanged copy of it. Every name has one owner, the side that last assigned it; when both sides
changed one, the next cell that needs it stops before it runs and says which options decide (`-i`, `-o`).
"""

from __future__ import annotations

import itertools
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_fx.digest import digest_parts
from jupyter_fx.errors import PayloadError, UsageError
from jupyter_fx.payload.cells import Pickled, estimate, parts, root_of
from jupyter_fx.payload.own import Entry, Look, is_installed
from jupyter_fx.payload.summaries import summary
from jupyter_fx_kernel.mentions import Mentions, code_names
from jupyter_fx_kernel.refs import size_text

__all__ = ["Capture", "Item", "Ledger", "capture", "digest_of", "nearest_names"]

Pickler = Callable[[Any, list[types.FunctionType]], Pickled]
Explain = Callable[[str, Any, BaseException], str]

SOFT_LIMIT = 1 << 20
"""Bytes: a name that only a string mentions is taken along up to this size."""
_WALK_MAX = 500
"""Objects looked at per name when looking among the other names for one that shares objects with those that travel."""
# IPython's own variables mean the remote shell's there.
_SHELLS_OWN = frozenset(
    {"In", "Out", "_", "__", "___", "_i", "_ii", "_iii", "_ih", "_oh", "_dh", "get_ipython", "exit", "quit", "open"}
)


@dataclass(frozen=True)
class Item:
    """One captured name. `state`: `sent`, `there` (the session has it), `import`, `skipped` or `cannot` (see the note).

    `warning` is what its owner should know of its journey.
    """

    name: str
    kind: str
    size: int
    state: str
    note: str = ""
    digest: str = ""
    warning: str = ""


@dataclass
class Capture:
    """What travels: `values` by name, their digests, the story of each name for `--dry-run`."""

    values: dict[str, Any] = field(default_factory=dict)
    items: list[Item] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    modules: dict[str, Entry] = field(default_factory=dict)
    """The user's own modules that these, and the cell itself, import: the session has to have them."""
    look: Look = field(default_factory=Look)
    wanted: set[str] = field(default_factory=set)
    """Modules that the cell and what travels import, whosever they are."""
    needs: dict[str, str] = field(default_factory=dict)
    """Installed packages that have to be there before anything can run: top-level name -> what needs it."""

    inputs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The tasks whose results the cell waits for, by the name that holds their futures."""

    @property
    def size(self) -> int:
        """Bytes that travel."""
        return sum(item.size for item in self.items if item.state == "sent")


class Ledger:
    """What one session holds of this notebook's names, by digest. A new session starts with an empty one."""

    def __init__(self, session: str = "") -> None:
        self.session = session
        """Its id; empty for a worker of the pool."""
        self._there: dict[str, str] = {}
        self._unstable: dict[str, int] = {}
        self._conflicts: dict[str, str] = {}
        self._cells = 0
        self._last: dict[str, int] = {}

    def cell(self) -> int:
        """A number for the cell that is about to be sent: later ones have larger ones."""
        self._cells += 1
        return self._cells

    def touched_after(self, name: str, cell: int) -> bool:
        """Whether a cell that was sent after that one took `name` along or brought it home."""
        return self._last.get(name, 0) > cell

    def has(self, name: str, digest: str, value: object) -> bool:
        """Whether the session's value of `name` is this one."""
        return self._there.get(name) == digest or self._unstable.get(name) == id(value)

    def sent(self, digests: Mapping[str, str], cell: int) -> None:
        """These were sent, with that cell."""
        for name, digest in digests.items():
            self._last[name] = cell
            self._unstable.pop(name, None)
            self._conflicts.pop(name, None)
            self._there[name] = digest

    def came_home(self, name: str, value: object, pickler: Pickler, cell: int) -> None:
        """`value` was assigned by that cell and brought home: the session has it as it is now.

        Pickles of some objects differ each time (sets of strings, figures): those are known by identity instead.
        """
        self.forget([name])
        self._last[name] = max(cell, self._last.get(name, 0))
        try:
            first, second = (_digest(pickler(value, [])) for _ in range(2))
        except Exception:  # noqa: BLE001 - whatever its own pickling raises, the object is known by identity
            self._unstable[name] = id(value)
            return
        self._there[name] = first
        if first != second:
            self._unstable[name] = id(value)

    def known(self, name: str) -> str | None:
        """The digest that the session holds of `name`, or None."""
        return self._there.get(name)

    def conflict(self, name: str, why: str) -> None:
        """Both sides changed `name`."""
        self._conflicts[name] = why

    def forget(self, names: Iterable[str]) -> None:
        """Nothing is known of what the session has under these names."""
        for name in names:
            self._there.pop(name, None)
            self._unstable.pop(name, None)
            self._conflicts.pop(name, None)

    def check(self, names: Iterable[str], decided: Iterable[str]) -> None:
        """Raise UsageError if both sides changed one of `names` and it is not among the `decided`."""
        for name in sorted(set(names) - set(decided)):
            if name in self._conflicts:
                raise UsageError(
                    f"{name} was changed here and in the remote session ({self._conflicts[name]}): "
                    f"`%%remote -i {name}` sends yours there, `%%remote -o {name}` brings theirs here"
                )


def capture(
    found: Mentions,
    namespace: Mapping[str, Any],
    ledger: Ledger,
    *,
    pickler: Pickler,
    explain: Explain,
    include: Sequence[str] = (),
    outputs: Sequence[str] = (),
    hidden: Mapping[str, Any] | None = None,
    automatic: bool = True,
    modules: Iterable[str] = (),
    tolerant: bool = False,
) -> Capture:
    """Choose what travels with a cell that mentions `found`.

    `include` (-i) is sent whatever the session has; `outputs` (-o) decides conflicts for the session's side; without
    `automatic` only `include` travels. `modules` are the user's own that the session has: an edited one goes again.
    Raises UsageError for an unknown name in `include` or an undecided conflict, PayloadError naming what cannot be
    pickled; when `tolerant` an item says so instead.
    """
    for name in include:
        if name not in namespace:
            raise UsageError(f"-i {name}: this notebook has no variable called {name}{nearest_names(name, namespace)}")
    hidden = hidden or {}
    hard = set(include)
    usable = {name for name in namespace if _travels(name, namespace[name], hidden)} if automatic else set()
    hard |= found.hard & usable
    soft = set(found.soft & usable) - hard
    done = Capture(wanted={*found.imports, *modules})
    pickles: dict[str, str] = {}
    seen: set[str] = set()
    while todo := (hard | soft) - seen:
        seen |= todo
        ledger.check(todo, [*include, *outputs])
        for name in sorted(todo):
            if name in outputs and name not in include and ledger.known(name) is not None:
                continue
            take = _Taking(name, namespace[name], forced=name in include, soft=name in soft, tolerant=tolerant)
            functions = take.into(done, pickles, ledger, pickler, explain)
            (soft if take.soft else hard).update(_read_by(functions) & usable)
        if not (hard | soft) - seen:
            soft |= _aliases(usable - seen, seen - found.soft, namespace)
    _group(done, pickles, namespace)
    done.modules = done.look.needed(done.wanted)
    for name in sorted(found.certain):
        _need(done, name, f"`import {name.partition('.')[0]}`")
    return done


def _need(done: Capture, module: str, by: str) -> None:
    top = module.partition(".")[0]
    if top not in done.needs and is_installed(top):
        done.needs[top] = by


def _aliases(others: set[str], names: set[str], namespace: Mapping[str, Any]) -> set[str]:
    """Those of the `others` that share objects with `names`: a change through one of these shows through them too."""
    moving = set().union(*(parts(namespace[name]) for name in names))
    if not moving:
        return set()
    return {name for name in others if parts(namespace[name], _WALK_MAX) & moving and _light(namespace[name])}


def _light(value: Any) -> bool:
    """Whether it can be looked at closely without thinking of what that costs."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return estimate(value) + sum(estimate(part) for part in itertools.islice(inner, _WALK_MAX)) <= SOFT_LIMIT


def _read_by(functions: Iterable[types.FunctionType]) -> set[str]:
    """The names of the notebook that these functions, and the functions inside of them, read."""
    return set().union(*(code_names(function.__code__)[0] for function in functions))


@dataclass
class _Taking:
    """One name that may travel."""

    name: str
    value: Any
    forced: bool
    soft: bool
    tolerant: bool = False

    def into(
        self, done: Capture, pickles: dict[str, str], ledger: Ledger, pickler: Pickler, explain: Explain
    ) -> list[types.FunctionType]:
        """Take it along if it has to be; returns the notebook's functions inside of it."""
        name, value = self.name, self.value
        place = getattr(value, "_fx_place_", None)
        if place is not None and place.is_in(ledger.session, name):
            done.items.append(Item(name, place.kind, 0, "there", "stayed where it was made"))
            return []
        kind = summary(value) if place is None else f"a reference to {place.kind}"
        functions: list[types.FunctionType] = []
        try:
            pickled = pickler(value, functions)
        except Exception as error:  # noqa: BLE001 - whatever its own pickling raises, it is told in our words
            if self.soft:
                done.items.append(Item(name, kind, 0, "skipped", "only mentioned in a string, and cannot be pickled"))
                return []
            known = isinstance(error, PayloadError | UsageError)
            refusal = error if known else PayloadError(explain(name, value, error))
            if self.tolerant:
                done.items.append(Item(name, kind, 0, "cannot", str(refusal)))
                return []
            raise refusal from None
        size = pickled.size
        if self.soft and pickled.inputs:
            # The cell would wait for those tasks, and fail with them.
            done.items.append(
                Item(name, kind, size, "skipped", "not named by the code, and holds a future: -i sends it")
            )
            return []
        done.wanted |= pickled.modules | pickled.later
        pickles[name] = digest = _digest(pickled, done.look)
        if not self.forced and ledger.has(name, digest, value):
            done.items.append(Item(name, kind, size, "there", digest=digest))
        elif self.soft and size > SOFT_LIMIT:
            done.items.append(Item(name, kind, size, "skipped", "only mentioned in a string, and large: -i sends it"))
        else:
            for module in sorted(pickled.modules):
                _need(done, module, name)
            _send(done, name, value, size, digest, kind)
            if pickled.inputs:
                done.inputs[name] = pickled.inputs
        return functions


def _send(done: Capture, name: str, value: Any, size: int, digest: str, kind: str) -> None:
    done.values[name] = value
    done.digests[name] = digest
    state = "import" if isinstance(value, types.ModuleType) else "sent"
    done.items.append(Item(name, kind, size, state, digest=digest, warning=_warning(value, size)))


def _warning(value: Any, size: int) -> str:
    """What the owner of `value` should know before it travels."""
    memmap = getattr(sys.modules.get("numpy"), "memmap", None)
    root = root_of(value)
    if memmap is None or not isinstance(root, memmap):
        return ""
    file = getattr(root, "filename", None)
    named = f" ({Path(file).name})" if file else ""
    return (
        f"is mapped from a file{named}, and travels as a copy of {size_text(size)}: where the endpoint has the file, "
        "open it there"
    )


def _group(done: Capture, pickles: Mapping[str, str], namespace: Mapping[str, Any]) -> None:
    """Send what shares objects with something that is sent: in one pickle they go on sharing them there."""
    there = [item for item in done.items if item.state == "there" and item.name in pickles]
    if not there or not done.values:
        return
    inner = {item.name: parts(namespace[item.name]) for item in there}
    moving = set().union(*(parts(namespace[name]) for name in done.values))
    changed = True
    while changed:
        changed = False
        for item in list(there):
            if inner[item.name] & moving:
                there.remove(item)
                done.items.remove(item)
                moving |= inner[item.name]
                _send(done, item.name, namespace[item.name], item.size, pickles[item.name], item.kind)
                changed = True


def _travels(name: str, value: Any, hidden: Mapping[str, Any]) -> bool:
    if name in _SHELLS_OWN or (name.startswith("__") and name.endswith("__")):
        return False
    if name.startswith("_") and name.lstrip("_i").isdigit():
        return False
    return not (name in hidden and hidden[name] is value)


def _digest(pickled: Pickled, look: Look | None = None) -> str:
    """The digest of a value's bytes, and of the user's own modules that these name: an edited one makes it another."""
    sources = (look or Look()).digest(pickled.modules)
    return digest_parts([pickled.data, sources, *(memoryview(buffer).cast("B") for buffer in pickled.buffers)])


def digest_of(value: Any, pickler: Pickler) -> str:
    """The digest by which a ledger knows `value`; empty when it cannot be pickled."""
    try:
        return _digest(pickler(value, []))
    except Exception:  # noqa: BLE001 - whatever its own pickling raises
        return ""


def nearest_names(name: str, namespace: Iterable[str]) -> str:
    """` (nearest: a, b)`, or nothing when no name is like it."""
    import difflib

    near = difflib.get_close_matches(name, [n for n in namespace if not n.startswith("_")], 3)
    return f" (nearest: {', '.join(near)})" if near else ""
