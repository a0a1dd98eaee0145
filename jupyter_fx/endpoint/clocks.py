"""Clocks of nodes that are not as the agent's: what their managers tell is put right. Pure; seconds since the epoch."""

from __future__ import annotations

from typing import Any, Final

from jupyter_fx.endpoint.events import From
from jupyter_fx.endpoint.talk import Done, Said

__all__ = ["Clocks"]

LEAST: Final = 5.0
"""Seconds by which a clock may be wrong before that is told: less may be the way that a message took."""


class Clocks:
    """How far the clock of each manager is ahead of ours; behind: less than 0."""

    def __init__(self) -> None:
        self._ahead: dict[str, float] = {}

    def heard(self, manager: str, theirs: float, ours: float) -> None:
        """It told its time. A message that took long makes a clock seem late, so the latest time counts."""
        self._ahead[manager] = max(theirs - ours, self._ahead.get(manager, float("-inf")))

    def forget(self, manager: str) -> None:
        """It came anew, or is gone: its clock may have been set."""
        self._ahead.pop(manager, None)

    def ahead(self, manager: str) -> float:
        """Seconds, 0.0 while they are few."""
        found = self._ahead.get(manager, 0.0)
        return found if abs(found) > LEAST else 0.0

    def put_right(self, event: From) -> Any:
        """What it says, by our clock."""
        message, ahead = event.message, self.ahead(event.manager)
        if not ahead:
            return message
        if type(message) is Done:
            for ended in message.results:
                ended.t0 -= ahead if ended.t0 else 0.0
                ended.t1 -= ahead if ended.t1 else 0.0
        elif type(message) is Said:
            return Said([(task, kind, t - ahead, data, k) for task, kind, t, data, k in message.pieces])
        return message
