"""How deep a worker's prefetch is: from the measured time of the functions that it runs. Pure.

One task ahead of everything that is not known to be short: a task in a prefetch cannot go to another worker that is
free. One quick call (of nothing, to try it out) does not make a function short: three tasks of 5 s that were believed
to be short ran one behind another, beside free workers. Below a millisecond the round trip costs more than the task:
1 → 64 made 7,000 tasks a second 57,000 (measured).
"""

from __future__ import annotations

from typing import Final

__all__ = ["DEEPEST", "SHORT", "TRUSTED", "Durations", "depth"]

SHORT: Final = 0.001
"""Seconds below which a task is short."""
DEEPEST: Final = 64
AHEAD: Final = 0.004
"""Seconds of work that a worker should have in hand, made of short tasks."""
TRUSTED: Final = 8
"""Tasks of a function that must have been measured before it is believed to be short."""
_WEIGHT: Final = 0.2
_MOST: Final = 4096


def depth(estimate: float | None) -> int:
    """How many tasks of this estimated duration (seconds; None: unknown) a worker may have in hand."""
    if estimate is None or estimate >= SHORT:
        return 1
    return max(2, min(DEEPEST, int(AHEAD / max(estimate, 1e-6))))


class Durations:
    """The measured duration of each function (by digest): a moving mean that believes a long one at once."""

    __slots__ = ("_means", "_unsure")

    def __init__(self) -> None:
        self._means: dict[str, float] = {}
        self._unsure: dict[str, int] = {}
        """How many more have to be measured of a function that few have been of."""

    def estimate(self, function: str) -> float | None:
        """Seconds, or None when it has not been measured, or when it seems to be short and that is not certain yet."""
        mean = self._means.get(function)
        return None if mean is not None and mean < SHORT and function in self._unsure else mean

    def measured(self, function: str, seconds: float) -> None:
        """One task of `function` took this long."""
        mean = self._means.get(function)
        if mean is None:
            if len(self._means) >= _MOST:
                self._means.clear()
                self._unsure.clear()
            self._means[function] = seconds
            self._unsure[function] = TRUSTED - 1
            return
        if function in self._unsure:
            self._unsure[function] -= 1
            if not self._unsure[function]:
                del self._unsure[function]
        if seconds > SHORT > mean:
            # A function that turns out to be long must not keep short ones waiting behind it.
            self._means[function] = seconds
        else:
            self._means[function] = mean + _WEIGHT * (seconds - mean)
