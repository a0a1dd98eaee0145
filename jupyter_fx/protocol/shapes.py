"""Shape keys: what needs the same kind of place has the same key. Credit, demand and dispatch are grouped by it.

`""` is the default shape (one core, the host's own environment); ``s:<session_id>`` is a session's worker; any other is
the canonical text of its Resources, so that equal needs written differently have one key.
"""

from __future__ import annotations

from typing import Final

from jupyter_fx.errors import RemoteProtocolError
from jupyter_fx.protocol.messages import Resources

__all__ = ["DEFAULT_SHAPE", "resources_of", "session_of", "session_shape", "shape_of"]

DEFAULT_SHAPE: Final = ""
"""The key of what asks for nothing."""


def shape_of(resources: Resources) -> str:
    """The key of `resources`, such as ``c4,m1073741824,g1,x,a=partition=gpu,e=torch.sqfs``.

    The environment stands last, for its name may hold anything.
    """
    parts: list[str] = []
    if resources.cores > 1:
        parts.append(f"c{resources.cores}")
    if resources.memory:
        parts.append(f"m{resources.memory}")
    if resources.gpus:
        parts.append(f"g{resources.gpus}")
    if resources.exclusive:
        parts.append("x")
    if resources.allocation:
        # Whatever somebody may send: a comma would end the part.
        parts.append("a=" + resources.allocation.replace("%", "%25").replace(",", "%2C"))
    if resources.environment not in {"", "host"}:
        parts.append(f"e={resources.environment}")
    return ",".join(parts)


def resources_of(shape: str) -> Resources:
    """What a key asks for (a session's: nothing by itself); RemoteProtocolError if `shape_of` makes no such key."""
    if shape.startswith("s:"):
        return Resources()
    head, mark, environment = f",{shape}".partition(",e=")
    numbers = {"c": 0, "m": 0, "g": 0}
    exclusive, allocation = False, ""
    for part in head.split(",")[1:]:
        if part == "x":
            exclusive = True
        elif part[:2] == "a=" and len(part) > 2:
            allocation = part[2:].replace("%2C", ",").replace("%25", "%")
        elif part[:1] in numbers and part[1:].isascii() and part[1:].isdigit() and len(part) < 20:
            numbers[part[0]] = int(part[1:])
        elif part:
            raise RemoteProtocolError(f"{shape[:80]!r} is no shape key")
    found = Resources(numbers["c"], numbers["m"], numbers["g"], environment if mark else "", exclusive, allocation)
    if shape_of(found) != shape:
        raise RemoteProtocolError(f"{shape[:80]!r} is no shape key in its canonical form")
    return found


def session_shape(session_id: str) -> str:
    """The key of a session's worker."""
    return f"s:{session_id}"


def session_of(shape: str) -> str:
    """The session that a key names, or the empty string."""
    return shape[2:] if shape.startswith("s:") else ""
