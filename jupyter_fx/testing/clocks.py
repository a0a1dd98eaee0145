"""A clock that stands until a test moves it."""

from __future__ import annotations

__all__ = ["FakeClock"]


class FakeClock:
    """A Clock whose time is what the test says; wall time goes with it."""

    def __init__(self, monotonic: float = 1000.0, wall: float = 1_700_000_000.0) -> None:
        self._monotonic, self._wall = monotonic, wall

    def monotonic(self) -> float:
        """Seconds."""
        return self._monotonic

    def wall(self) -> float:
        """Seconds since 1970."""
        return self._wall

    def advance(self, seconds: float) -> None:
        """Let time go by."""
        if seconds < 0:
            raise ValueError("a clock that only grows cannot go back: use jump")
        self._monotonic += seconds
        self._wall += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock, forward or back, as an administrator does; monotonic time stays."""
        self._wall += seconds
