"""The command line of ssh: the user's own, with their configuration, keys, agents and second factors."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence

from jupyter_fx.errors import UsageError
from jupyter_fx.paths import runtime_dir

__all__ = ["argv", "bridge_command", "end_master", "in_sh", "needs_person", "program"]

_ALIVE = ("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3", "-o", "ConnectTimeout=20")
"""A laptop that slept notices within 45 s that its connection is gone."""
MASTER_FOR = "8h"
"""How long a connection that somebody signed in for is kept for the next one."""


def program() -> str:
    """The ssh to run: $JUPYTER_FX_SSH, else the one on PATH."""
    named = os.environ.get("JUPYTER_FX_SSH") or shutil.which("ssh")
    if not named:
        raise UsageError("there is no ssh on this machine's PATH: install OpenSSH's client")
    return named


def _own_master(host: str, options: Sequence[str]) -> bool:
    """Whether the user's configuration shares connections to this host already."""
    try:
        said = subprocess.run(
            [program(), *options, "-G", host], capture_output=True, text=True, check=False, timeout=10
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False
    found = dict(line.split(" ", 1) for line in said.splitlines() if " " in line)
    return found.get("controlpath", "none") != "none" and found.get("controlmaster", "false") != "false"


def argv(host: str, options: Sequence[str], remote: str, *, alone: bool) -> list[str]:
    """The line of ssh to `host`, running `remote` there. `alone`: nobody is there to be asked for a password."""
    if not host or host.startswith("-"):
        raise UsageError(
            f"{host!r} is no host for ssh: write the name of a Host of your ssh configuration, or USER@HOST"
        )
    line = [program(), "-T"]
    if alone:
        line += ["-o", "BatchMode=yes"]
    # The first word about an option counts: the user's before ours.
    line += [*options, *_ALIVE]
    if not _own_master(host, options):
        # %C: a digest of host, port and user, so that the path stays short enough for a socket.
        line += ["-o", "ControlMaster=auto", "-o", f"ControlPersist={MASTER_FOR}"]
        line += ["-o", f"ControlPath={runtime_dir()}/cm-%C"]
    return [*line, "--", host, remote]


def end_master(host: str, options: Sequence[str]) -> None:
    """End the shared connection that `argv` kept, if there is one."""
    path = f"ControlPath={runtime_dir()}/cm-%C"
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(
            [program(), "-O", "exit", "-o", path, *options, "--", host], capture_output=True, check=False, timeout=10
        )


def bridge_command(python: str, name: str) -> str:
    """What ssh runs on the far side. The runtime directory that a session there gets may go away with it; the agent
    stays: so it is told another one."""
    where = 'JUPYTER_FX_RUNTIME_DIR="${JUPYTER_FX_RUNTIME_DIR:-/tmp/jupyter-fx-$(id -u)}"'
    line = f"exec env {where} {shlex.quote(python)} -m jupyter_fx.endpoint.ssh.bridge {shlex.quote(name)}"
    return in_sh(line)


def in_sh(script: str) -> str:
    """`script` for a Bourne shell, whatever shell the user has there."""
    return f"exec /bin/sh -c {shlex.quote(script)}"


_NEEDS_PERSON = (
    "permission denied",
    "host key verification failed",
    "remote host identification has changed",
    "no more authentication methods",
    "too many authentication failures",
)


def needs_person(said: str) -> bool:
    """Whether what ssh said can be cured by a person alone: nothing is gained by trying again."""
    lower = said.lower()
    return any(words in lower for words in _NEEDS_PERSON)
