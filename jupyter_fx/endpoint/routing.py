"""Which manager gets a task: the policies of the funcX paper (Li et al., IEEE TPDS 2022) behind one setting. Pure.

* `random`: any manager with a free slot; the next draw of the numbers that its user gives.
* `roundrobin`: the next one in turn.
* `binpack`: the one with the fewest free slots, so that others become empty and can be given back.
* `warm`: one where the environment is warm and idle, the most free slots first; else, if that is worth it (`pays`), one
  with most free slots.

Managers stand in buckets by what they have free, for each environment that is warm anywhere and for all; which buckets
hold anybody is a bit of one number. So a choice costs the same whether there are ten managers or thousands. A bucket
of an environment may say more than is free there now: that is put right when it is looked at, for what was taken is
mostly given back before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import inf
from typing import Final

__all__ = ["POLICIES", "SHARED", "Routes", "pays"]

POLICIES: Final = ("warm", "binpack", "roundrobin", "random")
SHARED: Final = -1
"""Of a warm environment: as many of its tasks can begin at once as slots are free (workers are forked)."""
_BESIDE: Final = 4
"""A start is short beside a task that takes so many times longer."""
_BIAS: Final = 1 << 13
"""Free slots may be negative: short tasks queue at their manager. Below this they are no longer told apart."""
_EMPTY: Final = 256
"""Buckets that may stay empty."""


def pays(
    waiting: float, running: int, start: float, *, length: float = 0.0, age: float = 0.0, left: float = inf
) -> bool:
    """Whether one more container of an environment is worth its start: the tasks that wait would take longer than the
    start does where others of them run. As long as nobody knows how long they take, it is worth it at first, but not
    when those that have been given out will soon tell.

    Where a start is short beside a task it is always worth it: tasks that began together end together, so that the next
    slot may be a whole task away however many run.

    `waiting`: seconds of work that wait, 0: not known; `length`: seconds of one task, 0: not known; `running`: slots
    that have such tasks, since `age` seconds; `start`: seconds that a container takes to start, 0: not known, and then
    nothing is held back; `left`: seconds for which it may still be held back. If that begins with `start`, who waits in
    vain loses no more than a start, whatever was believed of the tasks.
    """
    if not running or not start or left <= 0 or start * _BESIDE <= length:
        return True
    return waiting / running > start if waiting else age < start / 2


class _Buckets:
    """Managers by a number."""

    __slots__ = ("at", "mask", "of")

    def __init__(self) -> None:
        self.of: dict[int, dict[str, None]] = {}
        self.at: dict[str, int] = {}
        self.mask = 0

    def move(self, manager: str, number: int) -> None:
        number = max(number, -_BIAS)
        old = self.at.get(manager)
        if old == number:
            return
        if old is not None:
            self._out(manager, old)
        self.at[manager] = number
        bucket = self.of.get(number)
        if bucket:
            bucket[manager] = None
            return
        if bucket is None:
            bucket = self.of[number] = {}
        bucket[manager] = None
        self.mask |= 1 << (number + _BIAS)

    def remove(self, manager: str) -> None:
        old = self.at.pop(manager, None)
        if old is not None:
            self._out(manager, old)

    def _out(self, manager: str, number: int) -> None:
        bucket = self.of[number]
        del bucket[manager]
        if not bucket:
            self.mask ^= 1 << (number + _BIAS)
            # Most come back to it soon.
            if len(self.of) > _EMPTY:
                del self.of[number]

    def falling(self, least: int) -> Iterator[tuple[int, str]]:
        """(number, manager), the highest number first, down to `least`; managers may move while this runs."""
        least = max(least, -_BIAS)
        mask = self.mask >> (least + _BIAS)
        while mask:
            number = mask.bit_length() - 1 + least
            yield from self._held(number)
            mask &= (1 << (number - least)) - 1

    def first(self, least: int) -> tuple[int, str] | None:
        """The head of the highest bucket not below `least`."""
        least = max(least, -_BIAS)
        mask = self.mask >> (least + _BIAS)
        if not mask:
            return None
        number = mask.bit_length() - 1 + least
        return number, next(iter(self.of[number]))

    def rising(self, least: int) -> Iterator[tuple[int, str]]:
        """The same from `least` up."""
        least = max(least, -_BIAS)
        mask = self.mask >> (least + _BIAS)
        while mask:
            lowest = mask & -mask
            number = lowest.bit_length() - 1 + least
            yield from self._held(number)
            mask ^= lowest

    def _held(self, number: int) -> Iterator[tuple[int, str]]:
        # The first is mostly the one that is wanted: the others are looked up when it was not.
        bucket = self.of.get(number)
        if bucket:
            first = next(iter(bucket))
            yield number, first
            for manager in tuple(self.of.get(number, ())):
                if manager != first:
                    yield number, manager


class Routes:
    """See the module. `draw(n)` gives a number from 0 to n-1; only `random` asks for it."""

    def __init__(self, policy: str = "warm", draw: Callable[[int], int] | None = None) -> None:
        if policy not in POLICIES:
            raise ValueError(f"there is no policy {policy!r}; there are {', '.join(POLICIES)}")
        self.policy = policy
        self._draw = draw or (lambda _n: 0)
        self._all = _Buckets()
        self._warm: dict[str, _Buckets] = {}
        self._shared: dict[str, set[str]] = {}
        """The environments that are warm at a manager and take as much as is free."""
        self._counted: dict[str, set[str]] = {}
        self._ring: list[str] = []
        self._places: dict[str, int] = {}
        self._next = 0
        self._starts: dict[str, float] = {}
        self._start = 0.0

    def __contains__(self, manager: str) -> bool:
        return manager in self._places

    @property
    def even(self) -> bool:
        """Whether what matters is that load is even, not which manager gets the very next task."""
        return self.policy == "warm"

    # Managers come, change and go.

    def put(self, manager: str, free: int, warm: Mapping[str, int]) -> None:
        """A manager with so many free slots. `warm`: how many tasks of an environment can begin there without a start,
        or SHARED.
        """
        if manager not in self._places:
            self._places[manager] = len(self._ring)
            self._ring.append(manager)
            self._shared[manager], self._counted[manager] = set(), set()
        for environment in self._shared[manager] | self._counted[manager]:
            if environment not in warm:
                self.warm(manager, environment, 0)
        self._all.move(manager, free)
        for environment, count in warm.items():
            self.warm(manager, environment, count)
        self.free(manager, free)

    def free(self, manager: str, free: int) -> None:
        """So many of its slots are free now."""
        self._all.move(manager, free)
        for environment in self._shared.get(manager, ()):
            buckets = self._warm[environment]
            if buckets.at[manager] < free:
                buckets.move(manager, free)

    def warm(self, manager: str, environment: str, count: int) -> None:
        """So many tasks of an environment can begin there without a start; SHARED, or 0: it is not warm."""
        shared, counted = self._shared[manager], self._counted[manager]
        shared.discard(environment)
        counted.discard(environment)
        if not count:
            if (buckets := self._warm.get(environment)) is not None:
                buckets.remove(manager)
                if not buckets.at:
                    del self._warm[environment]
            return
        (shared if count == SHARED else counted).add(environment)
        buckets = self._warm.setdefault(environment, _Buckets())
        buckets.move(manager, self._all.at[manager] if count == SHARED else count)

    def begins(self, manager: str, environment: str) -> None:
        """A task of this environment was given to it: it is warm there now, or will be."""
        if environment in self._counted[manager]:
            self.warm(manager, environment, self._warm[environment].at[manager] - 1)
        elif environment not in self._shared[manager]:
            self.warm(manager, environment, SHARED)

    def started(self, environment: str, seconds: float) -> None:
        """A container of it took so long to start."""
        self._starts[environment] = self._start = seconds

    def start_of(self, environment: str) -> float:
        """Seconds that a container of it takes to start, as the last one did; of none was any seen: as the last one of
        any environment did. 0.0: not known.
        """
        return self._starts.get(environment, self._start)

    def drop(self, manager: str) -> None:
        """It is gone."""
        for environment in self._shared.pop(manager, set()) | self._counted.pop(manager, set()):
            self._warm[environment].remove(manager)
            if not self._warm[environment].at:
                del self._warm[environment]
        self._all.remove(manager)
        place = self._places.pop(manager, None)
        if place is not None:
            last = self._ring.pop()
            if last != manager:
                self._ring[place] = last
                self._places[last] = place

    # A task.

    def pick(self, environment: str, least: int = 1) -> str:
        """The manager for a task of an environment that takes `least` slots; empty when none has them."""
        if self.policy == "warm" and (buckets := self._warm.get(environment)) is not None:
            while (found := buckets.first(least)) is not None:
                number, manager = found
                free = self._all.at[manager]
                if free >= number or (free >= least and environment in self._counted[manager]):
                    return manager
                buckets.move(manager, free)
                if free >= least and buckets.first(least) == (free, manager):
                    return manager
        return next(self.ranked(environment, least), "")

    def ranked(self, environment: str, least: int = 1) -> Iterator[str]:
        """All managers that have `least` slots free, the best first: for tasks that not every manager suits."""
        if self.policy == "warm":
            seen: set[str] = set()
            for manager in self._by_warmth(environment, least):
                seen.add(manager)
                yield manager
            for _, manager in self._all.falling(least):
                if manager not in seen:
                    seen.add(manager)
                    yield manager
        elif self.policy == "binpack":
            for _, manager in self._all.rising(least):
                yield manager
        else:
            yield from self._in_turn(least)

    def unstarted(self, environment: str, least: int = 1) -> Iterator[str]:
        """Those of `ranked` where nothing has to be started for it first; all of them where that is of no concern."""
        if self.policy == "warm" and environment:
            return self._by_warmth(environment, least)
        return self.ranked(environment, least)

    def _by_warmth(self, environment: str, least: int) -> Iterator[str]:
        if (buckets := self._warm.get(environment)) is None:
            return
        seen: set[str] = set()
        for number, manager in buckets.falling(least):
            free = self._all.at[manager]
            if free < number:
                buckets.move(manager, free)
            if free >= least and manager not in seen:
                seen.add(manager)
                yield manager

    def _in_turn(self, least: int) -> Iterator[str]:
        count = len(self._ring)
        if not count:
            return
        start = self._draw(count) if self.policy == "random" else self._next
        for step in range(count):
            place = (start + step) % count
            if self._all.at[self._ring[place]] >= least:
                self._next = place + 1
                yield self._ring[place]
