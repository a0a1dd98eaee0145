"""The connecting end of a link: it comes back by itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from jupyter_fx.errors import AuthError, FxError, HubUnavailable, InfrastructureError, UsageError
from jupyter_fx.protocol.link import Link
from jupyter_fx.protocol.messages import Hello, Request, Welcome
from jupyter_fx.transport.channel import Channel
from jupyter_fx.transport.clock import Clock
from jupyter_fx.transport.connecting import connect
from jupyter_fx.transport.shell import Shell

__all__ = ["Peer"]

BACKOFF_FIRST: Final = 0.5
BACKOFF_MAX: Final = 30.0
BACKOFF_LOCAL: Final = 2.0
"""The same on a Unix socket: one host's few clients are no stampede, and a hub there is back within a second or two."""
SETTLED: Final = 5.0
"""Seconds that a link must have been open for the next reconnect to be tried at once."""

log = logging.getLogger(__name__)


class Peer(Shell):
    """A link to `address` that is made again whenever it breaks, until `close` or until the other side refuses it.

    Make it on a running loop, then `start`. Callbacks, all on the loop's thread: `on_message(message, number)`;
    `on_open(welcome)`, each time the link opens (kept messages are redelivered before what it sends); `on_lost(error)`,
    each time it breaks; `on_acked(number)`; `on_refused(error)`, when it is closed for good;
    `on_request(request)` returns or awaits the value of a Request of the other side, or raises an FxError.
    The first reconnect is tried at once, the next after a random time up to 0.5, 1, 2 … 30 s (full jitter:
    M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015); on a Unix socket up to 2 s at most.
    `hello.token`, or what `token` returns at each connect, is sent in the Hello; on a WebSocket as a bearer token.
    `connector` replaces `connect(address, token=…, **options)`.
    """

    def __init__(
        self,
        address: str,
        hello: Hello,
        *,
        on_message: Callable[[Any, int], None],
        on_open: Callable[[Welcome], None] | None = None,
        on_lost: Callable[[FxError], None] | None = None,
        on_acked: Callable[[int], None] | None = None,
        on_refused: Callable[[FxError], None] | None = None,
        on_request: Callable[[Request], Any] | None = None,
        clock: Clock | None = None,
        ack_delay: float = 0.005,
        ping_interval: float = 10.0,
        dead_after: float = 30.0,
        token: Callable[[], str] | None = None,
        connector: Callable[[], Awaitable[Channel]] | None = None,
        connect_timeout: float = 20.0,
        rng: random.Random | None = None,
        **options: Any,
    ) -> None:
        self._token = token or (lambda: hello.token)
        self._pause_max = BACKOFF_LOCAL if address.startswith("unix:") else BACKOFF_MAX
        self._token_in_hello = address.startswith(("unix:", "tcp:")) or connector is not None
        self._options = options
        super().__init__(
            Link(
                "connects",
                hello=msgspec.structs.replace(hello, token=""),
                now=0.0,
                ping_interval=ping_interval,
                dead_after=dead_after,
            ),
            on_message=on_message,
            on_acked=on_acked,
            on_request=on_request,
            clock=clock,
            ack_delay=ack_delay,
        )
        self.address = address
        self.welcome: Welcome | None = None
        """The last Welcome; None before the first."""
        self.error: FxError | None = None
        """Why the link is not open, if it is known."""
        self._on_open, self._on_lost, self._on_refused = on_open, on_lost, on_refused
        self._connector = connector
        self._connect_timeout = connect_timeout
        self._rng = rng or random.Random()
        self._connecting: asyncio.Task[None] | None = None
        self._failures = 0
        self._opened_at = 0.0
        self._waiting: list[asyncio.Future[Welcome]] = []
        self._over = False

    def start(self) -> Peer:
        """Begin to connect; returns itself."""
        if self._connecting is None and self.channel is None and not self._over:
            self._connecting = self._loop.create_task(self._come())
        return self

    async def opened(self, timeout: float | None = None) -> Welcome:
        """Wait until the link is open; its Welcome. Raises why it was refused, or the last error after `timeout`."""
        if self.is_open and self.welcome is not None:
            return self.welcome
        if self._over:
            raise self.error or HubUnavailable("the link was closed")
        waiter: asyncio.Future[Welcome] = self._loop.create_future()
        self._waiting.append(waiter)
        try:
            return await asyncio.wait_for(waiter, timeout)
        except TimeoutError:
            raise self.error or HubUnavailable(f"{self.address} did not answer within {timeout:g} s") from None

    def close(self, error: FxError | None = None) -> None:
        """Say Goodbye and never come back. Kept messages that are not acknowledged are given up."""
        if self._over:
            return
        self._over = True
        self.link.close(error)
        self._finish(error or HubUnavailable("the link was closed"))

    def retry_now(self) -> None:
        """Try to connect at once instead of at the end of the pause."""
        if self._connecting is not None and self.channel is None:
            self._connecting.cancel()
            self._connecting = self._loop.create_task(self._come(pause=0.0))

    # Inside.

    def _finish(self, error: FxError) -> None:
        self._drop_channel()
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        self._end_all(error)
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(error)
        self._waiting.clear()

    def _pause(self) -> float:
        if self._failures == 0:
            return 0.0
        return self._rng.uniform(0.0, min(self._pause_max, BACKOFF_FIRST * 2.0 ** min(self._failures - 1, 10)))

    async def _come(self, pause: float | None = None) -> None:
        """Try until there is a channel."""
        channel: Channel | None = None
        while channel is None:
            await asyncio.sleep(self._pause() if pause is None else pause)
            pause = None
            try:
                async with asyncio.timeout(self._connect_timeout):
                    channel = await self._connect(self._token())
            except (AuthError, UsageError) as error:
                self._refused(error)
                return
            except FxError as error:
                self.error = error
            except (OSError, TimeoutError) as error:
                self.error = HubUnavailable(f"{self.address} cannot be reached: {str(error) or type(error).__name__}")
            except Exception as error:
                log.exception("connecting to %s failed", self.address)
                self.error = InfrastructureError(f"connecting to {self.address} failed: {error}")
            self._failures += channel is None
        self._connecting = None
        self.link.reconnected(self._clock.monotonic())
        self._use(channel)
        channel.start()

    async def _connect(self, token: str) -> Channel:
        if self._token_in_hello and self.link.hello is not None:
            self.link.hello = msgspec.structs.replace(self.link.hello, token=token)
            token = ""
        if self._connector is not None:
            return await self._connector()
        return await connect(self.address, token=token, **self._options)

    def _opened(self, peer: Hello | Welcome) -> None:
        assert isinstance(peer, Welcome)
        self.welcome, self.error = peer, None
        self._opened_at = self._clock.monotonic()
        self._arm()
        if self._on_open is not None:
            with _told("on_open"):
                self._on_open(peer)
        self._send_unsent()
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(peer)

    def _lost(self, error: FxError | None, retry: bool) -> None:
        self.error = error or HubUnavailable("the fx hub said goodbye")
        if not retry:
            self._refused(self.error)
            return
        settled = self._opened_at and self._clock.monotonic() - self._opened_at > SETTLED
        self._failures = 0 if settled else self._failures + 1
        self._opened_at = 0.0
        if self._on_lost is not None:
            with _told("on_lost"):
                self._on_lost(self.error)
        if not self._over and self._connecting is None:
            self._connecting = self._loop.create_task(self._come())

    def _refused(self, error: FxError) -> None:
        self._over = True
        self.error = error
        self._connecting = None
        self.link.close(error)
        self._finish(error)
        if self._on_refused is not None:
            with _told("on_refused"):
                self._on_refused(error)


@contextlib.contextmanager
def _told(what: str) -> Any:
    """A callback that fails is a bug of its owner, and must not end the link."""
    try:
        yield
    except Exception:
        log.exception("%s failed", what)
