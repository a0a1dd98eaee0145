"""The embedded hub: one per user and host, found or started."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil

from jupyter_fx.client.default import Address
from jupyter_fx.embedded.files import HubFile, alive, hub_file, locked, read_hub_file, tail
from jupyter_fx.embedded.links import ensure_links
from jupyter_fx.embedded.local import ensure_endpoint, keep_endpoint
from jupyter_fx.embedded.spawn import clean_environment, reap, spawn
from jupyter_fx.errors import FxError, HubUnavailable
from jupyter_fx.paths import hub_dir

__all__ = ["IDLE_SHUTDOWN", "ensure_hub", "find_hub", "hub_command", "stop_hub"]

START_TIMEOUT = 60.0
_ROOM = 1 << 20
"""Free bytes that an empty database and a line in a log take at least."""
SAYS = "jupyter fx hub: "
"""How a line begins that the hub's program writes for people."""
RACE = 2.0
"""Seconds that a hub which ended is given the benefit of the doubt: another one may be about to listen."""
IDLE_SHUTDOWN = 1800
"""Seconds without clients and tasks after which an embedded hub ends; JUPYTER_FX_IDLE_SHUTDOWN is another number,
0: never."""


def find_hub() -> Address:
    """The embedded hub with its local endpoint, started if need be. HubUnavailable, with the end of its log, if it
    cannot be."""
    found = ensure_hub()
    ensure_endpoint(found)
    ensure_links()
    return Address(found.address, found.token, os.environ.get("JUPYTER_FX_ENDPOINT", ""), _revive, keep_endpoint)


def _revive() -> None:
    """Called when the link to the hub is lost: if it is gone, and nobody stopped it on purpose, start it again."""
    ensure_endpoint(ensure_hub())
    ensure_links()


def hub_command() -> list[str]:
    """The command line of an embedded hub."""
    idle = os.environ.get("JUPYTER_FX_IDLE_SHUTDOWN", str(IDLE_SHUTDOWN))
    return [sys.executable, "-m", "jupyter_fx_hub", "--embedded", f"--HubApp.idle_shutdown={float(idle):g}"]


def ensure_hub(timeout: float = START_TIMEOUT) -> HubFile:
    """The running embedded hub; it is started if there is none. Two processes that ask at once get the same one."""
    found = read_hub_file()
    if found is not None:
        return found
    with locked("start.lock", timeout):
        found = read_hub_file()
        if found is not None:
            return found
        log = hub_dir() / "hub.log"
        begin = log.stat().st_size if log.exists() else 0
        child = spawn(hub_command(), log, clean_environment())
        return _wait(child, log, begin, time.monotonic() + timeout)


def _wait(child: subprocess.Popen[bytes], log: Path, begin: int, deadline: float) -> HubFile:
    ended = 0.0
    while True:
        found = read_hub_file()
        if found is not None:
            return found
        now = time.monotonic()
        if child.poll() is not None:
            # It may have lost the race against a hub that somebody started by hand: that one is about to listen.
            ended = ended or now
            if now - ended > RACE:
                raise HubUnavailable(f"the embedded fx hub did not start: {_why(log, begin, child.returncode)}")
        if now > deadline:
            child.kill()
            child.wait(5.0)
            raise HubUnavailable(f"the embedded fx hub did not start in time: {_why(log, begin)}")
        time.sleep(0.02)


def _why(log: Path, begin: int, status: int | None = None) -> str:
    """Cause and cure for what the log says about a hub that did not start."""
    said = tail(log, begin=begin)
    # What it says for people is a sentence with cause and cure already.
    sentences = [line.removeprefix(SAYS) for line in said.splitlines() if line.startswith(SAYS)]
    if sentences:
        return f"{sentences[-1]} (its log is {log})"
    if shutil.disk_usage(log.parent).free < _ROOM:
        # So full that not even the log could be written.
        full = f"the disk that holds {log.parent} is full"
        return f"{full}: free space there, or set JUPYTER_FX_STATE_DIR to another disk"
    lower = said.lower()
    cure = f"its log is {log}"
    if "no space left" in lower or "storagefull" in lower or "disk is full" in lower:
        cure = f"free space below {log.parent}, or set JUPYTER_FX_STATE_DIR to another disk"
    elif "address already in use" in lower:
        cure = "another program has its port or socket: end it, or set JUPYTER_FX_RUNTIME_DIR to another directory"
    elif "network file system" in lower or "nfs" in lower:
        cure = "set JUPYTER_FX_STATE_DIR to a directory on a local disk"
    elif "permission denied" in lower:
        cure = f"make {log.parent} writable for you"
    elif "no module named" in lower:
        cure = f"install jupyter-fx in the environment of {sys.executable}"
    ended = "" if status is None else f" It ended with status {status}."
    return f"{cure}.{ended} The end of its log:\n{said}"


def stop_hub(timeout: float = 10.0) -> bool:
    """Stop the embedded hub of this user; tasks stay on its disk. Whether there was one."""
    found = read_hub_file()
    if found is None:
        return False
    from jupyter_fx.client.hub import HubClient

    with contextlib.suppress(FxError):
        client = HubClient(found.address, token=found.token, timeout=timeout)
        try:
            client.request("hub.stop", timeout=timeout)
        finally:
            client.close(timeout=0.0)
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        reap()
        if not alive(found.pid, found.start_time):
            return True
        time.sleep(0.05)
    with contextlib.suppress(psutil.Error):
        psutil.Process(found.pid).terminate()
    hub_file().unlink(missing_ok=True)
    return True
