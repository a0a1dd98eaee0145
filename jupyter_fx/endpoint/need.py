"""What a task or session takes of a node, and what can be had at most. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

from jupyter_fx.protocol.messages import Resources

__all__ = ["Need", "NodeSize", "Place", "need_of", "refusal", "too_long"]


_LESS: Final = "ask for no more than there is, or use another endpoint"


class Need(NamedTuple):
    """`width` slots, `memory` bytes, `gpus` devices; `whole`: nothing else on the node; `allocation`: nodes that were
    asked for so (`protocol.allocation`; empty: as the endpoint does by itself).
    """

    width: int = 1
    memory: int = 0
    gpus: int = 0
    whole: bool = False
    allocation: str = ""


class NodeSize(NamedTuple):
    """The largest node that can be had. `worker_cores`: cores of one slot; 0: not known, so nothing is refused for it.

    `gpus` -1: not known. `seconds`: for how long one can be had, 0.0: for ever.
    """

    slots: int
    worker_cores: int = 1
    memory: int = 0
    gpus: int = 0
    seconds: float = 0.0


class Place(NamedTuple):
    """What an allocation comes to at this endpoint: its text without what is so anyway, the largest node that can be
    had with it, or why none ever can.
    """

    allocation: str
    most: NodeSize
    refusal: str = ""


def need_of(resources: Resources, worker_cores: int, allocation: str = "") -> Need:
    """What these resources are in slots."""
    width = max(1, -(-resources.cores // max(1, worker_cores)))
    return Need(width, resources.memory, resources.gpus, resources.exclusive, allocation)


def refusal(resources: Resources, most: NodeSize) -> str:
    """Why no node can ever run it, with the largest that can be had; empty when one can."""
    cores = most.slots * most.worker_cores
    if resources.gpus and most.gpus >= 0 and resources.gpus > most.gpus:
        has = f"{most.gpus} GPUs on a node at most" if most.gpus else "no GPUs"
        return f"this endpoint has {has}, {resources.gpus} were asked for: {_LESS}"
    if cores and resources.cores > cores:
        return f"this endpoint has {cores} cores on a node at most, {resources.cores} were asked for: {_LESS}"
    if most.memory and resources.memory > most.memory:
        return (
            f"this endpoint has {most.memory / 2**30:.1f} GiB of memory on a node at most, "
            f"{resources.memory / 2**30:.1f} GiB were asked for: {_LESS}"
        )
    return ""


def too_long(timeout: float, most: NodeSize) -> str:
    """Why a task that may take so many seconds can never be run to its end; empty when it can."""
    if not most.seconds or timeout <= most.seconds:
        return ""
    return (
        f"a block of this endpoint can give a task {most.seconds:.0f} s at most (c.Blocks.walltime), "
        f"and its timeout is {timeout:.0f} s"
    )
