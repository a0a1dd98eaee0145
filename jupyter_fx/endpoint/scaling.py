"""How many blocks there should be: from what waits and what is there. Pure.

Blocks are asked for so that what waits finds slots (`parallelism` of them per slot's worth of work), within
`min_blocks` and `max_blocks`; a block in which nothing has happened for `idle_seconds` is given back. What runs, and a
session that is leased, keeps its block. Zero blocks can become one, for the demand is the hub's and needs no place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

from jupyter_fx.endpoint.need import NodeSize

__all__ = ["BlockView", "Decision", "Load", "Plan", "decide", "decide_all"]

_SPARE: Final = 5.0
"""Seconds that a block keeps although nothing is in it and another allocation wants one."""


class Load(NamedTuple):
    """What is to be done: `slots`, `memory` (bytes), `gpus` of what waits, `nodes` that somebody wants whole; `used`
    slots, and the blocks in which there is anything of anybody.
    """

    slots: int = 0
    nodes: int = 0
    gpus: int = 0
    memory: int = 0
    used: int = 0
    busy: AbstractSet[str] = frozenset()


class Plan(NamedTuple):
    """What is wanted. `node`: what one node of a block has."""

    init_blocks: int = 0
    min_blocks: int = 0
    max_blocks: int = 1
    nodes: int = 1
    node: NodeSize = NodeSize(1)
    parallelism: float = 1.0
    idle_seconds: float = 120.0


class BlockView(NamedTuple):
    """One block that is not over. `up`: it has a manager; `leaving`: it takes no more work, so that it does not count.

    `idle`: for how many seconds nothing of anybody has been in it (0.0 when there is). `allocation`: what its job was
    asked for with.
    """

    block: str
    up: bool
    leaving: bool
    idle: float = 0.0
    allocation: str = ""


class Decision(NamedTuple):
    """Ask for so many blocks; give these back."""

    start: int = 0
    stop: tuple[str, ...] = ()


def decide(load: Load, blocks: Sequence[BlockView], plan: Plan, *, first: bool = False) -> Decision:
    """What to do now. `first`: the endpoint has just begun, so that `init_blocks` are wanted at the least."""
    there = [one for one in blocks if not one.leaving]
    least = max(plan.min_blocks, plan.init_blocks if first else 0)
    wanted = min(plan.max_blocks, max(least, _needed(load, plan)))
    if len(there) < wanted:
        # One that is leaving is still there: `max_blocks` are never passed.
        return Decision(start=max(0, min(wanted - len(there), plan.max_blocks - len(blocks))))
    spare = len(there) - max(wanted, plan.min_blocks)
    if spare <= 0:
        return Decision()
    # Those that have not begun cost nothing yet; of the others those that have been idle for longest.
    quiet = [one for one in there if one.block not in load.busy and one.idle >= plan.idle_seconds]
    quiet.sort(key=lambda one: (one.up, -one.idle))
    return Decision(stop=tuple(one.block for one in quiet[:spare]))


def decide_all(
    loads: Mapping[str, Load], blocks: Sequence[BlockView], plan_of: Callable[[str], Plan], *, first: bool = False
) -> dict[str, Decision]:
    """What to do now for each allocation; `max_blocks` are those of all of them together.

    Where one wants blocks and there may be no more, blocks of the others that have nothing to do are given back at once
    rather than after `idle_seconds`.
    """
    own: dict[str, list[BlockView]] = {allocation: [] for allocation in ("", *loads)}
    for one in blocks:
        own.setdefault(one.allocation, []).append(one)
    room = plan_of("").max_blocks - len(blocks)
    out: dict[str, Decision] = {}
    short: set[str] = set()
    for allocation in sorted(own, key=lambda one: (len(own[one]), one)):
        plan, load = plan_of(allocation), loads.get(allocation, Load())
        most = len(own[allocation]) + max(0, room)
        out[allocation] = decide(load, own[allocation], plan._replace(max_blocks=most), first=first)
        room -= out[allocation].start
        there = sum(not one.leaving for one in own[allocation]) + out[allocation].start
        if there < min(plan.max_blocks, _needed(load, plan)):
            short.add(allocation)
    for allocation in own.keys() - short if short else ():
        found = decide(
            loads.get(allocation, Load()), own[allocation], plan_of(allocation)._replace(idle_seconds=_SPARE)
        )
        out[allocation] = Decision(stop=found.stop) if found.stop else out[allocation]
    return out


def _needed(load: Load, plan: Plan) -> int:
    """Blocks that hold what runs and what waits."""
    node = plan.node
    slots = math.ceil(load.slots * plan.parallelism) + load.used
    nodes = math.ceil(slots / max(1, node.slots))
    if load.gpus and node.gpus > 0:
        nodes = max(nodes, math.ceil(load.gpus * plan.parallelism / node.gpus))
    if load.memory and node.memory:
        nodes = max(nodes, math.ceil(load.memory * plan.parallelism / node.memory))
    return math.ceil((nodes + load.nodes) / max(1, plan.nodes))
