"""Reads now and then what people look at and nothing depends on: who is busy, and how much memory sessions have.

Every five seconds while something runs, every minute while sessions are open, never else; what has not changed is not
told.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from jupyter_fx.endpoint.watch import measure

if TYPE_CHECKING:
    from jupyter_fx.endpoint.manager import Manager
    from jupyter_fx.endpoint.worker_proc import WorkerProc

__all__ = ["Gauges", "coarse"]

EVERY: Final = 5.0
AT_REST: Final = 60.0
"""Seconds between two looks at the memory of a session in which nothing runs."""


class Gauges:
    """Of one manager."""

    def __init__(self, manager: Manager, loop: asyncio.AbstractEventLoop) -> None:
        self._manager, self._loop = manager, loop
        self._timer: asyncio.TimerHandle | None = None
        self._touched: set[str] = set()
        """Sessions that did something since they were measured."""
        self._measured: dict[str, float] = {}
        self._told: dict[str, Any] = {}
        self.memory: dict[str, int] = {}
        """Bytes that the processes of a session have, by its id."""

    def wake(self, worker: WorkerProc) -> None:
        """It is up, or has something to do."""
        if worker.session:
            self._touched.add(worker.session)
        if self._timer is None:
            self._timer = self._loop.call_later(EVERY, self._tick)

    def close(self) -> None:
        """No more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        pool = self._manager.pool
        self._timer = None
        if pool.sessions or any(worker.in_hand for worker in pool.workers()):
            self._timer = self._loop.call_later(EVERY, self._tick)
        self._measure(dict(pool.sessions), self._loop.time())
        info = self._manager.capacity().info
        if info != self._told:
            self._told = info
            self._manager.capacity_changed()

    def _measure(self, sessions: dict[str, WorkerProc], now: float) -> None:
        for gone in self.memory.keys() - sessions.keys():
            del self.memory[gone]
            self._measured.pop(gone, None)
        for session, worker in sessions.items():
            due = worker.in_hand or session in self._touched or now - self._measured.get(session, 0.0) >= AT_REST
            if due and worker.pid and (used := measure(worker.pid).get("rss", 0)):
                self._measured[session] = now
                self.memory[session] = coarse(used)
        self._touched.clear()


def coarse(size: int) -> int:
    """Bytes, rounded to a part in sixteen and whole MiB: what trembles is no news."""
    step = max(1 << 20, 1 << max(0, size.bit_length() - 5))
    return (size + step // 2) // step * step
