"""What an interrupt here (Ctrl-C, a notebook's stop button) means for the work there.

Who waits for a call or a map and is interrupted stops it there too, unless `on_interrupt="leave"` was said. A notebook
kernel that is being shut down is interrupted as well, and its work shall outlive it: the kernel's extension puts a
function here that knows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from jupyter_fx.errors import UsageError

__all__ = ["CHOICES", "check", "ends_now", "passes_on"]

CHOICES: Final = ("cancel", "leave")

ends_now: Callable[[], bool] = bool
"""Whether this process is about to end, so that an interrupt says nothing about the work."""


def check(choice: str) -> str:
    """`choice`, or UsageError."""
    if choice not in CHOICES:
        raise UsageError(f"on_interrupt is {choice!r}: say 'cancel' (what runs there is stopped too) or 'leave'")
    return choice


def passes_on(choice: str) -> bool:
    """Whether an interrupt that came just now stops the work there."""
    return choice == "cancel" and not ends_now()
