"""What happens when the interpreter ends: executors are waited for, as `concurrent.futures` does, and what was
submitted is acknowledged before the process is gone.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

__all__ = ["exiting", "first", "register"]
log = logging.getLogger(__name__)

DRAIN = 30.0
"""Seconds that the end of the interpreter waits for the hub to acknowledge submissions."""

_executors: weakref.WeakSet[Any] = weakref.WeakSet()
_exiting = False
_first: list[Callable[[], None]] = []


def first(call: Callable[[], None]) -> None:
    """Call this when the interpreter ends, while clients can still say something: by atexit's turn they cannot."""
    _first.append(call)


def exiting() -> bool:
    """Whether the interpreter is ending."""
    return _exiting


def register(executor: Any) -> None:
    """Wait for this executor's calls at exit."""
    _executors.add(executor)


def _at_exit() -> None:
    global _exiting  # noqa: PLW0603
    for call in _first:
        try:
            call()
        except Exception:
            log.exception("what was to be done first at the end of the interpreter failed")
    _exiting = True
    for executor in list(_executors):
        executor.shutdown(wait=True)
    from jupyter_fx.client.register import all_clients

    for client in all_clients():
        if not client.drain(DRAIN):
            sys.stderr.write(
                f"jupyter-fx: the hub at {client.address} did not acknowledge everything within {DRAIN:g} s: "
                "the last submissions may be lost\n"
            )
        client.close(timeout=0.0)


def _forked() -> None:
    _first.clear()
    for executor in list(_executors):
        executor.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)

# Threads are joined before atexit handlers run: concurrent.futures uses the same door.
_register = getattr(threading, "_register_atexit", atexit.register)
_register(_at_exit)
