"""How a task is stopped: SIGINT, after 5 s SIGTERM, after 5 s more SIGKILL. A session's cell gets SIGINT only. Pure."""

from __future__ import annotations

import enum
from typing import Final

from jupyter_fx.protocol.messages import CancelMode

__all__ = ["STEP", "Rung", "rungs"]

STEP: Final = 5.0
"""Seconds between two rungs."""


class Rung(enum.IntEnum):
    """What is sent to the worker's process group."""

    INTERRUPT = 2
    TERMINATE = 15
    KILL = 9


def rungs(mode: int, *, session: bool) -> list[tuple[float, Rung]]:
    """The steps of a cancel as (seconds from now, what). Killing a session is closing it: an act of its own (DESIGN
    decision 11).
    """
    if session or mode == CancelMode.INTERRUPT:
        return [(0.0, Rung.INTERRUPT)]
    if mode == CancelMode.KILL:
        return [(0.0, Rung.KILL)]
    return [(0.0, Rung.INTERRUPT), (STEP, Rung.TERMINATE), (2 * STEP, Rung.KILL)]
