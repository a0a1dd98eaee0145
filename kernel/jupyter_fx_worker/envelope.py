"""Envelopes: values pickled into them, and opened again. Their bytes are in `layout`, whose names are here, too.

Only worker, client and kernel open envelopes; whoever is between them passes the bytes on.
"""

from __future__ import annotations

import dis
import hashlib
import pickle
import sys
import threading
import zlib
from collections import ChainMap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import _lru_cache_wrapper, lru_cache
from importlib import import_module
from io import BytesIO
from types import CodeType, FunctionType, ModuleType
from typing import Any, Callable

import cloudpickle

from jupyter_fx_worker import aliases, classes, codes, modern
from jupyter_fx_worker.layout import (
    ALIGN,
    MAGIC,
    MAX_HEADER,
    MAX_INLINE_EVER,
    PYTHON,
    Buffer,
    EnvelopeError,
    Header,
    assemble,
    peek,
    size_of,
)
from jupyter_fx_worker.versions import difference, versions

__all__ = [
    "ALIGN",
    "MAGIC",
    "MAX_HEADER",
    "MAX_INLINE_EVER",
    "PYTHON",
    "Buffer",
    "EnvelopeError",
    "Met",
    "PythonMismatch",
    "TooBig",
    "VersionMismatch",
    "assemble",
    "collecting_modules",
    "dumps",
    "fingerprint",
    "loads",
    "peek",
    "pickled",
    "sharing",
    "sharing_memory",
    "size_of",
    "unpickled",
    "versions",
]

NO_CODE, PORTABLE, BOUND = 0, 1, 2
"""What `pickled` tells of code: none; such as any Python can open; some that this minor version alone can."""

# Below this a buffer is cheaper inside of the pickle (still writable there) than as an entry of its own.
_IN_BAND_BELOW = 2048
# The header lists every buffer's size: a value with more buffers than this keeps the rest inside of the pickle.
_MAX_BUFFERS = 20_000
# Types that plain pickle carries exactly as cloudpickle does; its C pickler starts ten times faster.
_PLAIN = frozenset((int, float, str, bytes, bool, type(None), complex))
_LONG = 500


class PythonMismatch(TypeError):
    """Code made by one Python minor version was about to be opened by another, which crashes or lies."""

    def __init__(self, theirs: Sequence[int], ours: Sequence[int], what: str = "code", why: str = "") -> None:
        self.theirs, self.ours, self.what, self.why = tuple(theirs), tuple(ours), what, why
        super().__init__(tuple(theirs), tuple(ours), what, why)

    def __str__(self) -> str:
        theirs, ours = (".".join(map(str, version)) for version in (self.theirs, self.ours))
        return (
            f"{self.what} was made by Python {theirs} and cannot run on Python {ours}"
            f"{', because ' + self.why if self.why else ''}: use the same minor version on both sides"
            f"{', or define it in a cell or file of its own' if self.why.startswith('its source') else ''}"
        )


class VersionMismatch(TypeError):
    """What other versions of Python or of packages made cannot be opened here."""


class TooBig(ValueError):
    """The pickle grew above the limit that it was given; nothing more of it was made."""


class _Main:
    """The module `__main__` of whoever opens the pickle."""

    def __reduce__(self) -> Any:
        return import_module, ("__main__",)


class _Namespace:
    """The namespace of that module."""

    def __reduce__(self) -> Any:
        return vars, (_Main(),)


class _Sharing(threading.local):
    namespace: dict[str, Any] | None = None
    modules: Met | None = None

    def __init__(self) -> None:
        self.found: list[FunctionType] = []
        self.roots: dict[int, Any] = {}


_sharing = _Sharing()
_NAMESPACE = _Namespace()


@contextmanager
def sharing(namespace: dict[str, Any]) -> Iterator[list[FunctionType]]:
    """Within this, functions that live in `namespace` are pickled without globals, wherever they are inside of a value.

    Where the pickle is opened they live in the namespace of `__main__`: a notebook's functions and methods then see the
    session's variables and the other way round. cloudpickle alone gives each a private copy of the globals it uses,
    which goes on showing the old value of a variable that has long since changed. Gives the list of functions that were
    met: what they read has to be there.
    """
    before = _sharing.namespace, _sharing.found
    _sharing.namespace, _sharing.found = namespace, []
    try:
        yield _sharing.found
    finally:
        _sharing.namespace, _sharing.found = before


@contextmanager
def sharing_memory(values: Iterable[Any]) -> Iterator[None]:
    """Within this, those of `values` that are arrays showing the same memory go on doing so where they are opened."""
    before = _sharing.roots
    _sharing.roots = aliases.shared_roots(values)
    try:
        yield
    finally:
        _sharing.roots = before


class Met(set):  # type: ignore[type-arg]
    """Modules that whoever opens a pickle imports; `later`: those that functions in it import when they run."""

    def __init__(self) -> None:
        super().__init__()
        self.later: set[str] = set()


@contextmanager
def collecting_modules() -> Iterator[Met]:
    """Within this, the modules of all functions and classes that are met are put into the set that it gives.

    Modules that are values themselves, too.
    """
    before = _sharing.modules
    found = Met()
    _sharing.modules = found
    try:
        yield found
    finally:
        _sharing.modules = before


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """cloudpickle, but any numpy reads its plain arrays, cached functions go by value, and code is noticed."""

    def __init__(self, file: Any, buffer_callback: Callable[[Any], Any] | None) -> None:
        self.code = NO_CODE
        own: dict[Any, Any] = {CodeType: self._code, _lru_cache_wrapper: _reduce_cached, **classes.REDUCERS}
        numpy = sys.modules.get("numpy")
        if numpy is not None and hasattr(numpy, "ndarray"):
            own[numpy.ndarray] = _reduce_array
            own[getattr(numpy, "memmap", None)] = _reduce_memmap
        # The C pickler looks its dispatch table up when it is initialised, not later.
        self.dispatch_table = ChainMap(own, cloudpickle.Pickler.dispatch_table)
        self._shared = _sharing.namespace
        self._generated: set[int] = set()
        super().__init__(file, protocol=5, buffer_callback=buffer_callback)

    def _dynamic_function_reduce(self, func: FunctionType) -> Any:
        make, arguments, state, *rest = super()._dynamic_function_reduce(func)
        if self._shared is not None and func.__globals__ is self._shared:
            _sharing.found.append(func)
            state[1]["__globals__"] = {}
            arguments = (arguments[0], _NAMESPACE, *arguments[2:])
        return (make, arguments, state, *rest)

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is FunctionType:
            return self._function_reduce(obj)
        try:
            return classes.reduced(obj, self._generated) if issubclass(kind, type) else NotImplemented
        except TypeError:  # a metaclass that is no class
            return NotImplemented

    def _code(self, code: CodeType) -> Any:
        made, portable = codes.reduced(code)
        self.code = max(self.code, PORTABLE if portable or id(code) in self._generated else BOUND)
        return made


class _Collecting(_Pickler):
    """One that notes modules."""

    def __init__(self, file: Any, buffer_callback: Callable[[Any], Any] | None, modules: Met) -> None:
        self._modules = modules
        super().__init__(file, buffer_callback)
        self.dispatch_table.maps[0][ModuleType] = self._module

    def _module(self, module: ModuleType) -> Any:
        self._modules.add(module.__name__)
        return cloudpickle.Pickler.dispatch_table[ModuleType](module)

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is FunctionType or isinstance(obj, type):
            self._modules.add(str(getattr(obj, "__module__", "")))
            return super().reducer_override(obj)
        return NotImplemented

    def _code(self, code: CodeType) -> Any:
        self._modules.later.update(_imported_by(code))
        return super()._code(code)


@lru_cache(maxsize=4096)
def _imported_by(code: CodeType) -> frozenset[str]:
    """The modules that the code of a function, without the functions inside of it, imports when it runs."""
    if not code.co_names:
        return frozenset()
    found = (instruction for instruction in dis.get_instructions(code) if instruction.opname == "IMPORT_NAME")
    return frozenset(str(instruction.argval) for instruction in found)


class _Limited(BytesIO):
    """A file that refuses to grow above a limit, so that pickling a huge object stops early."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.left = limit

    def write(self, data: Any) -> int:
        self.take(memoryview(data).nbytes)
        return super().write(data)

    def take(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise TooBig("larger than its limit")


def _reduce_array(array: Any) -> Any:
    """Reduce an exact ndarray of a plain dtype to (dtype, shape, order, buffer).

    numpy 1 and 2 cannot read each other's pickles.
    """
    dtype = array.dtype
    numpy = sys.modules["numpy"]
    if _sharing.roots and array.base is not None and type(array) is numpy.ndarray:
        root = aliases.root_of(array)
        if root is not array and id(root) in _sharing.roots and not (dtype.hasobject or dtype.names):
            at = [part.__array_interface__["data"][0] for part in (array, root)]
            return _build_view, (root, dtype.str, array.shape, array.strides, at[0] - at[1])
    if dtype.kind not in "biufcmMSU" or not dtype.itemsize or dtype.metadata or numpy.dtype(dtype.str) != dtype:
        return array.__reduce_ex__(5)
    flags = array.flags
    order = "C"
    if not flags.c_contiguous:
        if flags.f_contiguous:
            order = "F"
        else:
            array = numpy.ascontiguousarray(array)
    flat = array.ravel(order).view(numpy.uint8) if array.size else b""
    made = (dtype.str, array.shape, order, pickle.PickleBuffer(flat))
    return _build_array, made if flags.writeable else (*made, False)


def _reduce_memmap(array: Any) -> Any:
    """Send what is in the file: the file is not there, and its own pickle would copy all of it into memory twice."""
    return _reduce_array(array.view(sys.modules["numpy"].ndarray))


def _build_array(dtype: str, shape: tuple[int, ...], order: str, buffer: Any, writable: bool = True) -> Any:
    import numpy as np

    if writable and memoryview(buffer).readonly:
        buffer = bytearray(buffer)
    array: Any = np.ndarray(shape, dtype=dtype, buffer=buffer or None, order=order)  # type: ignore[arg-type]
    if not writable:
        array.flags.writeable = False
    return array


def _build_view(root: Any, dtype: str, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Any:
    import numpy as np

    return np.ndarray(shape, dtype=dtype, buffer=root, offset=offset, strides=strides)


def _reduce_cached(cached: Any) -> Any:
    """Send the function inside of an `@lru_cache` and its parameters: by itself it pickles as a name."""
    wrapped = cached.__wrapped__
    by_name = cloudpickle.cloudpickle._should_pickle_by_reference(wrapped)  # noqa: SLF001 - the question has no public name
    parameters = getattr(cached, "cache_parameters", None)
    if by_name or parameters is None:
        return cached.__reduce__()
    return _build_cached, (wrapped, parameters())


def _build_cached(wrapped: Any, parameters: dict[str, Any]) -> Any:
    return lru_cache(**parameters)(wrapped)


def is_plain(obj: Any) -> bool:
    """True when `obj` is a scalar, or a flat list, tuple or dict of scalars, of exactly the built-in types."""
    kind = type(obj)
    if kind in _PLAIN:
        return True
    if kind is list or kind is tuple:
        # On a long one the check costs more than the other pickler's slower start.
        return len(obj) < _LONG and _PLAIN.issuperset(map(type, obj))
    return (
        kind is dict
        and len(obj) < _LONG
        and _PLAIN.issuperset(map(type, obj))
        and _PLAIN.issuperset(map(type, obj.values()))
    )


def pickled(obj: Any, limit: int | None = None) -> tuple[bytes, list[memoryview], int]:
    """Pickle `obj`; return (pickle, its out-of-band buffers, NO_CODE, PORTABLE or BOUND).

    With `limit`, raises TooBig as soon as pickle and buffers together pass it. Raises whatever the object's own
    pickling raises.
    """
    buffers: list[memoryview] = []
    file = _Limited(1 << 62 if limit is None else limit)

    def keep(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < _IN_BAND_BELOW or len(buffers) >= _MAX_BUFFERS:
            return True
        file.take(raw.nbytes)
        buffers.append(raw)
        return False

    modules = _sharing.modules
    pickler = _Pickler(file, keep) if modules is None else _Collecting(file, keep, modules)
    try:
        pickler.dump(obj)
    except RuntimeError as error:
        # cloudpickle's own wording for the same thing.
        if "recursion" in str(error).lower():
            raise pickle.PicklingError("the object is nested too deeply to be pickled") from error
        raise
    finally:
        # The pickler is part of a cycle (its table has a method of its own): its memo would keep the value until a
        # collection.
        pickler.clear_memo()
    return file.getvalue(), buffers, pickler.code


class _Hashing(_Limited):
    """A file that keeps nothing but a hash of what is written to it."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.hash = hashlib.blake2b(digest_size=16)

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self.take(size)
        self.hash.update(data)
        return size


def fingerprint(obj: Any, limit: int, buffers: int) -> tuple[bytes, int]:
    """Return what changes when `obj` does, without keeping its pickle.

    Raises TooBig when the pickle passes `limit` bytes or its out-of-band buffers pass `buffers`.
    """
    file, left, sums = _Hashing(limit), buffers, 0

    def sum_up(buffer: pickle.PickleBuffer) -> None:
        nonlocal left, sums
        raw = buffer.raw()
        left -= raw.nbytes
        if left < 0:
            raise TooBig("larger than its limit")
        sums = zlib.crc32(raw, sums)

    pickler = _Pickler(file, sum_up)
    try:
        pickler.dump(obj)
    finally:
        pickler.clear_memo()
    return file.hash.digest(), sums


def dumps(obj: Any, kind: str, **extra: Any) -> list[Buffer]:
    """Return the pieces of an envelope of `kind` around `obj`, in order, without copying its large buffers.

    `extra` are further header fields (JSON values). Raises EnvelopeError when the header is above 1 MiB.
    """
    if is_plain(obj) or (kind == "args" and is_plain(obj[0]) and is_plain(obj[1])):
        return assemble(pickle.dumps(obj, 5), (), kind, extra)
    data, buffers, code = pickled(obj)
    if code:
        extra["code"] = True
    return assemble(data, buffers, kind, extra)


def loads(buffer: Buffer, apart: Sequence[Buffer] = ()) -> tuple[Header, Any]:
    """Open an envelope: `(header, value)`. Arrays of the value live in `buffer` when that is writable, else in a copy.

    `apart` are the buffers that the envelope leaves out, in their order; arrays live in these.

    Raises EnvelopeError, PythonMismatch (before any of the code could run), or whatever the unpickling raises.
    """
    header, at = peek(buffer)
    sizes = header["b"]
    view = memoryview(buffer)
    if len(sizes) > 1 and view.readonly:
        view = memoryview(bytearray(view))
    end = at + sizes[0]
    data = view[at:end]
    buffers = []
    out = header.get("x") or ()
    if len(out) != len(apart):
        raise EnvelopeError(f"the envelope leaves out {len(out)} buffers, {len(apart)} came with it")
    left_out = iter(apart)
    for number, size in enumerate(sizes[1:]):
        if number in out:
            part = memoryview(next(left_out))
            if part.nbytes != size:
                raise EnvelopeError(f"a buffer of {size} bytes was left out, {part.nbytes} came")
            buffers.append(part)
            continue
        end += -end % ALIGN
        buffers.append(view[end : end + size])
        end += size
    if len(view) < end:
        raise EnvelopeError(f"the envelope is cut off: {len(view)} of {end} bytes")
    version = header.get("py") or PYTHON
    try:
        return header, unpickled(data, buffers, version, str(header.get("name") or ""))
    except PythonMismatch:
        raise
    except Exception as error:
        said = difference(version, header.get("made") or header.get("packages") or {})
        if not said or _is_missing(error):
            raise
        reason = f"{type(error).__name__}: {error}"[:300]
        raise VersionMismatch(
            f"what was made with {said[0]} cannot be opened with {said[1]} ({reason}): "
            "use the same versions on both sides, or send plain data"
        ) from error


def _is_missing(error: Exception) -> bool:
    """Whether a package as a whole is not here: that says everything."""
    return isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] not in sys.modules


def unpickled(data: Any, buffers: Sequence[Any] = (), version: Sequence[int] = (), name: str = "") -> Any:
    """Open a pickle that `pickled` made under Python `version`. Raises PythonMismatch, or what the unpickling raises.

    What other versions of Python and numpy call otherwise is found under its name here.
    """
    if list(version) == PYTHON:
        try:
            return pickle.loads(data, buffers=buffers)
        except ModuleNotFoundError as error:
            if not modern.knows(error.name or ""):
                raise
    with codes.opening() as lost:
        value = modern.Unpickler(BytesIO(data), buffers=buffers).load()
    if lost:
        raise PythonMismatch(version, PYTHON, name if lost[0][0] in name else lost[0][0], lost[0][1])
    return value
