"""How many tasks of a shape the agent asks for: its slots, and what will run out within one round trip. Pure."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["BYTES_MAX", "SESSION_DEPTH", "TASKS_MAX", "Backlog"]

TASKS_MAX: Final = 10_000
BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of payloads that an agent holds."""
SESSION_DEPTH: Final = 2
"""Cells that a session has at its endpoint."""
_SHORT: Final = 0.01
_SHORT_LEAST: Final = 512
_WEIGHT: Final = 0.1


class Backlog:
    """What one shape holds and how long its tasks take."""

    __slots__ = ("fixed", "given", "given_at", "held", "mean", "size", "width")

    def __init__(self, width: int = 1, fixed: int = 0) -> None:
        self.width = width
        """Cores of one task."""
        self.fixed = fixed
        """A backlog that does not depend on speed (sessions, shapes that will be refused); 0: it does."""
        self.held = 0
        """Tasks that are here and have not ended."""
        self.mean = 0.0
        """Seconds that a task takes, 0.0: not known."""
        self.size = 1024.0
        """Bytes that a payload has, about."""
        self.given = -1
        """What the last Credit said; -1: never."""
        self.given_at = 0
        """Tasks of this shape that had come when it was said, less those that have come since: see `AgentState`."""

    def arrived(self, size: int) -> None:
        """One task with a payload of `size` bytes came."""
        self.held += 1
        self.given_at += 1
        self.size += _WEIGHT * (size - self.size)

    def ended(self, seconds: float) -> None:
        """One task is over; `seconds` is how long it ran, 0.0 when it never did."""
        self.held -= 1
        if seconds > 0.0:
            self.mean = self.mean + _WEIGHT * (seconds - self.mean) if self.mean else seconds

    @property
    def short(self) -> bool:
        """Whether its tasks are known to be short."""
        return 0.0 < self.mean < _SHORT

    def target(self, cores: int, rtt: float) -> int:
        """How many tasks should be here, with so many cores and this round trip to the hub (seconds)."""
        if self.fixed:
            return self.fixed
        slots = max(1, cores // self.width)
        if not self.mean:
            return slots
        ahead = slots + math.ceil(slots * rtt / self.mean)
        return min(TASKS_MAX, max(ahead, _SHORT_LEAST) if self.mean < _SHORT else ahead)

    def credit(self, cores: int, rtt: float, room: int) -> int:
        """How many more may come; `room` is how many bytes of payload still may."""
        more = self.target(cores, rtt) - self.held
        if self.size > 0:
            more = min(more, int(room / self.size))
        return max(0, more)
