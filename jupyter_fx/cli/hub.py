"""`jupyter fx hub`: the hub in the foreground."""

from __future__ import annotations

from jupyter_fx_hub.app import HubApp as _HubApp

__all__ = ["HubApp"]


class HubApp(_HubApp):
    """Run an fx hub in the foreground (Ctrl-C ends it; what it has acknowledged is on its disk)."""

    name = "jupyter-fx-hub"
    description = __doc__ or ""
