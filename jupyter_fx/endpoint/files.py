"""The agent's files: inputs that it fetches from the hub, results that it brings there or keeps as refs."""

from __future__ import annotations

import asyncio
import errno
import logging
import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyter_fx.client.blobs import Blobs
from jupyter_fx.digest import digest
from jupyter_fx.endpoint.events import Fetch, Fetched, FindRef, KeepFunction, KeepRef, RefKept, Remove, Upload, Uploaded
from jupyter_fx.endpoint.state import AgentState
from jupyter_fx.endpoint.store import Store
from jupyter_fx.errors import FxError, UsageError
from jupyter_fx.protocol.faults import error_info
from jupyter_fx.protocol.messages import BlobRef, ErrorInfo

__all__ = ["Files"]

log = logging.getLogger(__name__)


class Files:
    """Carries out what the state says about files; `event` is told what came of it. `cache`: bytes of what was fetched
    that are kept; `spawn` runs a coroutine for as long as the agent lives.
    """

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        state: AgentState,
        *,
        endpoint_id: str,
        cache: int,
        event: Callable[[Any], None],
        spawn: Callable[[Any], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._store, self._blobs, self._state = store, blobs, state
        self._endpoint_id, self._cache = endpoint_id, cache
        self._event, self._spawn, self._loop = event, spawn, loop

    def close(self) -> None:
        """Fetch and bring nothing more."""
        self._blobs.close()

    def keep_function(self, instruction: KeepFunction) -> None:
        """A function is here: its tasks may come again."""
        try:
            self._store.put_function(instruction.digest, instruction.payload)
        except OSError as error:
            log.warning("a function cannot be stored: %s", error)

    def keep_ref(self, instruction: KeepRef) -> None:
        """A result stays here."""
        info = None
        try:
            self._store.keep_ref(instruction.ref_id, instruction.path)
        except OSError as error:
            log.error("result ref %s cannot be stored: %s", instruction.ref_id, error)
            full = error.errno in {errno.ENOSPC, errno.EDQUOT}
            info = ErrorInfo("StorageFull" if full else "InfrastructureError", error.strerror or str(error))
        self._loop.call_soon(self._event, RefKept(instruction.ref_id, info))

    @staticmethod
    def remove(instruction: Remove) -> None:
        """A file that nobody needs any more."""
        Path(instruction.path).unlink(missing_ok=True)

    def fetch(self, instruction: Fetch) -> None:
        """See Fetch."""
        try:
            here = self._store.has_input(instruction.key)
        except UsageError as error:
            self._loop.call_soon(self._event, Fetched(instruction.key, error=error_info(error)))
            return
        if here:
            path = str(self._store.input_path(instruction.key))
            self._loop.call_soon(self._event, Fetched(instruction.key, path))
        else:
            self._spawn(self._fetching(instruction.blob, instruction.key))

    def find_ref(self, instruction: FindRef) -> None:
        """See FindRef."""
        ref = instruction.ref
        path = self._store.ref_path(ref.ref_id)
        if path is not None:
            answer = Fetched(f"ref:{ref.ref_id}", str(path))
        elif ref.endpoint_id != self._endpoint_id:
            told = "an argument is a Ref to a value at another endpoint: call there, or bring it home with .get()"
            answer = Fetched(f"ref:{ref.ref_id}", error=ErrorInfo("UsageError", told, {"ref_id": ref.ref_id}))
        else:
            told = "an argument is a Ref whose value is gone from its endpoint: make it again"
            answer = Fetched(f"ref:{ref.ref_id}", error=ErrorInfo("RefLost", told, {"ref_id": ref.ref_id}))
        self._loop.call_soon(self._event, answer)

    async def _fetching(self, blob: BlobRef, key: str) -> None:
        self.make_room(blob.size)
        try:
            path = await self._get(blob, key)
            self._event(Fetched(key, str(path)))
        except FxError as error:
            self._event(Fetched(key, error=error_info(error)))
        except OSError as error:
            full = ErrorInfo("StorageFull", f"the endpoint cannot store {blob.size} bytes of input: {error.strerror}")
            self._event(Fetched(key, error=full))

    async def _get(self, blob: BlobRef, key: str) -> Path:
        """Download. A task may be leased while its commit is under way: what is not granted yet is asked for again."""
        fresh = self._store.fresh_input(key)
        for pause in (0.02, 0.1, 0.5, 2.0):
            try:
                await self._blobs.get_file(blob, fresh)
                break
            except UsageError:
                await asyncio.sleep(pause)
        else:
            await self._blobs.get_file(blob, fresh)
        return self._store.take_input(fresh, key)

    def make_room(self, size: int = 0) -> None:
        """Keep what was fetched within its limit, with `size` bytes more to come."""
        held = self._state.files_in_use()
        self._state.files_gone(self._store.trim(self._cache - size, held))

    def upload(self, instruction: Upload) -> None:
        """See Upload."""
        self._spawn(self._uploading(instruction))

    async def _uploading(self, instruction: Upload) -> None:
        try:
            blob = await self._put(Path(instruction.path))
            self._event(Uploaded(instruction.key, blob))
        except (FxError, OSError) as error:
            log.warning("a result cannot be uploaded: %s", error)
            info = error_info(error) if isinstance(error, FxError) else ErrorInfo("InfrastructureError", str(error))
            self._event(Uploaded(instruction.key, error=info))

    async def _put(self, path: Path) -> BlobRef:
        """Upload a file."""
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            view = memoryview(data)
            try:
                name = await asyncio.to_thread(digest, view)
                return await self._blobs.put(name, [view], len(view))
            finally:
                view.release()

    async def put_ref(self, path: Path) -> dict[str, Any]:
        """Upload a result that stayed here: what the hub is answered."""
        blob = await self._put(path)
        return {"digest": blob.digest, "size": blob.size}
