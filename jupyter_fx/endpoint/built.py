"""An interpreter in an environment that was built from a specification, with the zygote in it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from pathlib import Path
from typing import IO, Any, Final

from jupyter_fx.endpoint import specs
from jupyter_fx.endpoint.containers import Container
from jupyter_fx.endpoint.packed import Packed
from jupyter_fx.endpoint.zygote_proc import Launch, boot_program
from jupyter_fx.errors import FxError
from jupyter_fx_worker import specenvs, specpack

__all__ = ["Built"]

_SAY_EVERY: Final = 600.0
"""Seconds after which it is said again that it is used: not every file system shows locks."""


class Built(Container):
    """See the module. While it is there, nobody removes the environment."""

    def __init__(self, *args: Any, folder: Path) -> None:
        """`folder`: a directory of its own on the node, which is not there yet."""
        super().__init__(*args)
        self._folder = folder
        self._name = self.environment.removeprefix(specs.PREFIX)
        self._root = specs.folder(self._spec)
        self._used: IO[str] | None = None
        self._saying: asyncio.TimerHandle | None = None
        self._packed: Packed | None = None
        self._opening: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the zygote; the owner is told if there is no such environment (any more)."""
        root = str(self._root)
        if specenvs.is_there(root, self._name):
            self._hold()
        # Held before it is looked for, so that it stays if it is found.
        if not specenvs.is_there(root, self._name):
            why = (
                f"environment {self.environment[:16]} is not at this endpoint (any more): `%fx use … --env FILE`, or a "
                "call of its function some minutes later, builds it"
            )
            self._loop.call_soon(self._failed, why)
        elif specenvs.python_of(root, self._name):
            self._go(self._root / self._name)
        else:
            file = Path(specpack.packed_of(root, self._name))
            self._packed = Packed(file, self._folder / self._name, self._spec.env, self._loop, self._failed)
            self._opening = self._loop.create_task(self._open(self._packed))

    def _hold(self) -> None:
        path = self._root / f"{self._name}.used"
        with contextlib.suppress(OSError):
            if self._used is None:
                self._used = path.open("a")
                fcntl.flock(self._used, fcntl.LOCK_SH | fcntl.LOCK_NB)
        with contextlib.suppress(OSError):
            os.utime(path)
        self._saying = self._loop.call_later(_SAY_EVERY, self._hold)

    async def _open(self, packed: Packed) -> None:
        try:
            await packed.open()
        except FxError as error:
            self._failed(str(error))
            return
        if not self._closed:
            self._go(packed.place)

    def _go(self, prefix: Path) -> None:
        python = str(prefix / "bin" / "python")
        spec = self._spec
        scratch = Path(spec.folder) / "scratch"
        env = {key: value for key, value in spec.env.items() if key not in {"PYTHONPATH", "PYTHONHOME"}}
        env |= {"VIRTUAL_ENV": str(prefix), "PATH": f"{prefix / 'bin'}{os.pathsep}{env.get('PATH', os.defpath)}"}
        hello = {"scratch": str(scratch), "env": {}, "die_with_parent": spec.die_with_parent}
        try:
            scratch.mkdir(mode=0o700, exist_ok=True)
            launch = Launch(lambda fd: [python, "-c", boot_program(python, fd, scratch)], env)
            self._run(launch, hello, f"environment-{self._name[:12]}.log")
        except OSError as error:
            self._loop.call_soon(self._failed, f"{python} cannot be started: {error.strerror}")

    def close(self) -> None:
        """See Container."""
        super().close()
        if self._saying is not None:
            self._saying.cancel()
        if self._packed is not None:
            self._packed.close()
        if self._used is not None:
            self._used.close()
            self._used = None
