"""Results on their way: a value, with the user's modules that whoever opens it elsewhere needs."""

from __future__ import annotations

from typing import Any

from jupyter_fx_worker import envelope, usermodules

__all__ = ["dumps_result"]


def dumps_result(value: Any) -> list[envelope.Buffer]:
    """Return the pieces of a `result` envelope. Raises whatever the value's own pickling raises."""
    world = usermodules.active()
    if world is None or not world.entries or envelope.is_plain(value):
        return envelope.dumps(value, "result")
    with envelope.collecting_modules() as met:
        data, buffers, code = envelope.pickled(value)
    if entries := world.needed(met | met.later):
        data, buffers, code = envelope.pickled(usermodules.Lending(entries, value))
    return envelope.assemble(data, buffers, "result", {"code": True} if code else {})
