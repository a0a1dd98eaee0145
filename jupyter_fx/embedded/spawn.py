"""Starting a process that outlives us, or (under JupyterHub) one that ends with the server."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from jupyter_fx.auth.scrub import scrubbed

__all__ = ["clean_environment", "spawn"]

_HUBS = frozenset(("JUPYTER_FX_HUB", "JUPYTER_FX_TOKEN", "JUPYTER_FX_TOKEN_FILE"))
_children: list[subprocess.Popen[bytes]] = []


def clean_environment(extra: dict[str, str] | None = None, *, scrub: bool = False) -> dict[str, str]:
    """Our environment without what names a hub (the child is to make its own); `scrub`: without tokens and cloud
    keys too."""
    environ = scrubbed(os.environ) if scrub else os.environ
    return {**{name: value for name, value in environ.items() if name not in _HUBS}, **(extra or {})}


def spawn(command: Sequence[str], log: Path, environment: dict[str, str], *, line: str = "") -> subprocess.Popen[bytes]:
    """Start `command` with its output appended to `log` (0600). Detached, except under JupyterHub: there it is the
    server's child.

    Nothing of us is inherited but the environment: no terminal, no descriptors, no working directory. `line` is what it
    reads on standard input: a secret there is in no argument and no environment.
    """
    _children[:] = [child for child in _children if child.poll() is None]
    served = "JUPYTERHUB_USER" in os.environ
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        child = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE if line else subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            cwd=log.parent,
            env=environment,
            start_new_session=not served and sys.platform != "win32",
            # Of its own in any case: a kernel that is interrupted or restarted signals its whole group.
            process_group=0 if served and sys.platform != "win32" else None,
        )
    finally:
        os.close(descriptor)
    if child.stdin is not None:
        with contextlib.suppress(BrokenPipeError), child.stdin as pipe:
            pipe.write(line.encode() + b"\n")
    _children.append(child)  # so that it is reaped, and not complained about, when it ends before us
    return child


def reap() -> None:
    """Forget children that have ended, so that they are no zombies that look alive."""
    _children[:] = [child for child in _children if child.poll() is None]
