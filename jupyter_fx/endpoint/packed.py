"""An environment that is kept as one file, as a directory of its own on this node: mounted, else unpacked."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from jupyter_fx.endpoint.fusemounts import Mounted
from jupyter_fx.endpoint.unsquash import UnpackError, unpack
from jupyter_fx.errors import InfrastructureError
from jupyter_fx.paths import private_dir

__all__ = ["Packed"]

log = logging.getLogger(__name__)

_WITHIN: Final = 30.0
"""Seconds that mounting may take."""
_LOOK_EVERY: Final = 0.01


class Packed:
    """See the module. `on_lost(why)` is called when it cannot be read any more."""

    def __init__(
        self,
        file: Path,
        place: Path,
        env: Mapping[str, str],
        loop: asyncio.AbstractEventLoop,
        on_lost: Callable[[str], None],
    ) -> None:
        """`place`: where it is to be; the directory above it is made, and is its own."""
        self.place = place
        self._file = file
        self._env = env
        self._loop = loop
        self._on_lost = on_lost
        self._mounted: Mounted | None = None
        self._watched = -1
        self._unpacking = False
        self._closed = False

    async def open(self) -> None:
        """See to it that it is there. InfrastructureError says why it cannot be."""
        why = await self._mount()
        if not why or self._closed:
            return
        log.warning("%s is unpacked to %s, for it cannot be mounted here: %s", self._file, self.place, why)
        self._unpacking = True
        try:
            await asyncio.to_thread(unpack, self._file, self.place, lambda: self._closed)
        except (OSError, UnpackError) as error:
            said = (error.strerror if isinstance(error, OSError) else "") or str(error)
            raise InfrastructureError(
                f"{self._file} can neither be mounted ({why}) nor unpacked to {self.place} ({said}): install "
                "squashfuse and fuse3 on the node, let c.Containers.scratch name a larger disk, or set "
                "c.Endpoint.environment_squashfs = 'never' and remove the file's directory"
            ) from error
        finally:
            self._unpacking = False
            if self._closed:
                self._remove()

    async def _mount(self) -> str:
        """Try to; why not."""
        try:
            private_dir(self.place.parent)
            self.place.mkdir(mode=0o700)
            self._mounted = mounted = Mounted(self._file, self.place, self._env)
            until = self._loop.time() + _WITHIN
            while not self._closed and not mounted.is_up():
                if self._loop.time() > until:
                    raise TimeoutError(f"it took more than {_WITHIN:g} s")
                await asyncio.sleep(_LOOK_EVERY)
            if not self._closed:
                await asyncio.wait_for(asyncio.to_thread(mounted.answer), _WITHIN)
        except OSError as error:
            self._unmount()
            with contextlib.suppress(OSError):
                self.place.rmdir()
            return error.strerror or str(error) or f"it did not answer within {_WITHIN:g} s"
        if not self._closed:
            self._watch(mounted.process.pid)
        return ""

    def _watch(self, pid: int) -> None:
        """Hear of it when the process that mounts it ends by itself. Without such descriptors its readers find out."""
        with contextlib.suppress(OSError, AttributeError):
            self._watched = os.pidfd_open(pid)
            self._loop.add_reader(self._watched, self._lost)

    def _lost(self) -> None:
        self._unwatch()
        self._on_lost(f"the process that mounts {self._file} has ended")

    def _unwatch(self) -> None:
        if self._watched >= 0:
            self._loop.remove_reader(self._watched)
            os.close(self._watched)
            self._watched = -1

    def _unmount(self) -> None:
        if self._mounted is not None:
            self._mounted.close()
            self._mounted = None

    def close(self) -> None:
        """Take it away, whoever uses it."""
        if not self._closed:
            self._closed = True
            self._unwatch()
            self._unmount()
            if not self._unpacking:
                self._remove()

    def _remove(self) -> None:
        if not os.path.ismount(self.place):
            shutil.rmtree(self.place.parent, ignore_errors=True)
