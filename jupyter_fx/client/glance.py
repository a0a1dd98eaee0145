"""Which tasks run now, for futures whose states nobody follows: one question for all of them, and not too often.

Following each would cost the hub a message per task; nobody asks most of them.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
import time
from typing import TYPE_CHECKING, Final

from jupyter_fx.errors import FxError

if TYPE_CHECKING:
    from jupyter_fx.client.core import Core

__all__ = ["Glance"]

FRESH: Final = 0.05
"""Seconds for which an answer is good."""
_SHARE: Final = 10.0
"""It is good for as many times the seconds that it took, so that asking takes a tenth of the time at most."""
_STALE: Final = 5.0
_PAGES: Final = 100
"""A million of tasks: more run nowhere at once."""
_WITHIN: Final = 2.0
"""Seconds to wait for an answer: who asks whether something runs does not ask for the hub to be started."""


class Glance:
    """What the hub said last. Used from any thread; the client's own never waits and takes what is there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until = 0.0
        self._running: frozenset[str] = frozenset()

    def sees(self, core: Core, task_id: str) -> bool:
        """Whether the task ran a moment ago."""
        if time.monotonic() >= self._until and threading.current_thread() is not core.thread:
            with self._lock:
                self._look(core)
        return task_id in self._running

    def _look(self, core: Core) -> None:
        begun = time.monotonic()
        if begun < self._until:
            return  # somebody else has asked meanwhile

        async def ask() -> frozenset[str]:
            running: list[str] = []
            after = ""
            for _ in range(_PAGES):
                page = await core.peer.request("tasks.running", {"after": after} if after else {}, _WITHIN)
                running += page["tasks"]
                after = page.get("next", "")
                if not after:
                    break
            return frozenset(running)

        # No hub, one that is older, or a client that is being closed: what was known stays known.
        with contextlib.suppress(FxError, RuntimeError, concurrent.futures.CancelledError):
            self._running = core.call(ask())
        now = time.monotonic()
        self._until = now + min(_STALE, max(FRESH, _SHARE * (now - begun)))
