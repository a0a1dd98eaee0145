"""The lock of a future, which becomes a condition only when somebody waits for it."""

from __future__ import annotations

import threading
from _thread import RLock

__all__ = ["Turn"]


class Turn(RLock):  # type: ignore[misc]  # final for its stub, a base class in every CPython
    """What `concurrent.futures` asks of a future's condition.

    A `threading.Condition` is seven objects that the garbage collector visits again and again; of thousands of futures
    that are out, few are ever waited for one by one. Measured: it was a quarter of what a task costs its client.
    """

    __slots__ = ("_condition",)

    _condition: threading.Condition | None

    def __init__(self) -> None:
        super().__init__()
        self._condition = None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for `notify_all`, at most `timeout` seconds; whether it came. The caller has the lock."""
        condition = self._condition
        if condition is None:
            condition = self._condition = threading.Condition(self)
        return condition.wait(timeout)

    def notify_all(self) -> None:
        """Wake all that wait. The caller has the lock."""
        condition, self._condition = self._condition, None
        if condition is not None:
            condition.notify_all()
