"""What both ends of a link have in common: it flushes, keeps the timers, and answers and asks Requests."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from jupyter_fx.errors import (
    FxError,
    HubUnavailable,
    InfrastructureError,
    LocalProtocolError,
    QuotaExceeded,
    UsageError,
)
from jupyter_fx.protocol.faults import error_from, error_info
from jupyter_fx.protocol.limits import REQUESTS_MAX, UNACKED_MAX
from jupyter_fx.protocol.link import Acked, Closed, Link, Opened, Received
from jupyter_fx.protocol.messages import Hello, Reply, Request, Welcome
from jupyter_fx.transport.channel import WRITE_HIGH, Channel
from jupyter_fx.transport.clock import Clock, SystemClock

__all__ = ["Shell"]

FLUSH_WINDOW: Final = 0.001
FLUSHES_PER_WINDOW: Final = 32
"""Flushes that may follow each other at once; more wait for the end of the window, so that a storm is batched.

An unconditional wait would cost a quick question-and-answer a window per hop."""

log = logging.getLogger(__name__)


class Shell:
    """One end of a link, on an asyncio loop. Use it on the loop's thread only."""

    def __init__(
        self,
        link: Link,
        *,
        on_message: Callable[[Any, int], None],
        on_acked: Callable[[int], None] | None,
        on_request: Callable[[Request], Any] | None,
        clock: Clock | None,
        ack_delay: float,
    ) -> None:
        self.link = link
        self.channel: Channel | None = None
        self._loop = asyncio.get_running_loop()
        self._clock = clock or SystemClock()
        self._on_message, self._on_acked, self._on_request = on_message, on_acked, on_request
        self.ack_delay = ack_delay
        """Seconds that an ack waits for something to travel with."""
        self._ack_timer: asyncio.TimerHandle | None = None
        self._flush_handle: asyncio.Handle | None = None
        self._window = 0.0
        self._flushes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._unsent: dict[int, Request] = {}
        self._questions = 0
        self._answering: set[asyncio.Task[None]] = set()
        self._writable: list[asyncio.Future[None]] = []
        self._ended = False
        self._reading = True

    @property
    def is_open(self) -> bool:
        """Whether messages pass now."""
        return self.link.is_open

    @property
    def congested(self) -> bool:
        """Whether to send less: UNACKED_MAX bytes wait for acks, or WRITE_HIGH for the connection to take them."""
        link, channel = self.link, self.channel
        if channel is not None and (channel.paused or link.pending_bytes >= WRITE_HIGH):
            return True
        return link.unacked_bytes >= UNACKED_MAX

    async def wait_uncongested(self) -> None:
        """Return when `congested` is over (at once if it is not); raises why when the link is closed for good."""
        while self.congested:
            waiter = self._loop.create_future()
            self._writable.append(waiter)
            await waiter

    def send(self, message: Any, *, keep: bool = False) -> int:
        """Send a message: the number of a kept one, else 0 (see Link.send). It leaves with the next flush."""
        number = self.link.send(message, keep=keep)
        if self._flush_handle is None:
            self._schedule_flush()
        return number

    def acknowledge(self, number: int) -> None:
        """All messages up to `number` are durable here; told with the next frame, at the latest after `ack_delay`."""
        self.link.acknowledge(number)
        if not self.ack_delay:
            if self._flush_handle is None:
                self._schedule_flush()
        elif self._ack_timer is None:
            self._ack_timer = self._loop.call_later(self.ack_delay, self._flush)

    def request(self, op: str, args: dict[str, Any] | None = None, timeout: float | None = 30.0) -> asyncio.Future[Any]:
        """Ask the other side; the future of the value. While the link is not open it waits until it is.

        Fails with the error that the other side answers, with HubUnavailable when the connection is lost before the
        answer (whether it was carried out is not known), or after `timeout` seconds (None: never).
        """
        self._questions += 1
        n = self._questions
        question = Request(n, op, args or {})
        future: asyncio.Future[Any] = self._loop.create_future()
        if self.is_open:
            self.send(question)
        else:
            self._unsent[n] = question
        self._asked[n] = future
        timer = None if timeout is None else self._loop.call_later(timeout, self._give_up, n, op, timeout)

        def forget(_: asyncio.Future[Any]) -> None:
            if timer is not None:
                timer.cancel()
            self._asked.pop(n, None)
            self._unsent.pop(n, None)

        future.add_done_callback(forget)
        return future

    def flush(self) -> None:
        """Write what waits, now: for who blocks until an answer comes."""
        self._flush()

    def pause_reading(self) -> None:
        """Let the other side wait: what came in must be dealt with first. It is not taken for dead meanwhile."""
        self._reading = False
        if self.channel is not None:
            self.channel.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._reading = True
        if self.channel is not None:
            self.channel.resume_reading()

    # What an end does its own way.

    def _opened(self, peer: Hello | Welcome) -> None:
        raise NotImplementedError

    def _lost(self, error: FxError | None, retry: bool) -> None:
        raise NotImplementedError

    # Inside.

    def _use(self, channel: Channel) -> None:
        """Carry the link over `channel`."""
        self.channel = channel
        self._reading = True
        channel.on_frame = self._frame
        channel.on_closed = lambda error: self._channel_closed(channel, error)
        channel.on_writable = self._channel_writable
        self._arm()
        self._schedule_flush()

    def _frame(self, frame: bytes) -> None:
        self.link.receive_data(frame, self._clock.monotonic())
        self._tell()

    def _tell(self) -> None:
        """Hand the link's events on."""
        link = self.link
        for event in link.events():
            kind = type(event)
            if self._ended:
                # A callback closed this end: what came in after is nobody's.
                return
            if kind is Received:
                message = event.message  # type: ignore[union-attr]
                if type(message) is Reply:
                    self._take_reply(message)
                elif type(message) is Request:
                    self._answer(message)
                else:
                    try:
                        self._on_message(message, event.number)  # type: ignore[union-attr]
                    except Exception:
                        log.exception("a %s could not be handled", type(message).__name__)
            elif isinstance(event, Acked):
                if self._on_acked is not None:
                    self._on_acked(event.number)
                self._wake_writers()
            elif isinstance(event, Opened):
                self._opened(event.peer)
            elif isinstance(event, Closed):
                self._drop_channel()
                self._lost(event.error, event.retry)
        if link.pending_bytes and self._flush_handle is None:
            self._schedule_flush()

    def _schedule_flush(self) -> None:
        now = self._loop.time()
        if now - self._window >= FLUSH_WINDOW:
            self._window = now
            self._flushes = 0
        self._flushes += 1
        if self._flushes <= FLUSHES_PER_WINDOW:
            self._flush_handle = self._loop.call_soon(self._flush)
        else:
            self._flush_handle = self._loop.call_at(self._window + FLUSH_WINDOW, self._flush)

    def _flush(self) -> None:
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        channel = self.channel
        if channel is None or channel.paused:
            return
        if self._ack_timer is not None:
            self._ack_timer.cancel()
            self._ack_timer = None
        if frames := self.link.data_to_send():
            channel.write(frames)
        if self._writable:
            self._wake_writers()

    def _arm(self) -> None:
        """Keep one timer; it is not touched when frames come, but looks again when it fires."""
        due = self.link.next_timer()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due is not None and self.channel is not None:
            self._timer = self._loop.call_later(max(0.0, due - self._clock.monotonic()) + 0.001, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        if not self._reading:
            self.link.not_listening(now)
        self.link.handle_timer(now)
        self._tell()
        self._arm()

    def _channel_writable(self) -> None:
        self._flush()
        self._wake_writers()

    def _wake_writers(self) -> None:
        if self._writable and not self.congested:
            waiting, self._writable = self._writable, []
            for waiter in waiting:
                if not waiter.done():
                    waiter.set_result(None)

    def _channel_closed(self, channel: Channel, error: Exception | None) -> None:
        if self.channel is not channel:
            return
        known = error if isinstance(error, FxError) else None
        self.link.receive_eof(self._clock.monotonic(), known)
        self._tell()

    def _drop_channel(self) -> None:
        """Write the Goodbye if there is one, and let go of the connection."""
        channel, self.channel = self.channel, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if channel is not None:
            frames = self.link.data_to_send(ack_alone=False)
            if frames:
                channel.write(frames)
            channel.close()
            # A peer that does not read must not hold the connection open.
            self._loop.call_later(2.0, channel.abort)
        for n, future in list(self._asked.items()):
            if n not in self._unsent and not future.done():
                future.set_exception(HubUnavailable("the connection was lost before the answer came"))

    def _send_unsent(self) -> None:
        for question in self._unsent.values():
            self.send(question)
        self._unsent.clear()

    def _end_all(self, error: FxError) -> None:
        """The link is closed for good: nobody waits any longer."""
        self._ended = True
        for future in list(self._asked.values()):
            if not future.done():
                future.set_exception(error)
        for waiter in self._writable:
            if not waiter.done():
                waiter.set_exception(error)
        self._writable.clear()
        for task in self._answering:
            task.cancel()
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        if self._ack_timer is not None:
            self._ack_timer.cancel()
            self._ack_timer = None

    def _give_up(self, n: int, op: str, timeout: float) -> None:
        future = self._asked.get(n)
        if future is not None and not future.done():
            future.set_exception(HubUnavailable(f"{op}: no answer within {timeout:g} s"))

    def _take_reply(self, reply: Reply) -> None:
        future = self._asked.get(reply.n)
        if future is None or future.done():
            return
        if reply.error is not None:
            future.set_exception(error_from(reply.error))
        else:
            future.set_result(reply.value)

    def _answer(self, request: Request) -> None:
        if self._on_request is None:
            self._reply(request, None, UsageError(f"no operation {request.op!r}"))
            return
        if len(self._answering) >= REQUESTS_MAX:
            self._reply(
                request, None, QuotaExceeded(f"{REQUESTS_MAX} requests are being answered: wait for some of them")
            )
            return
        try:
            value = self._on_request(request)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is the asker's answer
            self._reply(request, None, error)
            return
        if inspect.isawaitable(value):
            task = self._loop.create_task(self._answer_later(request, value))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        else:
            self._reply(request, value, None)

    async def _answer_later(self, request: Request, value: Awaitable[Any]) -> None:
        try:
            self._reply(request, await value, None)
        except Exception as error:  # noqa: BLE001 - the same
            self._reply(request, None, error)

    def _reply(self, request: Request, value: Any, error: Exception | None) -> None:
        if error is not None and not isinstance(error, FxError):
            log.error("%s failed", request.op, exc_info=error)
            error = InfrastructureError(f"{request.op} failed: {type(error).__name__}; its log tells more")
        if not self.is_open:
            return
        try:
            self.send(Reply(request.n, value, None if error is None else error_info(error)))
        except LocalProtocolError as unfit:
            self.send(Reply(request.n, None, error_info(unfit)))
