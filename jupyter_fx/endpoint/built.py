"""An interpreter in an environment that was built from a specification, with the zygote in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import IO

from jupyter_fx.endpoint import specs
from jupyter_fx.endpoint.containers import Container
from jupyter_fx.endpoint.zygote_proc import Launch, boot_program
from jupyter_fx_worker import specenvs

__all__ = ["Built"]


class Built(Container):
    """See the module. While it is there, nobody removes the environment."""

    _used: IO[str] | None = None

    def start(self) -> None:
        """Start the zygote; the owner is told if there is no such environment (any more)."""
        spec, name, root = self._spec, self.environment.removeprefix(specs.PREFIX), specs.folder(self._spec)
        scratch = Path(spec.folder) / "scratch"
        scratch.mkdir(mode=0o700, exist_ok=True)
        if specenvs.python_of(str(root), name):
            with contextlib.suppress(OSError):
                self._used = (root / f"{name}.used").open("a")
                fcntl.flock(self._used, fcntl.LOCK_SH | fcntl.LOCK_NB)
                os.utime(root / f"{name}.used")
        # Held before it is looked for, so that it stays if it is found.
        python = specenvs.python_of(str(root), name)
        if not python:
            why = (
                f"environment {self.environment[:16]} is not at this endpoint (any more): `%fx use … --env FILE`, or a "
                "call of its function some minutes later, builds it"
            )
            self._loop.call_soon(self._failed, why)
            return
        programs = str(Path(python).parent)
        env = {key: value for key, value in spec.env.items() if key not in {"PYTHONPATH", "PYTHONHOME"}}
        env |= {"VIRTUAL_ENV": str(root / name), "PATH": f"{programs}{os.pathsep}{env.get('PATH', os.defpath)}"}
        launch = Launch(lambda fd: [python, "-c", boot_program(python, fd, scratch)], env)
        hello = {"scratch": str(scratch), "env": {}, "die_with_parent": spec.die_with_parent}
        try:
            self._run(launch, hello, f"environment-{name[:12]}.log")
        except OSError as error:
            self._loop.call_soon(self._failed, f"{python} cannot be started: {error.strerror}")

    def close(self) -> None:
        """See Container."""
        super().close()
        if self._used is not None:
            self._used.close()
            self._used = None
