"""Starting a process that outlives us, or (under JupyterHub) one that ends with the server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["clean_environment", "spawn"]

_SECRET = re.compile(
    r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|^AWS_|^AZURE_|^GOOGLE_|^GCP_|^GLOBUS_|^SSH_AUTH_SOCK$|COOKIE"
)
_KEEP = {"JUPYTER_FX_RUNTIME_DIR", "JUPYTER_FX_STATE_DIR", "JUPYTER_FX_CONFIG_DIR"}
_children: list[subprocess.Popen[bytes]] = []


def clean_environment(extra: dict[str, str] | None = None, *, scrub: bool = False) -> dict[str, str]:
    """Our environment without what names a hub (the child is to make its own); `scrub`: without tokens and cloud
    keys too."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not (
            name.startswith("JUPYTER_FX_") and name in {"JUPYTER_FX_HUB", "JUPYTER_FX_TOKEN", "JUPYTER_FX_TOKEN_FILE"}
        )
        and not (scrub and _SECRET.search(name.upper()) and name not in _KEEP)
    }
    return {**kept, **(extra or {})}


def spawn(command: Sequence[str], log: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start `command` with its output appended to `log` (0600). Detached, except under JupyterHub: there it is the
    server's child.

    Nothing of us is inherited but the environment: no terminal, no descriptors, no working directory.
    """
    _children[:] = [child for child in _children if child.poll() is None]
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        child = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            cwd=log.parent,
            env=environment,
            start_new_session="JUPYTERHUB_USER" not in os.environ and sys.platform != "win32",
        )
    finally:
        os.close(descriptor)
    _children.append(child)  # so that it is reaped, and not complained about, when it ends before us
    return child


def reap() -> None:
    """Forget children that have ended, so that they are no zombies that look alive."""
    _children[:] = [child for child in _children if child.poll() is None]
