"""Shape keys: what credit and demand are counted by.

``""`` is the default shape (one core, host environment). ``s:<session_id>`` is the leased worker of a session. All others are
canonical strings of Resources, ``c4,m1073741824,g1,x,e<environment>``: only what differs from the default is named, in this
order, so that equal resources have equal keys.
"""

from __future__ import annotations

from jupyter_fx.protocol.messages import Resources

__all__ = ["DEFAULT_SHAPE", "resources_of", "session_of", "session_shape", "shape_of"]

DEFAULT_SHAPE = ""


def shape_of(resources: Resources) -> str:
    """The shape key of these resources."""
    parts = []
    if resources.cores > 1:
        parts.append(f"c{resources.cores}")
    if resources.memory:
        parts.append(f"m{resources.memory}")
    if resources.gpus:
        parts.append(f"g{resources.gpus}")
    if resources.exclusive:
        parts.append("x")
    if resources.environment:  # last, since its text may hold commas
        parts.append(f"e{resources.environment}")
    return ",".join(parts)


def resources_of(shape: str) -> Resources:
    """The resources that `shape_of` made `shape` from (cores 0 where it was 0 or 1); of a session's shape the default ones.

    Raises ValueError for a text that is no shape.
    """
    if not shape or shape.startswith("s:"):
        return Resources()
    cores = memory = gpus = 0
    exclusive = False
    rest = shape
    while rest and not rest.startswith("e"):
        part, _, rest = rest.partition(",")
        if part == "x":
            exclusive = True
        elif part[:1] == "c":
            cores = int(part[1:])
        elif part[:1] == "m":
            memory = int(part[1:])
        elif part[:1] == "g":
            gpus = int(part[1:])
        else:
            raise ValueError(f"{shape!r} is no shape")
    return Resources(cores, memory, gpus, rest[1:], exclusive)


def session_shape(session_id: str) -> str:
    """The shape of a session's leased worker."""
    return f"s:{session_id}"


def session_of(shape: str) -> str:
    """The session whose shape this is, or the empty string."""
    return shape[2:] if shape.startswith("s:") else ""
