"""Starts an image once, to see whether its Python works: what a container of a task would meet, without one."""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from jupyter_fx.endpoint import environments
from jupyter_fx.endpoint.runtimes.command import Mount, Start
from jupyter_fx.endpoint.runtimes.faults import explain
from jupyter_fx.endpoint.runtimes.settings import ContainerSpec
from jupyter_fx.errors import UsageError
from jupyter_fx_worker.bundle import TOO_OLD

__all__ = ["python_of"]

_PROBE: Final = (
    f"import sys; sys.version_info >= (3, 9) or sys.exit({TOO_OLD!r} + sys.version.split()[0]); import ctypes, "
    "select, socket; print('jupyter-fx:', sys.version.split()[0])"
)


def python_of(name: str, spec: ContainerSpec) -> tuple[str, str]:
    """(version of the Python in an image, the runtime that started it). UsageError says why there is none."""
    image = environments.find(name, spec, os.environ)
    with tempfile.TemporaryDirectory(prefix="jupyter-fx-trial-") as folder:
        for part in ("tmp", "mnt"):
            (Path(folder) / part).mkdir(mode=0o700)
        start = Start(
            image=image.place,
            program=(spec.python, "-s", "-c", _PROBE),
            mounts=(Mount(f"{folder}/tmp", "/tmp"),),  # noqa: S108 - inside
            name=f"jupyter-fx-trial-{os.getpid()}",
            mount_point=f"{folder}/mnt" if image.kind == "squashfs" else "",
            options=tuple(spec.options.get(image.runtime.name, ())),
        )
        try:
            done = subprocess.run(
                image.runtime.command(start),
                # Charliecloud wants to know who it is for: cron and containers do not always say.
                env={"USER": environments.user_name(), **os.environ},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=spec.start_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise UsageError(
                explain(name, spec.python, platform.machine(), None, "", waited=spec.start_seconds)
            ) from None
    told = [line for line in done.stdout.splitlines() if line.startswith("jupyter-fx: ")]
    if done.returncode or not told:
        said = f"{done.stdout}\n{done.stderr}"
        raise UsageError(explain(name, spec.python, platform.machine(), done.returncode, said))
    return told[-1].partition(": ")[2], image.runtime.name
