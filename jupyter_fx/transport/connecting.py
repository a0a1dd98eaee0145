"""Which transport an address asks for."""

from __future__ import annotations

from typing import Any

from jupyter_fx.errors import UsageError
from jupyter_fx.transport.channel import Channel

__all__ = ["connect"]


async def connect(address: str, *, token: str = "", **options: Any) -> Channel:
    """A channel to `address`; call its `start` when its callbacks are set.

    ``unix:/path`` · ``ws://…`` · ``wss://…`` · ``http(s)://HOST/PREFIX`` (its /api/v1/link) ·
    ``tcp://host:port`` (ZeroMQ). `options` are the transport's own. Raises HubUnavailable when nobody answers,
    AuthError when the token is refused, UsageError when the address means nothing.
    """
    scheme, colon, rest = address.partition(":")
    if colon and scheme == "unix":
        from jupyter_fx.transport import unix

        return await unix.connect(rest.removeprefix("//"), **options)
    if colon and scheme in {"ws", "wss", "http", "https"}:
        from jupyter_fx.transport import websocket

        return await websocket.connect(address, token=token, **options)
    if colon and scheme == "tcp":
        from jupyter_fx.transport import zmq

        return await zmq.connect(address, **options)
    raise UsageError(f"{address[:200]!r} is no address of an fx hub: write unix:/path, ws://…, wss://… or https://…")
