"""Which containers a node keeps: the warm mix follows the arriving mix. Pure: time is an argument.

Each environment has a weight, the number of its tasks that came, which halves every HALF_LIFE seconds. The idle one
of the least weight makes room; with equal weights, the one that has been idle for the longest time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

__all__ = ["HALF_LIFE", "Idle", "Mix", "shares"]

HALF_LIFE: Final = 120.0
_MOST: Final = 1024


class Idle(NamedTuple):
    """A container that does nothing now."""

    environment: str
    since: float


class Mix:
    """The arriving mix."""

    def __init__(self) -> None:
        self._weights: dict[str, tuple[float, float]] = {}

    def arrived(self, environment: str, now: float, count: int = 1) -> None:
        """So many tasks came that want this environment."""
        self._weights[environment] = (self.weight(environment, now) + count, now)
        if len(self._weights) > _MOST:
            least = min(self._weights, key=lambda name: self.weight(name, now))
            del self._weights[least]

    def weight(self, environment: str, now: float) -> float:
        """How much it was wanted of late."""
        weight, at = self._weights.get(environment, (0.0, now))
        return float(weight * 0.5 ** ((now - at) / HALF_LIFE))

    def to_stop(self, idle: Iterable[Idle], now: float, *, kept: float, room: int) -> list[str]:
        """Environments whose containers are to be stopped.

        `kept`: seconds for which an idle one is kept; `room`: how many must go whatever their time (0: none must).
        """
        there = list(idle)
        gone = [one.environment for one in there if now - one.since > kept]
        rest = [one for one in there if now - one.since <= kept]
        rest.sort(key=lambda one: (self.weight(one.environment, now), one.since))
        return gone + [one.environment for one in rest[: max(0, room - len(gone))]]


def shares(weights: Mapping[str, float], slots: int) -> dict[str, int]:
    """`slots` places dealt out by weight (largest remainders), so that a node's containers are like what arrives."""
    total = sum(weights.values())
    if total <= 0 or slots <= 0:
        return dict.fromkeys(weights, 0)
    exact = {name: slots * weight / total for name, weight in weights.items()}
    dealt = {name: int(part) for name, part in exact.items()}
    left = slots - sum(dealt.values())
    for name in sorted(exact, key=lambda one: (dealt[one] - exact[one], one))[:left]:
        dealt[name] += 1
    return dealt
