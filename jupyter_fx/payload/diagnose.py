"""Why a value cannot be pickled: walk it down to the part that is to blame."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Iterator
from typing import Any

from jupyter_fx.payload.sizes import known_size, too_big
from jupyter_fx_worker import envelope

__all__ = ["culprit", "diagnose"]

_DEPTH = 12
_WIDTH = 2000  # parts of one object that are looked at
_LOCKS = "locks, threads and queues live in one process: make them inside of the function"
_FILES = "an open file is bound to this process: pass its path and open it there"
_LINKS = "a connection is bound to this process: open it inside of the function"
_CURES = {
    "_thread.lock": _LOCKS,
    "_thread.RLock": _LOCKS,
    "_thread._local": _LOCKS,
    "_queue.SimpleQueue": _LOCKS,
    "generator": "a generator is bound to this process: pass list(…) of it",
    "async_generator": "an asynchronous generator is bound to this process: make it there",
    "coroutine": "a coroutine is bound to this process: pass the function and its arguments",
    "_asyncio.Task": "tasks belong to this process's event loop: pass the function and its arguments",
    "_asyncio.Future": "futures belong to this process's event loop: pass its result",
    "_contextvars.Context": "contexts belong to this process: pass the values",
    "module": "import it inside of the function",
    "_io.TextIOWrapper": _FILES,
    "_io.BufferedReader": _FILES,
    "_io.BufferedWriter": _FILES,
    "_io.BufferedRandom": _FILES,
    "_io.FileIO": _FILES,
    "mmap.mmap": _FILES,
    "_csv.writer": "it writes to a file that is bound to this process: open both there",
    "_csv.reader": "it reads a file that is bound to this process: pass list(…) of it",
    "h5py._hl.files.File": _FILES,
    "zipfile.ZipFile": _FILES,
    "socket": _LINKS,
    "socket.socket": _LINKS,
    "sqlite3.Connection": _LINKS,
    "sqlite3.Cursor": f"{_LINKS}, or pass cursor.fetchall()",
    "psycopg.Connection": _LINKS,
    "sqlalchemy.engine.base.Connection": _LINKS,
    "_ssl._SSLContext": _LINKS,
    "weakref.ReferenceType": "a weak reference is bound to this process: pass what it refers to",
    "frame": "frames and tracebacks belong to this process: pass text made of them",
    "traceback": "frames and tracebacks belong to this process: pass text made of them",
}


_WHOLE = {
    "subprocess.Popen": "a child process belongs to this one: start it there",
    "threading.Thread": "a thread belongs to this process: start it there",
    "queue.Queue": "locks, threads and queues live in one process: pass list(queue.queue)",
    "concurrent.futures.thread.ThreadPoolExecutor": "a pool of threads belongs to this process: make it there",
    "concurrent.futures.process.ProcessPoolExecutor": "a pool of processes belongs to this one: make it there",
    "multiprocessing.pool.Pool": "a pool of processes belongs to this one: make it there",
}
"""What is named itself: the lock inside of it would say nothing to who has never seen it."""


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def diagnose(name: str, value: Any, error: BaseException) -> str:
    """One sentence: which value, which part of it, why, and what to do."""
    if isinstance(error, envelope.TooBig):
        return _too_large(name, value)
    path, part, reason = culprit(value, error)
    kind = _kind(part)
    cure = next(
        (text for known, text in {**_CURES, **_WHOLE}.items() if kind == known or kind.endswith("." + known)), None
    )
    where = f"{name}{path}" if path else name
    tail = f"; {cure}" if cure else "; pass plain data made from it"
    return f"{name} cannot be pickled: {where} is of type {kind}, and {_short(reason)}{tail}"


def _too_large(name: str, value: Any) -> str:
    """The sentence for a value above the limit of a blob; for a function: which value of its makes it so large."""
    if isinstance(value, types.FunctionType):
        parts = [(known_size(part, depth=6), step, part) for step, part in _parts(value)]
        size, step, part = max(parts, key=lambda found: found[0], default=(0, "", value))
        if size:
            return too_big(f"{name}{step}", part).message
    return too_big(name, value).message


def culprit(value: Any, error: BaseException) -> tuple[str, Any, BaseException]:
    """(path, part, error): the deepest part that cannot be pickled by itself, and how one gets to it from `value`."""
    path, seen = "", {id(value)}
    for _ in range(_DEPTH):
        if _kind(value) in _WHOLE:
            break
        for step, part in _parts(value):
            if id(part) in seen:
                continue
            seen.add(id(part))
            own = _fails(part)
            if own is not None:
                path, value, error = path + step, part, own
                break
        else:
            break
    return path, value, error


def _fails(part: Any) -> BaseException | None:
    try:
        envelope.pickled(part, limit=1 << 28)
    except envelope.TooBig:
        return None
    except BaseException as error:  # noqa: BLE001 a value's own pickling may raise anything
        return error
    return None


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """The parts of a value, each with how it is written: keys, items, closure cells, globals of a function,
    attributes."""
    if isinstance(value, dict):
        for key, item in list(value.items())[:_WIDTH]:
            yield f"[{key!r:.40}]", item
        return
    if isinstance(value, (list, tuple, set, frozenset)):
        for at, item in enumerate(list(value)[:_WIDTH]):
            yield f"[{at}]", item
        return
    if isinstance(value, types.MethodType):
        yield ".__self__", value.__self__
        return
    if isinstance(value, types.FunctionType):
        yield from _of_function(value)
        return
    if isinstance(value, type):
        for key, item in vars(value).items():
            if isinstance(item, types.FunctionType):
                yield f".{key}", item
        return
    with contextlib.suppress(Exception):
        for key, item in list(vars(value).items())[:_WIDTH]:
            yield f".{key}", item
    for cls in type(value).__mro__:
        for slot in _slots(cls):
            with contextlib.suppress(Exception):
                yield f".{slot}", getattr(value, slot)


def _of_function(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        with contextlib.suppress(ValueError):
            yield f" → {name} (from the enclosing function)", cell.cell_contents
    for name in function.__code__.co_names:
        if name in function.__globals__:
            yield f" → {name} (a global that it uses)", function.__globals__[name]
    for at, default in enumerate(function.__defaults__ or ()):
        yield f" → default {at}", default


def _slots(cls: type) -> list[str]:
    slots = cls.__dict__.get("__slots__", ())
    names = [slots] if isinstance(slots, str) else list(slots)
    return [name for name in names if name not in {"__dict__", "__weakref__"}]


def _short(error: BaseException) -> str:
    text = str(error).strip().split("\n", 1)[0]
    if len(text) > 300:
        text = text[:297] + "…"
    return f"{type(error).__name__}: {text}" if text else f"{type(error).__name__} was raised"
