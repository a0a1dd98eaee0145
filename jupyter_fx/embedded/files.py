"""The files by which processes of one user find each other, and whether who wrote them still lives."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil

from jupyter_fx.errors import HubUnavailable
from jupyter_fx.paths import runtime_dir
from jupyter_fx.processes import began

__all__ = ["HubFile", "alive", "answers", "hub_file", "identity", "locked", "read_hub_file", "tail", "write_private"]

SLACK = 2.0
"""Seconds by which two readings of one process's start time may differ."""


class HubFile(msgspec.Struct):
    """What `hub.json` says (docs/wire-protocol.md)."""

    pid: int
    start_time: float
    boot_id: str
    socket: str
    url: str = ""
    token: str = ""
    version: str = ""
    database: str = ""
    agents: str = ""
    """The socket at which endpoints alone are let in."""

    @property
    def address(self) -> str:
        """How a process on this host connects."""
        return f"unix:{self.socket}" if self.socket else self.url

    def __repr__(self) -> str:
        # The token must not reach a log or a traceback.
        return f"HubFile(pid={self.pid}, socket={self.socket!r}, url={self.url!r}, version={self.version!r})"


def hub_file() -> Path:
    """Where the embedded hub says that it listens."""
    return runtime_dir() / "hub.json"


def read_hub_file() -> HubFile | None:
    """What the file says, if whoever wrote it still lives and answers; None else: start a hub then."""
    try:
        found = msgspec.json.decode(hub_file().read_bytes(), type=HubFile, strict=False)
    except (OSError, msgspec.MsgspecError):
        return None
    if not alive(found.pid, found.start_time) or (found.boot_id and found.boot_id != boot_id()):
        return None
    return found if answers(found.socket) else None


def boot_id() -> str:
    """What changes with every boot of this machine; "" where that cannot be told."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def alive(pid: int, start_time: float) -> bool:
    """Whether process `pid` lives and is the one that began at `start_time` (as `began` tells; 0: not known)."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        # Another version may have written seconds since the epoch, as psutil counts.
        return not start_time or any(abs(one - start_time) <= SLACK for one in (began(pid), process.create_time()))
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def answers(path: str) -> bool:
    """Whether somebody listens on the Unix socket at `path`."""
    if not hasattr(socket, "AF_UNIX"):
        return True
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(2.0)
        try:
            sock.connect(path)
        except OSError:
            return False
    return True


def identity(pid: int) -> dict[str, Any]:
    """Process `pid` as it is written down, to be recognised later."""
    with contextlib.suppress(psutil.Error):
        return {"pid": pid, "start_time": began(pid)}
    return {"pid": pid, "start_time": 0.0}


def write_private(path: Path, content: dict[str, Any]) -> None:
    """Write a 0600 file as a whole."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file)
    fresh.replace(path)


@contextmanager
def locked(name: str, timeout: float) -> Iterator[None]:
    """Hold the lock `name` of the runtime directory; HubUnavailable when another process keeps it for `timeout`
    seconds."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    path = runtime_dir() / name
    deadline = time.monotonic() + timeout
    with open(path, "a", encoding="ascii") as file:
        path.chmod(0o600)
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise HubUnavailable(
                        f"another process has been starting the fx hub for {timeout:g} s ({path})"
                    ) from None
                time.sleep(0.05)
        yield


def tail(path: Path, lines: int = 15, begin: int = 0) -> str:
    """The last lines of a log, of what stands behind its first `begin` bytes."""
    try:
        with open(path, "rb") as file:
            file.seek(max(begin, path.stat().st_size - 16_384))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return "(no log)"
    return "\n".join(text.rstrip().splitlines()[-lines:]) or "(it wrote nothing)"
