"""Blobs: content-addressed files, put in chunks and read through grants.

A file is named by the BLAKE3 digest of its bytes and lies in `blobs/ab/`. Who puts a blob sends all of its bytes,
also when the hub has them from somebody else: what is answered, and how long it takes, tells nothing about what
others have. Only an owner who has a grant already is told "it is all here". A part file belongs to one owner and goes
on where it stopped, also after a restart.

At the last byte the whole file is digested, synced and renamed into place, its directory synced, and only then is the
grant written; `put` answers when that is committed. An owner is a user's name, or `endpoint:ID` for an agent's
uploads; a task's owner is granted the result when the task ends (see `Applier`).

All file work is done in one thread of its own, so that neither the event loop nor a commit waits for a disk.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from blake3 import blake3

from jupyter_fx.errors import PayloadError, RemoteProtocolError, StorageFull, UsageError
from jupyter_fx.protocol.limits import BLOB_CHUNK, BLOB_MAX
from jupyter_fx_hub.store.ops import DropBlobs, GrantBlob, Op
from jupyter_fx_hub.store.sqlite import is_full
from jupyter_fx_hub.store.streams import sync_dir

__all__ = ["GRACE", "BlobStore", "StoreLike"]

GRACE: Final = 86400.0
"""Seconds that a blob is kept though nothing reaches it: between its upload and the task that names it."""
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_READ: Final = 1 << 20
T = TypeVar("T")


class StoreLike(Protocol):
    """What is needed of `Store`."""

    def write(self, op: Op) -> int:
        """Queue an op."""

    def read(self, name: str, /, *args: Any) -> asyncio.Future[Any]:
        """Ask."""

    @property
    def storage_full(self) -> bool:
        """Whether there is room."""


class BlobStore:
    """The blobs of one hub. Coroutines, called on the event loop of the store."""

    def __init__(
        self, root: Path, store: StoreLike, *, limit: int = BLOB_MAX, clock: Callable[[], float] = time.time
    ) -> None:
        self._root = root
        self._parts = root / "parts"
        self._store = store
        self._limit = limit
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fx-hub-blobs")
        self._parts.mkdir(mode=0o700, parents=True, exist_ok=True)
        root.chmod(0o700)

    async def begin(self, owner: str, digest: str, size: int) -> int:
        """How many bytes of this blob are here for this owner: the offset to send from. `size`: nothing to send.

        Raises PayloadError when it is over the limit, StorageFull when there is no room.
        """
        self._check(digest)
        if not 0 <= size <= self._limit:
            raise PayloadError(
                f"a value of {size} bytes is over the limit of {self._limit}: leave it where it is and use a reference"
            )
        if await self._store.read("blob_size", owner, digest) == size and await self._run(self._path(digest).is_file):
            self._store.write(GrantBlob(owner, digest, size, self._clock()))
            return size
        if self._store.storage_full:
            raise StorageFull
        at = await self._run(self._part_size, self._part(owner, digest), size)
        if at == size:
            await self._finish(owner, digest, size)
        return at

    async def put(self, owner: str, digest: str, offset: int, size: int, data: bytes) -> int:
        """Take a chunk at `offset`; how many bytes are here now. `size`: it is whole, checked, durable, granted.

        Raises RemoteProtocolError for a chunk that does not fit, PayloadError when the bytes are not those of `digest`
        (they are thrown away).
        """
        self._check(digest)
        if not 0 <= size <= self._limit or len(data) > BLOB_CHUNK or offset < 0 or offset + len(data) > size:
            raise RemoteProtocolError(f"a chunk of {len(data)} bytes at {offset} does not fit a blob of {size} bytes")
        if self._store.storage_full:
            raise StorageFull
        try:
            at = await self._run(self._append, self._part(owner, digest), offset, data)
        except OSError as error:
            if is_full(error):
                raise StorageFull from error
            raise
        if at == size:
            await self._finish(owner, digest, size)
        return at

    async def get(
        self, owner: str, digest: str, offset: int = 0, length: int = 0, *, endpoint_id: str = ""
    ) -> tuple[bytes, int]:
        """(bytes from `offset`, at most a chunk; the size of the blob) for who may read it; else UsageError.

        With `endpoint_id` an agent asks: it may read what its unfinished tasks need.
        """
        size = await self.size(owner, digest, endpoint_id=endpoint_id)
        return await self.chunk(digest, size, offset, length), size

    async def size(self, owner: str, digest: str, *, endpoint_id: str = "") -> int:
        """The size of a blob for who may read it now; else UsageError. What `chunk` gives is not asked for again."""
        size: int | None = None
        if _DIGEST.fullmatch(digest):
            question = ("blob_for_endpoint", endpoint_id) if endpoint_id else ("blob_size", owner)
            size = await self._store.read(*question, digest)
        if size is None:
            raise UsageError(f"there is no blob {digest[:12]}… for you here")
        return size

    async def chunk(self, digest: str, size: int, offset: int, length: int = 0) -> bytes:
        """Bytes of a blob of `size`, which somebody may read, from `offset`: at most a chunk. UsageError beyond it."""
        if not 0 <= offset <= size:
            raise UsageError(f"there is no blob {digest[:12]}… for you here")
        want = min(length or BLOB_CHUNK, BLOB_CHUNK, size - offset)
        try:
            return await self._run(self._read, self._path(digest), offset, want)
        except FileNotFoundError as error:
            raise UsageError(f"there is no blob {digest[:12]}… for you here") from error

    async def collect(self, grace: float = GRACE) -> int:
        """Delete blobs that no task or function reaches and that nobody used for `grace` seconds; how many.

        Old parts of uploads that nobody went on with go, too.
        """
        before = self._clock() - grace
        idle = await self._store.read("idle_blobs", before)
        if idle:
            self._store.write(DropBlobs(idle, before))
            kept = await self._store.read("known_blobs", idle)
            gone = [digest for digest in idle if digest not in kept]
            for digest in gone:
                await self._drop(digest)
        else:
            gone = []
        await self._run(self._drop_parts, before)
        return len(gone)

    async def sweep(self) -> int:
        """Delete files that no row names, left by a crash between the two; how many. At start, before uploads."""
        found = await self._run(lambda: [p.name for p in self._root.glob("??/*")])
        strays = 0
        for at in range(0, len(found), 500):
            known = await self._store.read("known_blobs", found[at : at + 500])
            for digest in found[at : at + 500]:
                if digest not in known:
                    await self._drop(digest)
                    strays += 1
        return strays

    def close(self) -> None:
        """End the thread, after what it is at."""
        self._thread.shutdown(wait=True)

    # --- the parts that touch files run in the thread ---

    def _run(self, work: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work, *args)

    async def _finish(self, owner: str, digest: str, size: int) -> None:
        """The grant is queued in the thread's turn before any deletion of the same file can have one."""
        await self._run(self._install, self._part(owner, digest), self._path(digest), digest)
        self._store.write(GrantBlob(owner, digest, size, self._clock()))
        await self._store.read("blob_size", owner, digest)

    async def _drop(self, digest: str) -> None:
        """Delete a file unless its digest was put again meanwhile."""
        aside = self._parts / f"{digest}.gone"
        if not await self._run(_move, self._path(digest), aside):
            return
        if digest in await self._store.read("known_blobs", [digest]):
            await self._run(_move, aside, self._path(digest))
        else:
            await self._run(aside.unlink)

    def _check(self, digest: str) -> None:
        if not _DIGEST.fullmatch(digest):
            raise RemoteProtocolError("a digest is 64 hexadecimal digits")

    def _path(self, digest: str) -> Path:
        return self._root / digest[:2] / digest

    def _part(self, owner: str, digest: str) -> Path:
        return self._parts / f"{hashlib.sha256(owner.encode()).hexdigest()[:32]}-{digest}"

    @staticmethod
    def _part_size(part: Path, size: int) -> int:
        try:
            found = part.stat().st_size
        except FileNotFoundError:
            part.touch(mode=0o600)
            return 0
        if found > size:
            part.unlink()
            part.touch(mode=0o600)
            return 0
        return found

    @staticmethod
    def _append(part: Path, offset: int, data: bytes) -> int:
        have = 0
        file = os.open(part, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
        try:
            have = os.fstat(file).st_size
            if offset > have:
                raise RemoteProtocolError(f"the blob goes on at {have}, the chunk begins at {offset}")
            os.lseek(file, offset, os.SEEK_SET)
            view = memoryview(data)
            while view:
                view = view[os.write(file, view) :]
            return max(have, offset + len(data))
        except OSError:
            os.ftruncate(file, have)
            raise
        finally:
            os.close(file)

    @staticmethod
    def _install(part: Path, path: Path, digest: str) -> None:
        hasher = blake3(max_threads=blake3.AUTO)
        with part.open("r+b") as file:
            while chunk := file.read(_READ):
                hasher.update(chunk)
            if hasher.hexdigest() != digest:
                part.unlink()
                raise PayloadError("the bytes that arrived are not those of the digest: send them again")
            os.fsync(file.fileno())
        if path.is_file():
            part.unlink()
            return
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            sync_dir(path.parent.parent)
        part.replace(path)
        sync_dir(path.parent)

    @staticmethod
    def _read(path: Path, offset: int, length: int) -> bytes:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def _drop_parts(self, before: float) -> None:
        for part in self._parts.iterdir():
            if part.stat().st_mtime < before:
                part.unlink(missing_ok=True)


def _move(source: Path, target: Path) -> bool:
    try:
        source.replace(target)
    except FileNotFoundError:
        return False
    return True
