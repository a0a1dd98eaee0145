"""Finds or starts an fx hub and a local endpoint when nothing is configured; by command line, never by import.

`find_hub()` is what clients without an address call; `jupyter fx up` and the server extension use the parts.
"""

from __future__ import annotations

from jupyter_fx.embedded.files import HubFile, read_hub_file
from jupyter_fx.embedded.hub import ensure_hub, find_hub, stop_hub
from jupyter_fx.embedded.local import ensure_endpoint, stop_endpoint

__all__ = ["HubFile", "ensure_endpoint", "ensure_hub", "find_hub", "read_hub_file", "stop_endpoint", "stop_hub"]
