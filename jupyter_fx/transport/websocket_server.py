"""The hub's end of a WebSocket: a Tornado handler that makes a Channel of each connection."""

from __future__ import annotations

import asyncio
import inspect
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from tornado.iostream import StreamClosedError
from tornado.web import HTTPError
from tornado.websocket import WebSocketHandler

from jupyter_fx.errors import AuthError, RemoteProtocolError
from jupyter_fx.protocol.limits import FRAME_MAX
from jupyter_fx.transport.channel import WRITE_HIGH, Channel

__all__ = ["SUBPROTOCOL", "TICKET_PREFIX", "LinkHandler"]

SUBPROTOCOL: Final = "jupyter-fx"
"""The WebSocket subprotocol that a browser names beside its ticket."""
TICKET_PREFIX: Final = "jupyter-fx.ticket."
"""A browser cannot set headers: its one-use ticket travels as a second subprotocol, which is not logged like a URL."""

Authenticate = Callable[[str, str, "LinkHandler"], "dict[str, Any] | Awaitable[dict[str, Any] | None] | None"]


class _HandlerChannel(Channel):
    """A Channel on a Tornado WebSocket."""

    def __init__(self, handler: LinkHandler, info: dict[str, Any]) -> None:
        super().__init__(str(handler.request.remote_ip))
        self.info |= info
        self._handler = handler
        # Written to directly: write_message would make a task of every frame.
        stream = None if handler.ws_connection is None else handler.ws_connection.stream
        assert stream is not None
        self._stream = stream
        self._queued = 0
        self.gate: asyncio.Future[None] | None = None

    def start(self) -> None:
        """Tornado reads once `open` returned."""

    def write(self, frames: Sequence[bytes]) -> None:
        """Write frames: unmasked binary ones of RFC 6455 §5.2, all in one go."""
        if self._stream.closed() or self._handler.goodbye_said:
            return
        pieces: list[bytes] = []
        for frame in frames:
            size = len(frame)
            if size < 126:
                pieces.append(bytes((0x82, size)))
            elif size < 0x10000:
                pieces.append(struct.pack("!BBH", 0x82, 126, size))
            else:
                pieces.append(struct.pack("!BBQ", 0x82, 127, size))
            pieces.append(frame)
        data = b"".join(pieces)
        try:
            written = self._stream.write(data)
        except StreamClosedError:
            return
        if not written.done():
            self._queued += len(data)
            self.paused = self._queued > WRITE_HIGH
            written.add_done_callback(lambda _: self._written(len(data)))

    def _written(self, size: int) -> None:
        self._queued -= size
        if self.paused and self._queued < WRITE_HIGH // 2:
            self.paused = False
            self.on_writable()

    def close(self) -> None:
        """Say goodbye in the WebSocket's way, after what is buffered."""
        self._handler.goodbye()

    def abort(self) -> None:
        """Close at once."""
        self._stream.close()

    def pause_reading(self) -> None:
        """Read no more for now."""
        if self.gate is None:
            self.gate = asyncio.get_running_loop().create_future()

    def resume_reading(self) -> None:
        """Read again."""
        gate, self.gate = self.gate, None
        if gate is not None and not gate.done():
            gate.set_result(None)


class LinkHandler(WebSocketHandler):
    """``(r"/api/v1/link", LinkHandler, {"authenticate": …, "on_channel": …, "origins": …})``.

    `authenticate(token, ticket, handler)` returns (or awaits) what the channel's `info` will hold (user, scopes …), or
    None or AuthError to refuse with 401. Both strings are empty when nothing was presented: an endpoint that enrols.
    `on_channel(channel)` makes a Served of it. `origins`: exact origins of browser pages that may connect, such as
    ``https://hub.example.org``; a page of any other is refused. Programs send no Origin.
    """

    def initialize(
        self,
        authenticate: Authenticate,
        on_channel: Callable[[Channel], None],
        origins: frozenset[str] | set[str] | tuple[str, ...] = (),
    ) -> None:
        """Take the hub's callbacks."""
        self._authenticate, self._on_channel, self._origins = authenticate, on_channel, origins
        self._channel: _HandlerChannel | None = None
        self._info: dict[str, Any] = {}
        self._fault: Exception | None = None
        self.goodbye_said = False

    @property
    def max_message_size(self) -> int:
        """A frame's limit; Tornado enforces it before it buffers."""
        return FRAME_MAX

    def get_compression_options(self) -> None:
        """None: payloads are compressed, or not, by those who can read them."""

    def check_origin(self, origin: str) -> bool:
        """Exactly the origins that were allowed."""
        return origin in self._origins

    def check_xsrf_cookie(self) -> None:
        """A GET with a token in its header needs none; a browser's page is checked by its origin and ticket."""

    async def prepare(self) -> None:
        """Authenticate before the connection is upgraded."""
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        token = token.strip() if scheme.lower() in {"bearer", "token"} else ""
        try:
            info = self._authenticate(token, self._ticket(), self)
            if inspect.isawaitable(info):
                info = await info
        except AuthError as error:
            # The page that Tornado makes of an HTTPError would not tell a client why.
            self.set_status(401)
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.finish(error.message)
            return
        if info is None:
            raise HTTPError(401, reason="Unauthorized")
        self._info = info

    def _ticket(self) -> str:
        offered = self.request.headers.get("Sec-WebSocket-Protocol", "").split(",")
        for name in offered:
            if name.strip().startswith(TICKET_PREFIX):
                return name.strip().removeprefix(TICKET_PREFIX)
        return ""

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """Ours, never the one that carries the ticket."""
        return SUBPROTOCOL if SUBPROTOCOL in subprotocols else None

    def open(self, *_args: str, **_kwargs: str) -> None:
        """Give the hub its channel."""
        self.set_nodelay(True)
        self._channel = _HandlerChannel(self, self._info)
        self._on_channel(self._channel)

    def on_message(self, message: str | bytes) -> Any:
        """Hand a frame on; what is returned holds Tornado's reading back while the channel is paused."""
        assert self._channel is not None
        if isinstance(message, str):
            self._fault = RemoteProtocolError("text came where frames are binary")
            self.close(1003, "frames are binary")
            return None
        self._channel.on_frame(message)
        return self._channel.gate

    def goodbye(self) -> None:
        """Close after what is buffered."""
        self.goodbye_said = True
        self.close(1000)

    def on_close(self) -> None:
        """Tell it once."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.resume_reading()
            channel.on_closed(self._fault)

    def data_received(self, chunk: bytes) -> None:
        """No request has a body here."""
