"""How a task is stopped: SIGINT, after 5 s SIGTERM, after 5 s more SIGKILL. A session's cell gets SIGINT only. Pure."""

from __future__ import annotations

import enum
from typing import Final

from jupyter_fx.protocol.messages import CancelMode, ErrorInfo

__all__ = ["STEP", "Rung", "ended_by", "rungs"]

STEP: Final = 5.0
"""Seconds between two rungs."""


class Rung(enum.IntEnum):
    """What is sent to the worker's process group."""

    INTERRUPT = 2
    TERMINATE = 15
    KILL = 9


def ended_by(status: int | None) -> ErrorInfo | None:
    """How a task ended that did not stop when it was interrupted, by its worker's wait status; None: nobody knows."""
    number = status & 0x7F if status is not None else 0
    if number == Rung.TERMINATE:
        return ErrorInfo("CancelledError", "it ignored the interrupt and was ended by SIGTERM")
    if number == Rung.KILL:
        return ErrorInfo("CancelledError", "it ignored the interrupt and SIGTERM and was killed (SIGKILL)")
    return None


def rungs(mode: int, *, session: bool) -> list[tuple[float, Rung]]:
    """The steps of a cancel as (seconds from now, what). Killing a session is closing it: an act of its own (DESIGN
    decision 11).
    """
    if session or mode == CancelMode.INTERRUPT:
        return [(0.0, Rung.INTERRUPT)]
    if mode == CancelMode.KILL:
        return [(0.0, Rung.KILL)]
    return [(0.0, Rung.INTERRUPT), (STEP, Rung.TERMINATE), (2 * STEP, Rung.KILL)]
