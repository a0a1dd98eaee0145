"""Connections of Unix sockets over one pair of streams: the shell around `protocol.mux`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from jupyter_fx.errors import RemoteProtocolError
from jupyter_fx.protocol.mux import CHANNELS_MAX, CHUNK, Frame, Kind, Reader, Windows, control, frame, more

__all__ = ["Streams", "Tunnel"]

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Channel:
    """One connection: what comes in for it waits in `inbox` (at most a window) until its socket takes it."""

    def __init__(self, number: int, streams: Streams | None) -> None:
        self.number = number
        self.streams = streams
        self.windows = Windows()
        self.wider = asyncio.Event()
        self.inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.work: set[asyncio.Task[None]] = set()


class Tunnel:
    """Runs until the streams end. `connect` makes the connection for a channel that the other side opens."""

    def __init__(
        self,
        streams: Streams,
        *,
        greeting: bool = False,
        connect: Callable[[], Awaitable[Streams]] | None = None,
        on_control: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self._from, self._to = streams
        self.reader = Reader(greeting=greeting)
        self._connect = connect
        self._on_control = on_control
        self._channels: dict[int, _Channel] = {}
        self._last = 0
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Carry frames until the other side is gone. RemoteProtocolError when it talks nonsense."""
        try:
            while data := await self._from.read(1 << 18):
                for one in self.reader.feed(data):
                    self._take(one)
        finally:
            for channel in list(self._channels.values()):
                self._drop(channel)

    def tell(self, **told: Any) -> None:
        """Send a control frame."""
        self._to.write(control(**told))

    def join(self, streams: Streams) -> bool:
        """Open a channel for a connection; False when there are too many."""
        if len(self._channels) >= CHANNELS_MAX:
            return False
        self._last += 1
        channel = self._channels[self._last] = _Channel(self._last, streams)
        self._to.write(frame(Kind.OPEN, channel.number))
        self._start(channel)
        return True

    # --- frames ---

    def _take(self, one: Frame) -> None:
        if one.kind == Kind.CONTROL:
            if self._on_control is not None:
                self._on_control(one.told)
            return
        if one.kind == Kind.OPEN:
            self._opened(one.channel)
            return
        channel = self._channels.get(one.channel)
        if channel is None:
            return  # it was closed here while this was on its way
        if one.kind == Kind.DATA:
            channel.windows.came(len(one.data))
            channel.inbox.put_nowait(one.data)
        elif one.kind == Kind.MORE:
            channel.windows.widened(one.amount)
            channel.wider.set()
        else:
            channel.inbox.put_nowait(None)

    def _opened(self, number: int) -> None:
        if self._connect is None or number in self._channels or len(self._channels) >= CHANNELS_MAX:
            raise RemoteProtocolError(f"the other side of the ssh bridge opened channel {number}, which it may not")
        channel = self._channels[number] = _Channel(number, None)
        self._spawn(channel, self._reach(channel))

    async def _reach(self, channel: _Channel) -> None:
        assert self._connect is not None
        try:
            channel.streams = await self._connect()
        except Exception:  # noqa: BLE001 nobody is there: the agent tries again
            self._close(channel)
            return
        self._start(channel)

    def _start(self, channel: _Channel) -> None:
        self._spawn(channel, self._out(channel))
        self._spawn(channel, self._in(channel))

    def _spawn(self, channel: _Channel, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        channel.work.add(task)
        task.add_done_callback(channel.work.discard)

    # --- bytes ---

    async def _out(self, channel: _Channel) -> None:
        """From the socket to the other side."""
        assert channel.streams is not None
        reader = channel.streams[0]
        with contextlib.suppress(OSError):
            while True:
                while channel.windows.free <= 0:
                    channel.wider.clear()
                    await channel.wider.wait()
                data = await reader.read(min(CHUNK, channel.windows.free))
                if not data:
                    break
                channel.windows.sent(len(data))
                async with self._turn:
                    self._to.write(frame(Kind.DATA, channel.number, data))
                    await self._to.drain()
        self._close(channel)

    async def _in(self, channel: _Channel) -> None:
        """From the other side to the socket."""
        assert channel.streams is not None
        writer = channel.streams[1]
        with contextlib.suppress(OSError):
            while (data := await channel.inbox.get()) is not None:
                writer.write(data)
                await writer.drain()
                if told := channel.windows.handed_on(len(data)):
                    self._to.write(more(channel.number, told))
        self._close(channel)

    def _close(self, channel: _Channel) -> None:
        if self._channels.get(channel.number) is channel:
            with contextlib.suppress(OSError, RuntimeError):
                self._to.write(frame(Kind.CLOSE, channel.number))
            self._drop(channel)

    def _drop(self, channel: _Channel) -> None:
        self._channels.pop(channel.number, None)
        if channel.streams is not None:
            with contextlib.suppress(OSError, RuntimeError):
                channel.streams[1].close()
        current = asyncio.current_task()
        for task in list(channel.work):
            if task is not current:
                task.cancel()
