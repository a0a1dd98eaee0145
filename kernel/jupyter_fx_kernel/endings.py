"""How a task came to its end, and one that somebody wanted to stop, in words: what is shown is what happened."""

from __future__ import annotations

import concurrent.futures
from typing import Any

from jupyter_fx.errors import FxError, InfrastructureError
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import Outcome
from jupyter_fx_kernel.card import duration
from jupyter_fx_kernel.session import Session

__all__ = ["close_line", "ending", "why_not"]

_OF_COURSE = ("", "cancelled by its user", "you cancelled it", "cancelled at its endpoint", "interrupted")
"""Reasons that tell nobody anything beyond "cancelled"."""


def ending(outcome: Outcome, *, asked: bool = False) -> str:
    """What became of a task; `asked`: somebody here wanted it to stop. Empty when there is nothing to say."""
    state = TaskState(outcome.state)
    times = [*outcome.times, *[0.0] * 5][:5]
    ran = max(0.0, times[4] - times[3]) if times[3] and times[4] else 0.0
    if state is not TaskState.CANCELLED:
        if not asked or state not in {TaskState.SUCCEEDED, TaskState.FAILED}:
            return ""
        done = "finished" if state is TaskState.SUCCEEDED else "failed by itself"
        return f"it {done} before the interrupt stopped it, or took no notice of it"
    reason, _, how = (outcome.error.message if outcome.error is not None else "").partition("; it ignored ")
    why = "" if reason in _OF_COURSE else f": {reason}"
    if not times[3]:
        return f"cancelled before it started{why}"
    if how:
        return f"killed after {duration(ran)}: it ignored {how}"
    return f"interrupted after {duration(ran)}{why}"


def close_line(session: Session) -> str:
    """How to end code in a session that takes no notice of interrupts, and what that costs."""
    named = "" if session.name == "main" else f" {session.name}"
    count = len(session.names)
    return f"`%fx close --kill{named}` ends the session (loses {count} variable{'' if count == 1 else 's'})"


def why_not(future: Any) -> BaseException:
    """The error of a cell that ended without an outcome."""
    try:
        future.result(0)
    except BaseException as error:  # noqa: BLE001 - this is the answer, whatever it is
        if isinstance(error, concurrent.futures.CancelledError):
            return InfrastructureError(
                f"the cell was cancelled before it ran: {error}" if str(error) else "the cell was cancelled"
            )
        return error
    return FxError("the cell ended and nobody says how")
