"""The second connection: bytes in chunks, so that nothing else has to wait behind them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from jupyter_fx.errors import FxError, InfrastructureError, UsageError
from jupyter_fx.protocol.faults import error_info
from jupyter_fx.protocol.limits import BLOB_CHUNK
from jupyter_fx.protocol.messages import BlobData, BlobGet, BlobPut, BlobStored, Request
from jupyter_fx.transport import Served
from jupyter_fx_hub.store.blobs import BlobStore

__all__ = ["BlobLink"]

log = logging.getLogger(__name__)

WAITING_MAX = 8
"""Messages (chunks of 512 KiB) that wait for the disk; beyond, the other side waits."""


class BlobLink:
    """One connection. Messages are dealt with one after another, in order."""

    def __init__(
        self, blobs: BlobStore, served: Served, owner: str, endpoint_id: str, closed: Callable[[Any], None]
    ) -> None:
        self.blobs, self.served, self.owner, self.endpoint_id = blobs, served, owner, endpoint_id
        self._closed = closed
        self._waiting: deque[Any] = deque()
        self._worker: asyncio.Task[None] | None = None

    def on_message(self, message: Any, number: int) -> None:
        """A message came in."""
        self._waiting.append(message)
        if len(self._waiting) >= WAITING_MAX:
            self.served.pause_reading()
        if self._worker is None:
            self._worker = asyncio.get_running_loop().create_task(self._work())
        if number:
            self.served.acknowledge(number)

    def on_request(self, request: Request) -> Any:
        """Nothing is answered here."""
        raise UsageError("ask on the other connection")

    def on_closed(self, error: FxError | None) -> None:
        """The connection is gone."""
        self._waiting.clear()
        if self._worker is not None:
            self._worker.cancel()
        self._closed(self)

    async def _work(self) -> None:
        while self._waiting:
            message = self._waiting.popleft()
            if len(self._waiting) == WAITING_MAX // 2:
                self.served.resume_reading()
            try:
                await self._handle(message)
            except FxError as error:
                self._fail(message, error)
            except Exception as error:
                # Whatever went wrong here, the other side must not wait for ever.
                log.exception("a blob of %s cannot be handled", self.owner)
                told = f"the fx hub could not handle these bytes ({type(error).__name__}); its log says more"
                self._fail(message, InfrastructureError(told))
        self.served.resume_reading()
        self._worker = None

    async def _handle(self, message: Any) -> None:
        if isinstance(message, BlobPut):
            at = await self.blobs.begin(self.owner, message.digest, message.size)
            self.served.send(BlobStored(message.digest, at, message.size))
        elif isinstance(message, BlobData):
            at = await self.blobs.put(self.owner, message.digest, message.offset, message.size, message.data)
            self.served.send(BlobStored(message.digest, at, message.size))
        elif isinstance(message, BlobGet):
            await self._get(message)

    def _fail(self, message: Any, error: FxError) -> None:
        """Say why a message was not done."""
        if not self.served.is_open:
            return
        if isinstance(message, BlobGet):
            self.served.send(BlobData(message.digest, message.offset, 0, b"", error_info(error)))
        else:
            at = message.offset if isinstance(message, BlobData) else 0
            self.served.send(BlobStored(message.digest, at, message.size, error_info(error)))

    async def _get(self, message: BlobGet) -> None:
        at, left = message.offset, message.length
        # Whether it may be read is asked once for each request: agents ask for 16 MiB at a time.
        size = await self.blobs.size(self.owner, message.digest, endpoint_id=self.endpoint_id)
        while True:
            data = await self.blobs.chunk(message.digest, size, at, min(left, BLOB_CHUNK) if left else 0)
            await self.served.wait_uncongested()
            self.served.send(BlobData(message.digest, at, size, data))
            at += len(data)
            left -= len(data) if message.length else 0
            if at >= size or not data or (message.length and left <= 0):
                return
