"""Questions about a session, answered between its cells: `who`, `complete`, `inspect`, `unchanged`, `lacks`.

They run no code of the user's beyond what IPython's own limited completer does, and take no longer than they were
given: a timer interrupts what hangs.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import types
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from jupyter_fx_worker import envelope, inventory, names
from jupyter_fx_worker.results import dumps_result

if TYPE_CHECKING:
    from jupyter_fx_worker.cells import Session

__all__ = ["answer", "fingerprint", "size_in_memory", "who"]

NAMES_MAX = 2000
MATCHES_MAX = 500
TEXT_MAX = 256 * 1024
_SAMPLE = 100
_OF_LINE = "_remote_value_"  # the value of a `%remote` line, on its way home
# Of these the attributes are known to be cheap; those of a class of the user's may run anything.
_KNOWN = frozenset(
    (
        *("numpy", "pandas", "scipy", "torch", "jax", "jaxlib", "cupy", "tensorflow", "polars", "xarray", "pyarrow"),
        *("dask", "h5py", "zarr", "sparse", "awkward", "memoryview", "array", "mmap"),
    )
)
_CONTAINERS = (list, tuple, set, frozenset, dict)
_PLAIN = (int, float, complex, bool, str, bytes, bytearray, type(None), range)


class _Late(BaseException):
    """The time for an answer is over. No Exception: code that catches those must not swallow it."""


def answer(session: Session, what: str, args: dict[str, Any]) -> dict[str, Any]:
    """Answer a question; {"error": …} when that fails, {"late": true} when it takes too long."""
    found = _ANSWERS.get(what)
    if found is None:
        return {"error": f"this worker cannot answer {what!r}: it is older than the one who asks"}
    try:
        return _within(float(args.get("within") or 0.25), lambda: found(session, args))
    except _Late:
        return {"late": True}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:500]}


def _late(_number: int, _frame: Any) -> None:
    raise _Late


def _within(seconds: float, do: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do it, interrupted after so many seconds unless user code has the alarm clock for itself."""
    if signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL or signal.getitimer(signal.ITIMER_REAL)[0]:
        return do()
    signal.signal(signal.SIGALRM, _late)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            return do()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


# who


def who(namespace: dict[str, Any], hidden: frozenset[str], made: dict[str, str]) -> list[dict[str, Any]]:
    """Return a row for each variable: {name, type, size, shape, dtype, made}."""
    rows = []
    for name, value in list(namespace.items()):
        if names.is_hidden(name) or name in hidden or name == _OF_LINE:
            continue
        rows.append({"name": name, **_row(value), "made": made.get(name, "")})
    return rows


def _row(value: Any) -> dict[str, Any]:
    kind = type(value)
    if isinstance(value, types.ModuleType):
        return {"type": "module", "size": 0, "shape": None, "dtype": None, "of": value.__name__}
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    known = kind.__module__.partition(".")[0] in _KNOWN
    shape = _read(value, "shape") if known else [len(value)] if isinstance(value, _CONTAINERS) else None
    if not isinstance(shape, (list, tuple)) or not all(type(n) is int for n in shape):
        shape = None
    dtype = _read(value, "dtype") if known else None
    return {
        "type": name,
        "size": size_in_memory(value),
        "shape": None if shape is None else list(shape),
        "dtype": None if dtype is None or callable(dtype) else str(dtype)[:40],
    }


def _read(value: Any, name: str) -> Any:
    try:
        return getattr(value, name, None)
    except Exception:
        return None


def size_in_memory(value: Any) -> int:
    """Return about how many bytes `value` takes; a container's are reckoned from a sample of what is in it."""
    kind = type(value)
    if kind.__module__.partition(".")[0] in _KNOWN:
        return names.estimate(value)
    if not isinstance(value, _CONTAINERS):
        return _shallow(value)
    inner = list(_first(value.values() if isinstance(value, dict) else value))
    size = _shallow(value)
    if inner:
        size += sum(_inner(one) for one in inner) * len(value) // len(inner)
    return size


def _first(values: Any) -> Any:
    for at, value in enumerate(values):
        if at >= _SAMPLE:
            return
        yield value


def _inner(value: Any) -> int:
    known = type(value).__module__.partition(".")[0] in _KNOWN
    return names.estimate(value) if known else _shallow(value)


def _shallow(value: Any) -> int:
    # Not sys.getsizeof of what may be the user's own: it asks the object itself.
    if isinstance(value, (*_PLAIN, *_CONTAINERS)) and type(value).__module__ == "builtins":
        return sys.getsizeof(value)
    return int(object.__sizeof__(value))


def _who(session: Session, _args: dict[str, Any]) -> dict[str, Any]:
    engine = session.ready()
    rows = who(engine.namespace, engine.hidden, session.made)
    return {
        "names": rows[:NAMES_MAX],
        "more": max(0, len(rows) - NAMES_MAX),
        "pid": os.getpid(),
        "cwd": os.getcwd(),
        "python": list(sys.version_info[:3]),
        "rss": _rss(),
        "cells": session.cells,
    }


def _rss() -> int:
    """Bytes of memory that this process holds now; where /proc is not, the most that it ever held."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


# complete, inspect


def _complete(session: Session, args: dict[str, Any]) -> dict[str, Any]:
    code = str(args.get("code") or "")
    at = max(0, min(int(args.get("at", len(code))), len(code)))
    start, matches = session.ready().complete(code, at)
    return {"start": start, "matches": matches[:MATCHES_MAX]}


def _inspect(session: Session, args: dict[str, Any]) -> dict[str, Any]:
    code = str(args.get("code") or "")
    at = max(0, min(int(args.get("at", len(code))), len(code)))
    data = session.ready().inspect(code, at, int(args.get("detail") or 0))
    if not data:
        return {"found": False}
    return {"found": True, "data": {kind: str(text)[:TEXT_MAX] for kind, text in data.items()}}


def fingerprint(parts: Iterable[envelope.Buffer]) -> bytes:
    """Return by what an envelope is known again."""
    found = hashlib.blake2b(digest_size=20)
    for part in parts:
        found.update(part)
    return found.digest()


def _unchanged(session: Session, args: dict[str, Any]) -> dict[str, Any]:
    """Whether a variable that was kept is the same still."""
    name, namespace = str(args.get("name")), session.ready().namespace
    if name not in session.kept or name not in namespace:
        return {"same": False}
    return {"same": session.kept[name] == fingerprint(dumps_result(namespace[name]))}


def _lacks(_session: Session, args: dict[str, Any]) -> dict[str, Any]:
    names_of = [str(name) for name in args.get("names") or ()][:NAMES_MAX]
    lacks = [name for name in names_of if not inventory.has(name)]
    versions = inventory.versions([(str(name), str(dist)) for name, dist in (args.get("asked") or ())[:NAMES_MAX]])
    return {
        "python": list(sys.version_info[:3]),
        "executable": sys.executable,
        "lacks": lacks,
        "packages": versions,
    }


_ANSWERS: dict[str, Callable[[Session, dict[str, Any]], dict[str, Any]]] = {
    "who": _who,
    "complete": _complete,
    "inspect": _inspect,
    "unchanged": _unchanged,
    "lacks": _lacks,
}
