"""The accepting end of a link: one per connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from jupyter_fx.errors import FxError, InfrastructureError
from jupyter_fx.protocol.limits import UNACKED_MAX
from jupyter_fx.protocol.link import Link, LinkState
from jupyter_fx.protocol.messages import Hello, Request, Welcome
from jupyter_fx.transport.channel import Channel
from jupyter_fx.transport.clock import Clock, SystemClock
from jupyter_fx.transport.shell import Shell

__all__ = ["Served"]

log = logging.getLogger(__name__)


class Served(Shell):
    """The accepting end of a link over `channel`; make it in the server's `on_channel` callback.

    `on_hello(hello, served)` returns (or awaits) the Welcome, or raises FxError, which is told with Goodbye (`retry` of
    its `details`, else False). After that `on_open(hello)`, `on_message(message, number)`, `on_acked(number)`,
    `on_request(request)` as with Peer, and once at the end `on_closed(error)`, also when it never was open.
    A peer that does not read is cut off when more than UNACKED_MAX bytes wait for it.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        on_hello: Callable[[Hello, Served], Welcome | Awaitable[Welcome]],
        on_message: Callable[[Any, int], None],
        on_open: Callable[[Hello], None] | None = None,
        on_closed: Callable[[FxError | None], None] | None = None,
        on_acked: Callable[[int], None] | None = None,
        on_request: Callable[[Request], Any] | None = None,
        clock: Clock | None = None,
        ack_delay: float = 0.0,
        ping_interval: float = 10.0,
        dead_after: float = 30.0,
        hello_within: float = 10.0,
    ) -> None:
        clock = clock or SystemClock()
        super().__init__(
            Link(
                "accepts",
                now=clock.monotonic(),
                ping_interval=ping_interval,
                dead_after=dead_after,
                hello_within=hello_within,
            ),
            on_message=on_message,
            on_acked=on_acked,
            on_request=on_request,
            clock=clock,
            ack_delay=ack_delay,
        )
        self._on_hello, self._on_open, self._on_closed = on_hello, on_open, on_closed
        self._deciding: asyncio.Task[None] | None = None
        self.peer = channel.info
        """What the transport knows of the other side (see Channel.info)."""
        self.address = channel.address
        self._use(channel)

    @property
    def hello(self) -> Hello | None:
        """What the other side said; None until it has."""
        return self.link.hello

    def send(self, message: Any, *, keep: bool = False) -> int:
        """As Shell.send; nothing is sent, and 0 returned, once the connection is over."""
        if self.link.state is LinkState.CLOSED:
            return 0
        number = super().send(message, keep=keep)
        if self.channel is not None and self.channel.paused and self.link.pending_bytes > UNACKED_MAX:
            self.abort()
        return number

    def abort(self) -> None:
        """Break the connection: the other side comes back and is told what it missed."""
        if self.channel is not None:
            self.channel.abort()

    def close(self, error: FxError | None = None, *, retry: bool = True) -> None:
        """Say Goodbye (why, and whether to come again) and close. `on_closed` is not called."""
        if self.link.state is LinkState.CLOSED:
            return
        self._on_closed = None
        self.link.close(error, retry=retry)
        self._drop_channel()
        self._over(error)

    # Inside.

    def _opened(self, peer: Hello | Welcome) -> None:
        assert isinstance(peer, Hello)
        self._arm()
        try:
            answer = self._on_hello(peer, self)
        except Exception as error:  # noqa: BLE001 - told to the other side
            self._refuse(error)
            return
        if isinstance(answer, Welcome):
            self._accept(peer, answer)
        else:
            self._deciding = self._loop.create_task(self._decide(peer, answer))

    async def _decide(self, hello: Hello, answer: Awaitable[Welcome]) -> None:
        try:
            welcome = await answer
        except Exception as error:  # noqa: BLE001 - the same
            self._refuse(error)
        else:
            self._accept(hello, welcome)
        self._tell()

    def _accept(self, hello: Hello, welcome: Welcome) -> None:
        if self.link.state is not LinkState.DECIDING:
            return
        self.link.accept(welcome)
        self._arm()
        if self._on_open is not None:
            try:
                self._on_open(hello)
            except Exception:
                log.exception("on_open failed")
        if self._flush_handle is None:
            self._schedule_flush()

    def _refuse(self, error: Exception) -> None:
        if self.link.state is not LinkState.DECIDING:
            return
        if not isinstance(error, FxError):
            log.error("a Hello could not be answered", exc_info=error)
            self.link.refuse(InfrastructureError("the fx hub failed to answer; its log tells more"), retry=True)
        else:
            self.link.refuse(error, retry=bool(error.details.get("retry", False)))
        self._tell()

    def _lost(self, error: FxError | None, retry: bool) -> None:
        callback, self._on_closed = self._on_closed, None
        self._over(error)
        if callback is not None:
            try:
                callback(error)
            except Exception:
                log.exception("on_closed failed")

    def _over(self, error: FxError | None) -> None:
        self._end_all(error or InfrastructureError("the connection is closed"))
        if self._deciding is not None and self._deciding is not asyncio.current_task():
            self._deciding.cancel()
