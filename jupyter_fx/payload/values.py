"""Arguments and items on their way out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jupyter_fx.errors import PayloadError
from jupyter_fx.payload import inputs, own
from jupyter_fx.payload.diagnose import diagnose
from jupyter_fx.payload.sizes import CURE, PLAIN, known_size, mib, too_big
from jupyter_fx.protocol.limits import BLOB_MAX, PART_MIN, PARTS_MAX, PAYLOAD_MAX
from jupyter_fx_worker import envelope

__all__ = ["Encoded", "apart", "as_encoded", "encode_args", "encode_items", "join"]


class Encoded(NamedTuple):
    """An envelope in pieces (`join` makes one of them) and the ids of the tasks whose results it takes.

    `parts` are the large buffers that it leaves out, each a blob of its own; `size` is without them.
    """

    pieces: Sequence[envelope.Buffer]
    size: int
    inputs: list[str]
    parts: Sequence[memoryview] = ()


def as_encoded(made: Encoded | envelope.Buffer | Sequence[envelope.Buffer]) -> Encoded:
    """An envelope that is made already, as it is, as one buffer or in pieces, and takes no results."""
    if isinstance(made, Encoded):
        return made
    pieces = [made] if isinstance(made, bytes | bytearray | memoryview) else list(made)
    return Encoded(pieces, sum(memoryview(piece).nbytes for piece in pieces), [])


def apart(buffers: Sequence[memoryview]) -> list[int]:
    """The numbers of the buffers that travel as parts: the large ones, of these the largest PARTS_MAX."""
    large = [number for number, buffer in enumerate(buffers) if PART_MIN <= buffer.nbytes <= BLOB_MAX]
    if len(large) > PARTS_MAX:
        large = sorted(large, key=lambda number: -buffers[number].nbytes)[:PARTS_MAX]
    return sorted(large)


def join(pieces: Sequence[envelope.Buffer]) -> bytes:
    """The pieces as one."""
    first = pieces[0]
    return first if len(pieces) == 1 and type(first) is bytes else b"".join(pieces)


def encode_args(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Encoded:
    """An `args` envelope. PayloadError names the argument that cannot travel, what in it, and why.

    Buffers (arrays) are not copied: the caller sends them before they change. A TaskFuture or Ref anywhere in the
    arguments stands for its value, which the hub fetches before the task starts.
    """
    pieces: Sequence[envelope.Buffer]
    if not kwargs and PLAIN.issuperset(map(type, args)):
        # Most calls: nothing to measure, nothing to refer to.
        pieces = envelope.dumps((args, kwargs), "args")
        return Encoded(pieces, len(pieces[0]), [])
    for name, value in _named(args, kwargs):
        size = known_size(value)
        if size > BLOB_MAX:
            raise too_big(name, value, size)
    try:
        pieces, wanted, parts = _pieces((args, kwargs), "args", {})
    except Exception as error:  # noqa: BLE001 a value's own pickling may raise anything
        raise _refusal(_named(args, kwargs), error) from None
    size = envelope.size_of(pieces)
    if size > BLOB_MAX:
        raise PayloadError(f"the arguments have {mib(size)} together, the limit is {mib(BLOB_MAX)}: {CURE}")
    return Encoded(pieces, size, wanted, parts)


def encode_items(items: Sequence[Any], *, star: bool) -> Encoded:
    """An `items` envelope for a chunk of a map; with `star` each item is a tuple of arguments."""
    extra: dict[str, Any] = {"n": len(items)}
    if star:
        extra["star"] = True
    try:
        pieces, wanted, parts = _pieces(items, "items", extra)
    except Exception as error:  # noqa: BLE001 the same
        raise _refusal([(f"item {at} of the chunk", item) for at, item in enumerate(items)], error) from None
    size = envelope.size_of(pieces)
    if size > BLOB_MAX:
        raise PayloadError(
            f"a chunk of {len(items)} items has {mib(size)}, the limit is {mib(BLOB_MAX)}: use a smaller chunksize"
        )
    return Encoded(pieces, size, wanted, parts)


def _pieces(
    value: Any, kind: str, extra: dict[str, Any]
) -> tuple[Sequence[envelope.Buffer], list[str], Sequence[memoryview]]:
    if envelope.is_plain(value):
        return envelope.dumps(value, kind, **extra), [], ()
    with inputs.collecting() as wanted, envelope.collecting_modules() as met:
        data, buffers, code = envelope.pickled(value, PAYLOAD_MAX)
    if any(map(own.may_be_own, met | met.later)) and (entries := own.Look().needed(met | met.later)):
        with inputs.collecting() as wanted:
            data, buffers, code = envelope.pickled(own.With(entries.values(), value), PAYLOAD_MAX)
    if code:
        extra["code"] = True
    if wanted:
        extra["refs"] = len(wanted)
    out = apart(buffers)
    return envelope.assemble(data, buffers, kind, extra, out), wanted, [buffers[number] for number in out]


def _named(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(f"argument {at}", value) for at, value in enumerate(args)] + [
        (f"argument {key!r}", v) for key, v in kwargs.items()
    ]


def _refusal(named: Sequence[tuple[str, Any]], error: BaseException) -> PayloadError:
    if isinstance(error, PayloadError):
        return error
    if isinstance(error, envelope.TooBig):
        name, value = max(named, key=lambda pair: known_size(pair[1], depth=6))
        return PayloadError(diagnose(name, value, error))
    return PayloadError(explain(named, error, envelope.pickled))


def explain(named: Sequence[tuple[str, Any]], error: BaseException, pickled: Callable[[Any], Any]) -> str:
    """The sentence for the first of the named values that cannot be pickled."""
    for name, value in named:
        try:
            with inputs.collecting():
                pickled(value)
        except Exception as own:  # noqa: BLE001 a value's own pickling may raise anything
            return diagnose(name, value, own)
    return f"the arguments cannot be pickled together: {type(error).__name__}: {error}"


def loaded_majors() -> dict[str, str]:
    """Versions of the packages whose pickles do not cross a major version, as far as they are loaded here."""
    found = {}
    for name in ("numpy", "pandas"):
        version = getattr(sys.modules.get(name), "__version__", None)
        if version:
            found[name] = str(version)
    return found
