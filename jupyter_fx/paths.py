"""Where things are on this machine. State is per host, never on a network file system (DESIGN decision 17).

* `runtime_dir()`: sockets, locks, connection files. `$JUPYTER_FX_RUNTIME_DIR`, else `$XDG_RUNTIME_DIR/jupyter-fx`, else
  `<tmp>/jupyter-fx-UID`; mode 0700 and ours, or UsageError.
* `state_dir()`: databases, journals, blobs, logs. `$JUPYTER_FX_STATE_DIR`, else `~/.local/state/jupyter-fx/<host>`
(XDG_STATE_HOME honoured).
* `config_dir()`: what a person edits. `$JUPYTER_FX_CONFIG_DIR`, else Jupyter's config directory + `/fx`.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
import tempfile
from pathlib import Path

from jupyter_fx.errors import UsageError

__all__ = ["config_dir", "endpoint_dir", "hub_dir", "own_dir", "private_dir", "runtime_dir", "state_dir"]


def private_dir(path: Path) -> Path:
    """Make `path` (and its parents) a directory that is ours alone, or raise UsageError saying what is wrong."""
    for parent in reversed([path, *path.parents]):
        # One by one: `parents=True` would make those between with whatever the umask leaves.
        with contextlib.suppress(FileExistsError):
            if not parent.exists():
                parent.mkdir(mode=0o700)
    path.mkdir(mode=0o700, exist_ok=True)
    return own_dir(path)


def own_dir(path: Path) -> Path:
    """`path`, a directory that is ours alone, or UsageError saying what is wrong; FileNotFoundError when it is gone."""
    if sys.platform == "win32":
        return path
    info = os.lstat(path)
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid():
        raise UsageError(
            f"{path} belongs to somebody else or is a link; remove it or set JUPYTER_FX_RUNTIME_DIR to another place"
        )
    if info.st_mode & 0o077:
        path.chmod(0o700)
    return path


def runtime_dir() -> Path:
    """The directory of sockets and connection files of this user on this host, made if need be."""
    if named := os.environ.get("JUPYTER_FX_RUNTIME_DIR"):
        return private_dir(Path(named))
    if (xdg := os.environ.get("XDG_RUNTIME_DIR")) and os.access(xdg, os.W_OK):
        return private_dir(Path(xdg) / "jupyter-fx")
    user = str(os.getuid()) if hasattr(os, "getuid") else re.sub(r"\W", "_", os.environ.get("USERNAME", "user"))
    return private_dir(Path(tempfile.gettempdir()) / f"jupyter-fx-{user}")


def state_dir() -> Path:
    """The directory of what must survive this host's reboot, made if need be."""
    if named := os.environ.get("JUPYTER_FX_STATE_DIR"):
        return private_dir(Path(named))
    base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    host = re.sub(
        r"[^A-Za-z0-9.-]", "_", os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "host")
    )
    return private_dir(base / "jupyter-fx" / host)


def config_dir() -> Path:
    """The directory of configuration files, made if need be."""
    if named := os.environ.get("JUPYTER_FX_CONFIG_DIR"):
        return private_dir(Path(named))
    from jupyter_core.paths import jupyter_config_dir

    return private_dir(Path(jupyter_config_dir()) / "fx")


def hub_dir() -> Path:
    """State of the embedded hub: database, blobs, streams, logs."""
    return private_dir(state_dir() / "hub")


def endpoint_dir(name: str) -> Path:
    """State of the endpoint called `name`: identity, journal, logs, store."""
    return private_dir(state_dir() / "endpoints" / name)
