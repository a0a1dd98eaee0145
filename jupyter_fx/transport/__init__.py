"""Shells around the protocol's link that do the I/O: Unix socket, WebSocket, ZeroMQ, pipe.

Client, agent and hub call it; it calls the protocol. Names load when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jupyter_fx.transport.channel import Channel
    from jupyter_fx.transport.clock import Clock, SystemClock
    from jupyter_fx.transport.connecting import connect
    from jupyter_fx.transport.peer import Peer
    from jupyter_fx.transport.served import Served

__all__ = ["Channel", "Clock", "Peer", "Served", "SystemClock", "connect"]

_HOMES = {
    "Channel": "channel",
    "Clock": "clock",
    "Peer": "peer",
    "Served": "served",
    "SystemClock": "clock",
    "connect": "connecting",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
