"""What stands for a cell that goes on: the future of `%%remote --bg` and of `%fx attach`."""

from __future__ import annotations

import concurrent.futures
import sys
import threading
import weakref
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from jupyter_fx.client import TaskFuture
from jupyter_fx.errors import UsageError
from jupyter_fx.ids import short_id
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import CancelMode, Kind
from jupyter_fx_kernel import tracebacks
from jupyter_fx_kernel.endings import ending
from jupyter_fx_kernel.screens import show_error

__all__ = ["CellFuture", "known", "lines_of"]


known: weakref.WeakValueDictionary[str, CellFuture] = weakref.WeakValueDictionary()
"""The futures of this process's cells by task id: who comes back to one gets the one that brings its names home."""


class CellFuture(TaskFuture):
    """A TaskFuture whose value is that of the cell's last expression; it is done once the cell's names are home.

    An error is raised for who waits; when nobody does, it is shown under the cell that this future belongs to.
    """

    kind = Kind.CELL

    def __init__(self, task: TaskFuture, label: str, screen: Any) -> None:
        super().__init__(task._client, task.task_id)  # noqa: SLF001 - one client for both
        self._task, self._label, self._screen = task, label, screen
        self._asked = 0
        self.name = task.name
        self._sent = True
        known[self.task_id] = self

    # --- what people ask ---

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the value of its last expression, at most `timeout` seconds, or raise the cell's error."""
        with self._somebody_asks():
            return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for its error; None when it went well."""
        with self._somebody_asks():
            return super().exception(timeout)

    def __await__(self) -> Generator[Any, None, Any]:
        self._asked += 1
        return super().__await__()

    @property
    def state(self) -> TaskState:
        """The task's state."""
        return self._task.state

    @property
    def why(self) -> str:
        """What it waits for, or how it ended."""
        return self._task.why

    def cancel(self) -> bool:
        """Cancel it: at once if it has not started, else by an interrupt; a session keeps its variables.

        Returns whether it is cancelled already; else it is when its future says so.
        """
        if not self.done():
            self._task.cancel_running(CancelMode.CANCEL, "you cancelled it")
        return self.cancelled()

    def interrupt(self) -> None:
        """Send it a KeyboardInterrupt and nothing stronger."""
        self._task.interrupt()

    def settled(self, timeout: float = 5.0) -> bool:
        """Wait, after the task is done, for its names to be home; whether they are."""
        with self._somebody_asks():
            return bool(concurrent.futures.wait([self], timeout).done)

    def attach(self, first: int = 0) -> TaskFuture:
        """Show its output here too, from event `first` on, until it is done; itself. An interrupt leaves it running."""
        from IPython import get_ipython

        from jupyter_fx_kernel.attach import follow_here

        magics = get_ipython().magics_manager.registry["FxMagics"]
        info = self._client.request("tasks.get", {"task_id": self.task_id})
        return follow_here(magics.notebook, info, first=first)

    def running(self) -> bool:
        """Whether it runs there now."""
        return not self.done() and self._task.running()

    def __repr__(self) -> str:
        return f"<{self._label} {short_id(self.task_id)} {self._word()}>"

    def __reduce_ex__(self, _protocol: Any) -> NoReturn:
        raise UsageError(
            f"{self._label} cannot be an argument: what cells assign is in the session and comes home by name; "
            "give its .result()"
        )

    def _word(self) -> str:
        if not self.done():
            # It stands under the cell for good: what was so for a moment only would be wrong soon.
            return "running" if self._task.running() else "submitted"
        if self.cancelled():
            return "cancelled"
        return "failed" if self._exception is not None else "done"

    # --- for who follows it ---

    def _take(self, error: BaseException | None, value: Any = None) -> None:
        """It is over. An error nobody waits for is shown under its cell."""
        outcome = self.outcome = self._task.outcome
        if error is None:
            self.set_result(value)
        elif outcome is not None and outcome.state == TaskState.CANCELLED:
            self._become_cancelled()
        else:
            # The first moment in which somebody may ask is that of the future's making: a script that says
            # `job.result()` next to it is on its way there.
            unasked = not (self._asked or self._waiters or self._done_callbacks)
            self.set_exception(error)
            if unasked:
                show_error(self._screen, error, lines_of(error))

    def _cancelled(self) -> concurrent.futures.CancelledError:
        return concurrent.futures.CancelledError(*([ending(self.outcome)] if self.outcome is not None else []))

    def _start(self, work: Any) -> None:
        threading.Thread(target=work, name=f"fx-cell-{short_id(self.task_id)}", daemon=True).start()

    @contextmanager
    def _somebody_asks(self) -> Iterator[None]:
        self._asked += 1
        try:
            yield
        finally:
            if not self.done():
                self._asked -= 1


def lines_of(error: BaseException) -> list[str]:
    """How an error is shown: as it renders itself, else in one line."""
    render = getattr(error, "_render_traceback_", None)
    try:
        if isinstance(render, tracebacks.Drawn):
            return render.lines()  # what `%debug` looks at is the business of the main thread
        lines = render() if render is not None else None
    except Exception as problem:  # noqa: BLE001 - an error that cannot be drawn is named all the same
        print(f"{type(error).__name__} cannot be drawn: {problem}", file=sys.stderr)
        lines = None
    return list(lines) if lines else tracebacks.plain(error)
