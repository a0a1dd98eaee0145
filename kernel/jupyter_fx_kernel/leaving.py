"""Whether this kernel is about to end: then an interrupt is none, and what runs there goes on.

Before Jupyter shuts a kernel down or restarts it, it interrupts it. To a remote cell that would look like its user's
wish to stop it, while a task shall outlive its kernel. The request to end follows at once, on a thread of its own: so
an interrupt waits a moment for it.
"""

from __future__ import annotations

import threading
from typing import Any

from jupyter_fx.client import interrupts

__all__ = ["ends_now", "watch"]

_WAIT = 0.15
"""Seconds between an interrupt and the request that it was the herald of."""

_ending = threading.Event()


def watch(kernel: Any) -> None:
    """Notice that the kernel was asked to end."""
    ask = getattr(kernel, "do_shutdown", None)
    if ask is None or getattr(ask, "_fx_watched", False):
        return

    def do_shutdown(restart: bool) -> Any:
        _ending.set()
        return ask(restart)

    do_shutdown._fx_watched = True  # type: ignore[attr-defined]  # noqa: SLF001 - a mark of ours
    kernel.do_shutdown = do_shutdown
    interrupts.ends_now = lambda: ends_now(kernel)


def ends_now(kernel: Any) -> bool:
    """After an interrupt: whether it came because the kernel ends. Waits a moment, where there is a kernel."""
    return kernel is not None and _ending.wait(_WAIT)
