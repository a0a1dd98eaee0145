"""`%%remote --bg`: a cell that goes on while others run, with its output under itself."""

from __future__ import annotations

import concurrent.futures
import sys
import threading
from typing import Any

from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx_kernel.cell import RemoteCell

__all__ = ["BackgroundCell"]


class BackgroundCell(concurrent.futures.Future[Any]):
    """What `%%remote --bg` returns. Done once its names are home; its result is the last expression's value."""

    def __init__(self, cell: RemoteCell) -> None:
        super().__init__()
        self._cell = cell
        self._parent = getattr(cell.shell, "parent_header", None) or _parent_of(cell.shell)
        self._task, self._follower = cell.submit()
        self.set_running_or_notify_cancel()
        threading.Thread(target=self._follow, name=f"fx-cell-{self.task_id[-8:]}", daemon=True).start()

    @property
    def task_id(self) -> str:
        """The task's id."""
        return str(self._task.task_id)

    @property
    def state(self) -> TaskState:
        """The task's state."""
        return TaskState(self._task.state)

    @property
    def why(self) -> str:
        """What it waits for."""
        return str(self._task.why)

    def logs(self, stream: str | None = None) -> str:
        """What it printed so far."""
        return str(self._task.logs(stream))

    def cancel(self) -> bool:
        """Interrupt it there. Returns False: it is over when its future says so."""
        if not self.done():
            self._task.interrupt()
        return False

    def __repr__(self) -> str:
        return f"<remote cell In[{self._cell.count}] {self.task_id[-8:]} {'done' if self.done() else 'running'}>"

    def _follow(self) -> None:
        pinned = _pin(self._cell.shell, self._parent)
        try:
            self._follower.follow(self._task.interrupt)
            self.set_result(self._cell.conclude(self._task, self._follower, background=True))
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever asks for the result
            self.set_exception(error)
        finally:
            _unpin(self._cell.shell, pinned)


def _parent_of(shell: Any) -> Any:
    kernel = getattr(shell, "kernel", None)
    return kernel.get_parent("shell") if kernel is not None else None


def _pin(shell: Any, parent: Any) -> Any:
    """Let what this thread writes land under the cell that started it."""
    if parent is None:
        return None
    if hasattr(shell, "set_thread_parent"):
        return shell.set_thread_parent(parent)
    if hasattr(shell, "set_parent") and hasattr(sys.stdout, "parent_header"):
        shell.set_parent(parent)
    return None


def _unpin(shell: Any, token: Any) -> None:
    if token is not None:
        sys.stdout.flush()
        sys.stderr.flush()
        shell.reset_thread_parent(token)
