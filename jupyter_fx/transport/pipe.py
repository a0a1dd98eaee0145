"""Frames on two file descriptors: the standard streams of a process, here or at the end of an SSH connection."""

from __future__ import annotations

import asyncio
from typing import IO, Any, cast

from jupyter_fx.transport.channel import WRITE_HIGH, Channel
from jupyter_fx.transport.framing import StreamChannel

__all__ = ["connect_pipes", "connect_process"]


class _PipeChannel(StreamChannel):
    """A StreamChannel with two transports: either end ending ends both."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._reading: asyncio.ReadTransport | None = None
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called twice: the pipe to read from, then the one to write to."""
        if self._reading is None:
            self._reading = cast(asyncio.ReadTransport, transport)
            self._reading.pause_reading()
        else:
            self._transport = cast(asyncio.Transport, transport)
            self._transport.set_write_buffer_limits(high=WRITE_HIGH)

    def pause_reading(self) -> None:
        """Read no more for now."""
        if self._reading is not None and not self._reading.is_closing():
            self._reading.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if self._reading is not None and not self._reading.is_closing():
            self._reading.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The first of the two ends both."""
        if self._ended:
            return
        self._ended = True
        if self._reading is not None:
            self._reading.close()
        self.close()
        super().connection_lost(exc)


async def connect_pipes(reading: IO[Any], writing: IO[Any], address: str = "pipe") -> Channel:
    """A channel that reads frames from one file and writes them to another; both become its own."""
    loop = asyncio.get_running_loop()
    channel = _PipeChannel(address)
    await loop.connect_read_pipe(lambda: channel, reading)
    await loop.connect_write_pipe(lambda: cast(asyncio.BaseProtocol, channel), writing)
    return channel


async def connect_process(command: list[str], address: str = "") -> tuple[Channel, asyncio.subprocess.Process]:
    """Start `command` and a channel on its standard streams; its stderr is ours. The caller waits for the process."""
    import os

    down, up = os.pipe(), os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(*command, stdin=down[0], stdout=up[1])
    except BaseException:
        os.close(down[1])
        os.close(up[0])
        raise
    finally:
        os.close(down[0])
        os.close(up[1])
    channel = await connect_pipes(os.fdopen(up[0], "rb", 0), os.fdopen(down[1], "wb", 0), address or command[0])
    channel.info["pid"] = process.pid
    return channel, process
