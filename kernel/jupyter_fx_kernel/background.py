"""`%%remote --bg`: a cell that goes on while others run, with its output under itself."""

from __future__ import annotations

from jupyter_fx_kernel.cell import RemoteCell
from jupyter_fx_kernel.futures import CellFuture
from jupyter_fx_kernel.screens import pinned

__all__ = ["BackgroundCell"]


class BackgroundCell(CellFuture):
    """What `%%remote --bg` returns. Done once its names are home; its result is the last expression's value."""

    def __init__(self, cell: RemoteCell) -> None:
        cell.screen = pinned(cell.shell)
        task, self._follower = cell.submit()
        super().__init__(task, f"remote cell In[{cell.count}]", cell.screen)
        self._cell = cell
        self.set_running_or_notify_cancel()
        self._start(self._follow)

    def _follow(self) -> None:
        try:
            self._follower.follow(self._task.interrupt)
            value = self._cell.conclude(self._task, self._follower, background=True)
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever asks for the result
            self._take(error)
        else:
            self._take(None, value)
