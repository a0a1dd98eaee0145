"""What stands between two parties and lets a network be broken: the context managers `stalled` (bytes wait) and
`blackholed` (bytes are lost, then the connection), and the call `cut`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Proxy"]


@dataclass(eq=False)
class _Relay:
    """One connection through the proxy: two directions."""

    near: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    far: tuple[asyncio.StreamReader, asyncio.StreamWriter]

    def abort(self) -> None:
        for _, writer in (self.near, self.far):
            writer.transport.abort()


class Proxy:
    """Stands between two parties, on a Unix socket or (with a port as `target`) on a loopback port."""

    def __init__(self, target: Path | int, listen: Path | None = None) -> None:
        self.target, self.listen = target, listen
        self.port = 0
        self.connections = 0
        self._relays: set[_Relay] = set()
        self._flow = "pass"
        self._loop = asyncio.new_event_loop()
        self._open: asyncio.Event
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(10)

    def _run(self, ready: threading.Event) -> None:
        async def serve() -> None:
            self._open = asyncio.Event()
            self._open.set()
            if self.listen is not None:
                self._server: Any = await asyncio.start_unix_server(self._accept, self.listen)
            else:
                self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
                self.port = self._server.sockets[0].getsockname()[1]
            ready.set()

        self._loop.run_until_complete(serve())
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.01))
        self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if isinstance(self.target, int):
                far = await asyncio.open_connection("127.0.0.1", self.target)
            else:
                far = await asyncio.open_unix_connection(self.target)
        except OSError:
            writer.transport.abort()
            return
        self.connections += 1
        relay = _Relay((reader, writer), far)
        self._relays.add(relay)
        try:
            await asyncio.gather(self._pass(reader, far[1]), self._pass(far[0], writer))
        finally:
            relay.abort()
            self._relays.discard(relay)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._open.wait()
                if self._flow == "pass":
                    writer.write(data)
                    await writer.drain()
            writer.close()

    def _do(self, what: Callable[[], None]) -> None:
        done = threading.Event()

        def run() -> None:
            what()
            done.set()

        self._loop.call_soon_threadsafe(run)
        assert done.wait(10)

    def cut(self) -> None:
        """Reset every connection; what was under way is lost."""

        def abort() -> None:
            for relay in list(self._relays):
                relay.abort()

        self._do(abort)

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Nothing passes and nothing is lost, as on a network that is cut and mended in time."""
        self._do(lambda: self._open.clear())
        try:
            yield
        finally:
            self._do(lambda: self._open.set())

    @contextmanager
    def blackholed(self) -> Iterator[None]:
        """Half-open: everything is taken and nothing arrives; in the end the connections break."""
        self._flow = "lose"
        try:
            yield
        finally:
            self._flow = "pass"
            self.cut()

    def close(self) -> None:
        self._do(self._server.close)
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
