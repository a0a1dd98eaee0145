"""Who an endpoint is: its credential (0600), its lock, its enrolment."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import socket
from pathlib import Path

import msgspec

from jupyter_fx.errors import ConfigError, UsageError
from jupyter_fx.ids import new_id
from jupyter_fx.protocol.messages import OLDEST_VERSION, VERSION, Hello
from jupyter_fx.transport import Peer

__all__ = ["Identity", "boot_id", "enrol", "load", "locked", "save"]


class Identity(msgspec.Struct):
    """What the hub gave when the endpoint enrolled, and where the hub is."""

    name: str
    endpoint_id: str
    credential: str
    hub: str


def _path(home: Path) -> Path:
    return home / "identity.json"


def load(home: Path) -> Identity | None:
    """The identity in an endpoint's directory, or None."""
    try:
        data = _path(home).read_bytes()
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(data, type=Identity)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{_path(home)} is damaged ({error}): delete the endpoint and configure it again") from error


def save(home: Path, identity: Identity) -> None:
    """Write it, whole, for its owner's eyes only."""
    fresh = home / f".identity-{secrets.token_hex(4)}"
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(fd, "wb") as file:
        file.write(msgspec.json.encode(identity))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(_path(home))


@contextlib.contextmanager
def locked(home: Path, name: str):  # type: ignore[no-untyped-def]
    """Hold the endpoint's lock. A courtesy (the hub admits one agent only): UsageError when another agent of this
    host has it.
    """
    fd = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(fd, 32, 0).decode(errors="replace").strip() or "?"
            raise UsageError(
                f"endpoint {name} is already served by pid {pid} on {socket.gethostname()}: "
                f"stop it first (jupyter fx endpoint stop {name})"
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        yield
        os.ftruncate(fd, 0)
    finally:
        os.close(fd)


def boot_id() -> str:
    """The machine's boot id; where the system has none, the empty string."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


async def enrol(address: str, name: str, code: str, *, timeout: float = 20.0) -> Identity:
    """Redeem a one-use code: the endpoint's identity. Raises the hub's error, or HubUnavailable."""
    hello = Hello(
        VERSION, OLDEST_VERSION, "endpoint", new_id(), info={"name": name, "host": socket.gethostname(), "enrol": True}
    )
    peer = Peer(address, hello, on_message=lambda _message, _number: None)
    peer.start()
    try:
        await peer.opened(timeout)
        info = {"host": socket.gethostname(), "pid": os.getpid()}
        found = await peer.request(
            "endpoints.enrol", {"code": code.strip(), "name": name, "info": info}, timeout=timeout
        )
    finally:
        peer.close()
    return Identity(str(found.get("name") or name), str(found["endpoint_id"]), str(found["credential"]), address)
