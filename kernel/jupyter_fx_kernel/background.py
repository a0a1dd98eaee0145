"""`%%remote --bg`: a cell that goes on while others run, with its output under itself."""

from __future__ import annotations

from jupyter_fx.client import TaskFuture
from jupyter_fx_kernel.cell import RemoteCell
from jupyter_fx_kernel.futures import CellFuture
from jupyter_fx_kernel.importing import wait_for_imports
from jupyter_fx_kernel.running import Follower
from jupyter_fx_kernel.screens import pinned

__all__ = ["BackgroundCell"]


class BackgroundCell(CellFuture):
    """What `%%remote --bg` returns. Done once its names are home; its result is the last expression's value."""

    def __init__(self, cell: RemoteCell, begun: tuple[TaskFuture, Follower] | None = None) -> None:
        """`begun`: what `cell.submit()` gave, of a cell that was followed until its user had enough."""
        cell.screen = pinned(cell.shell)
        task: TaskFuture
        self._follower: Follower
        task, self._follower = begun or cell.submit()
        if begun is not None:
            self._follower.move_to(cell.screen)
        super().__init__(task, f"remote cell In[{cell.count}]", cell.screen)
        self._cell = cell
        self.set_running_or_notify_cancel()
        self._start(self._follow)

    def _follow(self) -> None:
        try:
            self._follower.follow(self._task.interrupt)
            wait_for_imports()
            value = self._cell.conclude(self._task, self._follower, background=True)
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever asks for the result
            self._take(error)
        else:
            self._take(None, value)
