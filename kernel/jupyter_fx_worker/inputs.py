"""Results of other tasks inside of arguments.

An `args` or `items` envelope whose header says `refs: n` holds placeholders, pickled as `take(i)`. The n results that
they stand for follow it as whole envelopes, in order, in the same payload: the agent appends what the hub sent with the
lease.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from jupyter_fx_worker import envelope

__all__ = ["end_of", "loads", "take"]


class _Here(threading.local):
    """The results that came with the arguments which this thread opens."""

    def __init__(self) -> None:
        self.values: list[Any] = []


_here = _Here()


def take(index: int) -> Any:
    """Return the value that placeholder `index` stands for; LookupError outside of `loads`."""
    if index >= len(_here.values):
        raise LookupError(f"the result of another task (number {index}) was not delivered with these arguments")
    return _here.values[index]


def end_of(view: memoryview) -> int:
    """Return where the envelope at the beginning of `view` ends."""
    header, end = envelope.peek(view)
    sizes: list[int] = header["b"]
    end += sizes[0]
    out = header.get("x") or ()
    for number, size in enumerate(sizes[1:]):
        if number in out:
            continue
        end += -end % envelope.ALIGN + size
    return end


def loads(payload: envelope.Buffer, apart: Sequence[envelope.Buffer] = ()) -> tuple[dict[str, Any], Any]:
    """Open an envelope as `envelope.loads` does, with the results that follow it in the places that wait for them."""
    header, _ = envelope.peek(payload)
    count = header.get("refs", 0)
    if not count:
        return envelope.loads(payload, apart)
    view = memoryview(payload)
    at = end_of(view)
    try:
        for _ in range(count):
            if at >= len(view):
                raise envelope.EnvelopeError(
                    f"the arguments name {count} results of other tasks, {len(_here.values)} came with them"
                )
            _here.values.append(envelope.loads(view[at:])[1])
            at += end_of(view[at:])
        return envelope.loads(view, apart)
    finally:
        del _here.values[:]
