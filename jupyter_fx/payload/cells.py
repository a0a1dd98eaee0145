"""Cells on their way out and home. Used by the kernel's magics only."""

from __future__ import annotations

import contextlib
import enum
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jupyter_fx.errors import PayloadError
from jupyter_fx.payload import inputs, own
from jupyter_fx.payload.outcomes import decode_error
from jupyter_fx.payload.replay import value_of
from jupyter_fx.payload.sizes import too_big
from jupyter_fx.payload.values import Encoded, apart
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.limits import BLOB_MAX, HOME_LIMIT, PAYLOAD_MAX, WANTED_MAX
from jupyter_fx.protocol.messages import Outcome
from jupyter_fx_worker import aliases, ambient, binding, envelope, names, shown, usermodules

__all__ = [
    "CLOSED",
    "NOTHING",
    "Ambient",
    "CellHome",
    "Pickled",
    "bind",
    "decode_cell",
    "encode_cell",
    "encode_keep",
    "estimate",
    "parts",
    "peek_cell",
    "pickled",
    "root_of",
    "value_in",
]

bind = binding.bind
Ambient = ambient.Ambient
parts = aliases.parts
root_of = aliases.root_of
estimate = names.estimate


CLOSED = "what the cell assigned cannot be opened here"
"""How the reason begins for which names of a cell did not come home."""


class _Nothing(enum.Enum):
    NOTHING = 0


NOTHING = _Nothing.NOTHING
"""Where there is no value, which None would be one."""


@dataclass
class CellHome:
    """What a cell left: `values` by name; `stay` describes those that did not come, `why`; `deleted` are gone there.

    `modules`: modules that the cell imported, by the names that it gave them.
    `same`: names that stand for the object that they stood for before the cell.
    `ambient`: generators and display options that were changed there.
    `record` and `error` are set when the cell failed: the error record of docs/worker-protocol.md and what to raise.
    `problem` says why the values could not be opened here.
    `value`: of the last expression, where it came as an object; else NOTHING.
    """

    values: dict[str, Any] = field(default_factory=dict)
    stay: dict[str, dict[str, Any]] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    bind: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    modules: dict[str, str] = field(default_factory=dict)
    ambient: dict[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] | None = None
    error: BaseException | None = None
    problem: str = ""
    task_id: str = ""
    value: Any = NOTHING


_VALUE_MAX = BLOB_MAX + (1 << 20)
"""An array as large as a blob, and what is said of it."""


class Pickled(NamedTuple):
    """A value as it would travel."""

    data: bytes
    buffers: Sequence[Any]
    """Its out-of-band buffers."""
    code: int
    """envelope.NO_CODE, PORTABLE or BOUND."""
    modules: frozenset[str] = frozenset()
    """Names of the modules that whoever opens it imports."""
    later: frozenset[str] = frozenset()
    """Those that functions in it import when they run."""
    inputs: tuple[str, ...] = ()
    """The tasks whose results it stands for, futures and refs inside of it."""

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data) + sum(memoryview(buffer).nbytes for buffer in self.buffers)


def pickled(value: Any, namespace: dict[str, Any], found: list[types.FunctionType] | None = None) -> Pickled:
    """`value` as it would travel. envelope.TooBig above the limit of a value.

    Functions that live in `namespace`, the notebook's, travel without their globals, and are appended to `found`:
    what they read has to travel too. This is for knowing a value again: a Ref in it is named at the pickle's end.
    """
    with inputs.collecting() as wanted:
        done = _pickled(value, namespace, found)
    # A placeholder is the same for every Ref: the pickle alone would not tell one from another.
    return done._replace(data=done.data + " ".join(wanted).encode(), inputs=tuple(wanted)) if wanted else done


def _pickled(
    value: Any, namespace: dict[str, Any], found: list[types.FunctionType] | None = None, limit: int = _VALUE_MAX
) -> Pickled:
    with envelope.sharing(namespace) as met, envelope.collecting_modules() as modules:
        data, buffers, code = envelope.pickled(value, limit)
    if isinstance(value, types.ModuleType):
        modules.add(value.__name__)
    if found is not None:
        found += met
    return Pickled(data, buffers, code, frozenset(modules), frozenset(modules.later))


def encode_cell(
    values: Mapping[str, Any],
    *,
    namespace: dict[str, Any],
    source: str,
    filename: str,
    count: int,
    want: Sequence[str] = (),
    home_limit: int = HOME_LIMIT,
    silent: bool = False,
    around: Mapping[str, Any] | None = None,
    modules: Sequence[own.Entry] = (),
    needs: Mapping[str, str] | None = None,
    reprs: bool = False,
    known: str = "",
    background: bool = False,
) -> Encoded:
    """A `cell` envelope; large buffers are not copied. Names that share objects go on sharing them there.

    `around` is what `Ambient.changed` told; `modules` are those of the user's own that have to be there first. A Ref
    anywhere in the values stands for its value. `needs`: top-level packages that have to be there, and for what.
    `reprs`: if it fails, its frames come with the reprs of their values. `known`: a variable that need not come back
    as the value of the last expression. `background`: other cells of the notebook run meanwhile.
    """
    first = {usermodules.NAME: own.Bringing(modules)} if modules else {}
    try:
        with inputs.collecting() as wanted, envelope.sharing_memory(values.values()):
            everything = {**first, **values, **({ambient.NAME: around} if around else {})}
            data, buffers, code, *_ = _pickled(everything, namespace, limit=PAYLOAD_MAX)
    except envelope.TooBig:
        raise too_big("what this cell takes along", dict(values)) from None
    header = {"source": source, "filename": filename, "count": count, "want": list(want), "home_limit": home_limit}
    header |= {"want_limit": WANTED_MAX} if want else {}
    header |= {"silent": silent, "bind": [], "made": envelope.versions(), **({"code": True} if code else {})}
    header |= {"refs": len(wanted)} if wanted else {}
    header |= {"needs": dict(needs)} if needs else {}
    header |= {"reprs": True} if reprs else {}
    header |= {"known": known} if known else {}
    header |= {"background": True} if background else {}
    out = apart(buffers)
    pieces = envelope.assemble(data, buffers, "cell", header, out)
    size = envelope.size_of(pieces)
    if size > BLOB_MAX:
        raise too_big("what this cell takes along", dict(values), size)
    return Encoded(pieces, size, wanted, [buffers[number] for number in out])


def peek_cell(data: bytes) -> tuple[str, str]:
    """(source, file name) of a `cell` envelope."""
    header = envelope.peek(data)[0]
    return str(header.get("source") or ""), str(header.get("filename") or "")


def encode_keep(name: str) -> Encoded:
    """A cell that runs nothing: its result is the session's variable `name`."""
    pieces = envelope.dumps({}, "cell", keep=name)
    return Encoded(pieces, envelope.size_of(pieces), [])


def value_in(home: CellHome, content: Mapping[str, Any]) -> Any:
    """The value of the last expression of a cell that showed `content` of it: as it came home, else what shows it."""
    data, metadata = content.get("data"), content.get("metadata")
    if not data:
        return None
    return value_of(data, metadata or {}) if home.value is NOTHING else home.value


def decode_cell(outcome: Outcome) -> CellHome:
    """What a cell's outcome brings home. Never raises: what went wrong is in `error` or `problem`."""
    home = CellHome(task_id=outcome.task_id)
    header: dict[str, Any] = {}
    opened: Any = None
    if outcome.payload:
        try:
            header = envelope.peek(outcome.payload)[0]
            opened = envelope.loads(outcome.payload)[1]
        except Exception as problem:  # noqa: BLE001 unpickling runs the reconstructors of the user's own classes
            home.problem = f"{CLOSED}: {type(problem).__name__}: {problem}"
    home.stay, home.why = dict(header.get("stay") or {}), dict(header.get("why") or {})
    home.deleted, home.bind = list(header.get("deleted") or ()), list(header.get("bind") or ())
    if home.problem:
        # They are there all the same.
        for name, kind in header.get("home") or ():
            home.stay[name], home.why[name] = {"type": kind, "size": 0}, home.problem
    home.modules, home.same = dict(header.get("modules") or {}), list(header.get("same") or ())
    if header.get("k") == "error":
        home.record = header
        if isinstance(opened, tuple) and len(opened) == 2:
            home.values = dict(opened[1] or {})
    elif isinstance(opened, dict):
        home.values = opened
    home.ambient = home.values.pop(ambient.NAME, {})
    if (packed := home.values.pop(shown.NAME, None)) is not None:
        # Of a class that is not here, say: then it is shown as it was there.
        with contextlib.suppress(Exception):
            home.value = envelope.loads(packed)[1]
    elif header.get("last") in home.values:
        home.value = home.values[header["last"]]
    if outcome.state != TaskState.SUCCEEDED:
        with contextlib.suppress(Exception):
            home.error = decode_error(outcome)
        if home.error is None:
            home.error = PayloadError(
                "the remote cell failed and its error cannot be opened here", task_id=outcome.task_id
            )
    return home
