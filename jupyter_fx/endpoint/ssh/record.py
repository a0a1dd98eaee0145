"""What is remembered on the near host of an endpoint behind ssh: `ssh.json` in its directory; and how its keeper is."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

import msgspec

from jupyter_fx import paths
from jupyter_fx.errors import ConfigError

__all__ = ["Keeping", "Record", "load", "load_keeping", "names", "save", "save_keeping"]


class Record(msgspec.Struct):
    """`ssh.json`."""

    host: str
    """As `ssh` takes it: a Host of the user's own configuration, or user@host."""
    python: str
    """The interpreter there that has jupyter-fx."""
    options: list[str] = []
    """Further arguments of ssh."""
    node: str = ""
    """The host name that answered: the agent's files are there."""
    enrolled: bool = False
    started: bool = True
    """Whether it shall be kept linked: False after `jupyter fx endpoint stop`."""


class Keeping(msgspec.Struct):
    """`keeper.json`: how the keeper is."""

    pid: int
    state: str
    """connecting, linked, waiting or stopped."""
    why: str = ""
    since: float = 0.0


def _write(path: Path, data: bytes) -> None:
    fresh = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
    fresh.replace(path)


def save(home: Path, record: Record) -> None:
    """Write `ssh.json`."""
    _write(home / "ssh.json", msgspec.json.encode(record))


def load(home: Path) -> Record | None:
    """What `ssh.json` says, None when the endpoint is not behind ssh."""
    try:
        return msgspec.json.decode((home / "ssh.json").read_bytes(), type=Record)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{home / 'ssh.json'} is damaged ({error}): add the endpoint again") from error


def save_keeping(home: Path, keeping: Keeping) -> None:
    """Write `keeper.json`."""
    with contextlib.suppress(OSError):
        _write(home / "keeper.json", msgspec.json.encode(keeping))


def load_keeping(home: Path) -> Keeping | None:
    """What the keeper said last."""
    try:
        return msgspec.json.decode((home / "keeper.json").read_bytes(), type=Keeping)
    except (OSError, msgspec.MsgspecError):
        return None


def names() -> list[str]:
    """The endpoints behind ssh of this user on this host."""
    folder = paths.state_dir() / "endpoints"
    if not folder.is_dir():
        return []
    return sorted(one.name for one in folder.iterdir() if (one / "ssh.json").exists())
