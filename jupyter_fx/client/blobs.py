"""Bytes on the second connection: uploads that go on where they stopped, downloads that are checked. On the loop's
thread."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from blake3 import blake3

from jupyter_fx.digest import digest as digest_of
from jupyter_fx.digest import digest_parts
from jupyter_fx.errors import FxError, PayloadError, RemoteProtocolError
from jupyter_fx.protocol.faults import error_from
from jupyter_fx.protocol.limits import BLOB_CHUNK, BLOB_MAX
from jupyter_fx.protocol.messages import BlobData, BlobGet, BlobPut, BlobRef, BlobStored, Hello
from jupyter_fx.transport import Peer

__all__ = ["RANGE", "Blobs", "chunks", "put_of"]

RANGE: Final = 16 << 20
"""Bytes of a download to a file that are asked for at a time."""


def chunks(pieces: Sequence[Any], offset: int) -> Iterator[bytes]:
    """The pieces as chunks of at most BLOB_CHUNK bytes, from `offset` on, without joining them as a whole."""
    buffer = bytearray()
    for piece in pieces:
        view = memoryview(piece).cast("B")
        if offset >= len(view):
            offset -= len(view)
            continue
        view, offset = view[offset:], 0
        while len(view):
            room = BLOB_CHUNK - len(buffer)
            buffer += view[:room]
            view = view[room:]
            if len(buffer) == BLOB_CHUNK:
                yield bytes(buffer)
                buffer.clear()
    if buffer:
        yield bytes(buffer)


def _keep(file: Any, hasher: Any, data: bytearray) -> None:
    file.write(data)
    hasher.update(data)


class _Upload:
    def __init__(self, pieces: Sequence[Any], size: int, done: asyncio.Future[None]) -> None:
        self.pieces, self.size, self.done = pieces, size, done
        self.sender: asyncio.Task[None] | None = None

    def stop(self) -> None:
        if self.sender is not None:
            self.sender.cancel()
            self.sender = None


class _Download:
    """A range of a blob on its way; `at` is how much of it is here."""

    def __init__(self, first: int, size: int, done: asyncio.Future[None]) -> None:
        self.first = first
        self.data = bytearray(size)
        self.at = 0
        self.done = done

    @property
    def rest(self) -> tuple[int, int]:
        """What is to come: offset in the blob, and length."""
        return self.first + self.at, len(self.data) - self.at


def put_of(pieces: Sequence[Any]) -> tuple[str, Sequence[Any], int]:
    """What `put` takes to bring these bytes to the hub. PayloadError above BLOB_MAX."""
    size = sum(memoryview(piece).nbytes for piece in pieces)
    if size > BLOB_MAX:
        raise PayloadError(
            f"{size:,} bytes are over the limit of {BLOB_MAX:,} for one value: keep the data at the endpoint"
        )
    return digest_parts(pieces), pieces, size


class Blobs:
    """The client's connection of role `blobs`, made when it is first needed."""

    def __init__(self, address: str, hello: Hello) -> None:
        self._address, self._hello = address, hello
        self._peer: Peer | None = None
        self._up: dict[str, _Upload] = {}
        self._down: dict[str, _Download] = {}

    def _open(self) -> Peer:
        if self._peer is None:
            self._peer = Peer(
                self._address,
                self._hello,
                on_message=self._take,
                on_open=lambda _welcome: self._again(),
                on_lost=lambda _error: self._pause(),
                on_refused=self._refused,
            ).start()
        return self._peer

    async def put(self, digest: str, pieces: Sequence[Any], size: int) -> BlobRef:
        """Upload; returns when the bytes are on the hub's disk. Goes on by itself after a reconnect."""
        running = self._up.get(digest)
        if running is None:
            running = self._up[digest] = _Upload(pieces, size, asyncio.get_running_loop().create_future())
            peer = self._open()
            if peer.is_open:
                peer.send(BlobPut(digest, size))
        await asyncio.shield(running.done)
        return BlobRef(digest, size)

    async def get(self, blob: BlobRef) -> bytearray:
        """Download and check; RemoteProtocolError when the bytes are not what the digest says."""
        data = await self._range(blob.digest, 0, blob.size)
        found = await asyncio.get_running_loop().run_in_executor(None, digest_of, data)
        if found != blob.digest:
            raise RemoteProtocolError(f"blob {blob.digest[:16]} came with other content")
        return data

    async def get_file(self, blob: BlobRef, path: Path) -> None:
        """Download to a new file, never more than RANGE bytes of it in memory; checked as `get` does. Raises OSError.

        When it fails no file is left.
        """
        run = asyncio.get_running_loop().run_in_executor
        hasher = blake3()
        try:
            with await run(None, path.open, "xb") as file:
                for first in range(0, blob.size, RANGE):
                    data = await self._range(blob.digest, first, min(RANGE, blob.size - first))
                    await run(None, _keep, file, hasher, data)
                await run(None, file.flush)
            if hasher.hexdigest() != blob.digest:
                raise RemoteProtocolError(f"blob {blob.digest[:16]} came with other content")
        except BaseException:
            path.unlink(missing_ok=True)  # noqa: ASYNC240 - no slower than asking another thread to
            raise

    async def _range(self, digest: str, first: int, length: int) -> bytearray:
        while (running := self._down.get(digest)) is not None and (running.first, len(running.data)) != (first, length):
            # Another range of the same blob: its chunks and ours could not be told apart.
            await asyncio.wait([running.done])
            await asyncio.sleep(0)
        if running is None:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            running = self._down[digest] = _Download(first, length, done)
            peer = self._open()
            if peer.is_open:
                peer.send(BlobGet(digest, first, length))
        await asyncio.shield(running.done)
        return running.data

    def close(self) -> None:
        """End the connection."""
        self._pause()
        if self._peer is not None:
            self._peer.close()

    # Inside.

    def _again(self) -> None:
        assert self._peer is not None
        for digest, upload in self._up.items():
            self._peer.send(BlobPut(digest, upload.size))
        for digest, download in self._down.items():
            self._peer.send(BlobGet(digest, *download.rest))

    def _pause(self) -> None:
        for upload in self._up.values():
            upload.stop()

    def _refused(self, error: FxError) -> None:
        for waiting in (self._up, self._down):
            for transfer in waiting.values():
                transfer.done.set_exception(error)
            waiting.clear()
        self._peer = None

    def _take(self, message: Any, _number: int) -> None:
        if isinstance(message, BlobStored):
            self._stored(message)
        elif isinstance(message, BlobData):
            self._data(message)

    def _stored(self, message: BlobStored) -> None:
        upload = self._up.get(message.digest)
        if upload is None:
            return
        if message.error is not None:
            self._end_upload(message.digest, error_from(message.error))
        elif message.offset >= upload.size:
            self._end_upload(message.digest, None)
        elif upload.sender is None:
            upload.sender = asyncio.get_running_loop().create_task(self._send(message.digest, upload, message.offset))

    def _end_upload(self, digest: str, error: FxError | None) -> None:
        upload = self._up.pop(digest)
        upload.stop()
        if not upload.done.done():
            if error is None:
                upload.done.set_result(None)
            else:
                upload.done.set_exception(error)

    async def _send(self, digest: str, upload: _Upload, offset: int) -> None:
        peer = self._peer
        assert peer is not None
        for data in chunks(upload.pieces, offset):
            await peer.wait_uncongested()
            peer.send(BlobData(digest, offset, upload.size, data))
            offset += len(data)
            await asyncio.sleep(0)

    def _data(self, message: BlobData) -> None:
        download = self._down.get(message.digest)
        if download is None:
            return
        error: FxError | None = error_from(message.error) if message.error is not None else None
        if error is None:
            at = message.offset - download.first
            end = at + len(message.data)
            if at != download.at or end > len(download.data):
                return  # of a request before a reconnect
            download.data[at:end] = message.data
            download.at = end
            if end < len(download.data):
                return
        del self._down[message.digest]
        if not download.done.done():
            if error is None:
                download.done.set_result(None)
            else:
                download.done.set_exception(error)
