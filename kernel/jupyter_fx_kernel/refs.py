"""Handles of values that are not here: RemoteValue (a variable of a session) and KeptValue (kept by its endpoint)."""

from __future__ import annotations

import contextlib
import importlib
import operator
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from jupyter_fx import payload
from jupyter_fx.client import Ref
from jupyter_fx.errors import FxError, PayloadError, RefLost
from jupyter_fx_kernel import tracebacks

__all__ = ["LARGER", "KeptValue", "Place", "RemoteValue", "pickling", "size_text"]

LARGER = "larger than"
"""How the reason begins that a value which can travel stayed where it is."""


class _Toward(threading.local):
    session = ""
    weighing = False


_toward = _Toward()


@contextlib.contextmanager
def pickling(session: str, *, weighing: bool = False) -> Iterator[None]:
    """What is pickled goes to this session: a handle of one of its variables means the variable itself there.

    `weighing`: it goes nowhere, and is pickled to know it again: a handle is known by what it stands for.
    """
    before = _toward.session, _toward.weighing
    _toward.session, _toward.weighing = session, weighing
    try:
        yield
    finally:
        _toward.session, _toward.weighing = before


@dataclass
class Place:
    """Where a variable is. `version` counts the objects that its name stood for in its session."""

    name: str
    session: str
    endpoint: str
    kind: str
    cell: str
    version: int
    alive: Callable[[], bool]
    """Whether its session lives."""
    current: Callable[[], int]
    """The version that the session has now."""
    fetch: Callable[[str], Any]
    """Brings it home."""
    keep: Callable[[str], str]
    """Has its endpoint keep it; the id of the task whose result it is."""

    @property
    def lost(self) -> str:
        """Why the value cannot be had any more; empty while it can."""
        if not self.alive():
            return (
                f"{self.name} lived in a remote session on {self.endpoint} that is gone: "
                f"run {self.cell} again, which made it"
            )
        if self.current() != self.version:
            return (
                f"{self.name} was assigned anew in its session on {self.endpoint}, and the value that {self.cell} "
                f"made is gone: run {self.cell} again"
            )
        return ""

    def check(self) -> None:
        """Raise RefLost when it is gone."""
        if why := self.lost:
            raise RefLost(why)

    def is_in(self, session: str, name: str) -> bool:
        """Whether `name` means this very value in that session."""
        return self.session == session and self.name == name and not self.lost


class _There:
    """The session's own namespace, when this is unpickled in it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return importlib.import_module, ("__main__",)


def _by_name(place: Place) -> tuple[Any, ...]:
    return operator.attrgetter(place.name), (_There(),)


def _mark(place: Place) -> tuple[Any, ...]:
    return str, (f"{place.session} {place.name} {place.version}",)


def _described(described: Mapping[str, Any]) -> list[str]:
    words = [str(described.get("type", "object")).removeprefix("numpy.")]
    shape = described.get("shape")
    if isinstance(shape, list | tuple):
        words.append(str(tuple(shape)))
    if described.get("dtype"):
        words.append(str(described["dtype"]))
    return [*words, size_text(int(described.get("size") or 0))]


class RemoteValue:
    """Stands for a variable that is too large to come home by itself, or cannot be pickled.

    In remote cells of the same session its name means the variable itself. As an argument of any other call at that
    endpoint it stands for the value, which its endpoint reads from its own disk. `.get()` brings the value home
    whatever its size. It has no attributes of the value: what is tried on it by mistake says what to do instead.
    """

    _fx_handle_ = True
    __array_ufunc__ = None  # numpy leaves operators to us, which say what to do

    def __init__(self, place: Place, described: Mapping[str, Any], why: str = "") -> None:
        self._fx_place_ = place
        self.described = dict(described)
        self._why = why

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The value's shape, where it has one."""
        shape = self.described.get("shape")
        return tuple(shape) if isinstance(shape, list | tuple) else None

    @property
    def dtype(self) -> str | None:
        """The name of the value's dtype, where it has one."""
        return self.described.get("dtype")

    @property
    def nbytes(self) -> int:
        """Bytes, as estimated there."""
        return int(self.described.get("size") or 0)

    def get(self) -> Any:
        """Bring the value home. Raises RefLost when its session is gone, PayloadError when it cannot be pickled."""
        place = self._fx_place_
        try:
            place.check()
            if not self._can_travel:
                raise PayloadError(
                    f"{place.name} cannot come home because it cannot be pickled ({self._why}): use it in remote "
                    "cells, or make plain data from it there"
                )
            return place.fetch(place.name)
        except FxError as error:
            if "_render_traceback_" not in vars(error):
                tracebacks.show_as(error, tracebacks.plain(error))
            raise

    @property
    def _can_travel(self) -> bool:
        return not self._why or self._why.startswith(LARGER)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(self._fx_instead(f".{name}"))

    def _fx_instead(self, done: str) -> str:
        place = self._fx_place_
        here = f", or bring it here: {place.name}.get(){done}" if self._can_travel else ""
        return f"{place.name} is on {place.endpoint}, not here: use it in a %%remote cell{here}"

    def __reduce_ex__(self, _protocol: Any) -> Any:
        place = self._fx_place_
        if _toward.weighing:
            return _mark(place)
        place.check()
        if _toward.session == place.session:
            return _by_name(place)
        if not payload.takes_inputs():
            raise PayloadError(f"{place.name} is a handle of a value on {place.endpoint}: {place.name}.get() brings it")
        if not self._can_travel:
            raise PayloadError(
                f"{place.name} lives in a session on {place.endpoint} and cannot be used outside of it, because it "
                f"cannot be pickled ({self._why})"
            )
        return payload.as_input(place.keep(place.name), place.name)

    def __repr__(self) -> str:
        place = self._fx_place_
        gone = " (lost)" if place.lost else ""
        how = ".get() brings it here" if self._can_travel else "it cannot be pickled: use it in remote cells"
        return f"<remote {place.name}: {', '.join(_described(self.described))}, on {place.endpoint}{gone}; {how}>"


def _refusing(name: str, done: str) -> Callable[..., NoReturn]:
    def refuse(self: RemoteValue, *_others: Any, **_options: Any) -> NoReturn:
        raise TypeError(self._fx_instead(done))

    refuse.__name__ = name
    refuse.__doc__ = "Say that the value is not here, and what to do."
    return refuse


_BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift")
_OTHERS = {
    "": (
        *("lt", "le", "gt", "ge", "neg", "pos", "abs", "invert", "int", "float", "complex", "index"),
        *("len", "bool", "contains", "array", "iter", "next", "enter"),
    ),
    "(…)": ("call",),
    "[…]": ("getitem", "setitem", "delitem"),
}
for _done, _names in {
    **_OTHERS,
    "": (*_OTHERS[""], *(f"{p}{name}" for name in _BINARY for p in ("", "r", "i"))),
}.items():
    for _name in _names:
        setattr(RemoteValue, f"__{_name}__", _refusing(f"__{_name}__", _done))


class KeptValue(Ref):
    """A value that was a session's variable and that its endpoint keeps: it outlives session, worker and block.

    It may stand anywhere in the arguments of a call at that endpoint; `.get()` brings it home, `.drop()` lets it be
    forgotten there.
    """

    def __init__(self, found: Ref, name: str, endpoint: str, place: Place | None = None) -> None:
        vars(self).update(vars(found))
        self.name, self.endpoint = name, endpoint
        self._fx_place_ = place

    def __reduce_ex__(self, protocol: Any) -> Any:
        place = self._fx_place_
        if _toward.weighing:
            return str, (f"kept {self.task_id}",)
        if place is not None and _toward.session == place.session and not place.lost:
            return _by_name(place)
        return super().__reduce_ex__(protocol)

    def __repr__(self) -> str:
        described = {"size": self.size, **self.summary}
        return f"<kept {self.name}: {', '.join(_described(described))}, by {self.endpoint}; .get() brings it here>"


def size_text(size: int) -> str:
    """`812 B`, `3.4 KiB`, `12.0 MiB`."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
