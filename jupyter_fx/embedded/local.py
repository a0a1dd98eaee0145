"""The endpoint `local`: the agent of this machine that the embedded hub works with."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from jupyter_fx.client.hub import HubClient
from jupyter_fx.embedded.files import HubFile, alive, identity, locked, read_hub_file, tail, write_private
from jupyter_fx.embedded.spawn import clean_environment, reap, spawn
from jupyter_fx.errors import FxError, HubUnavailable, UsageError
from jupyter_fx.paths import endpoint_dir, runtime_dir

__all__ = ["NAME", "agent_command", "ensure_endpoint", "keep_endpoint", "stop_endpoint"]

NAME = "local"
IDLE_STOP = 2100.0
"""Seconds without hub, tasks and sessions after which the agent ends: a little longer than the hub's own."""
STARTING = 30.0
"""Seconds after its start for which an agent that is not connected may be on its way."""
AGAIN = 10.0
"""Seconds between two starts of an agent that keeps ending."""


def agent_command(address: str) -> list[str]:
    """The command line of the agent."""
    return [sys.executable, "-m", "jupyter_fx.endpoint.main", NAME, "--hub", address, "--idle-stop", f"{IDLE_STOP:g}"]


def agent_file() -> Path:
    """Where it is written which process the agent is."""
    return runtime_dir() / "local-agent.json"


def agent() -> dict[str, Any] | None:
    """The agent that was started last, if it lives: {pid, start_time, hub, started}."""
    try:
        found = json.loads(agent_file().read_text(encoding="utf-8"))
        return found if alive(int(found["pid"]), float(found["start_time"])) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def ensure_endpoint(hub: HubFile, timeout: float = 30.0) -> None:
    """See to it that the agent of `local` runs and is known to the hub. It need not be online yet: tasks wait for it.

    HubUnavailable, with the end of the agent's log, when it ends before the hub knows it.
    """
    reap()
    if agent() is not None:
        return
    with locked("local-agent.lock", timeout):
        if agent() is not None:
            return
        client = HubClient(hub.address, token=hub.token)
        try:
            code = _enrolment(client)
            log = endpoint_dir(NAME) / "agent.log"
            begin = log.stat().st_size if log.exists() else 0
            command = agent_command(hub.address) + (["--code-stdin"] if code else [])
            child = spawn(command, log, clean_environment(scrub=True), line=code)
            write_private(agent_file(), {**identity(child.pid), "hub": hub.address, "started": time.time()})
            if code:
                _wait_enrolled(client, child, log, begin, time.monotonic() + timeout)
        finally:
            client.close(timeout=0.0)


def _wait_enrolled(client: HubClient, child: subprocess.Popen[bytes], log: Path, begin: int, deadline: float) -> None:
    while not _known(client):
        if child.poll() is not None or time.monotonic() > deadline:
            raise HubUnavailable(f"the local endpoint did not start: {tail(log, 1, begin)} (its log is {log})")
        time.sleep(0.02)


def _known(client: HubClient) -> bool:
    try:
        client.request("endpoints.get", {"name": NAME})
    except UsageError:
        return False
    return True


def keep_endpoint() -> str | None:
    """Start the agent again if it died; for who waits for a task.

    A sentence about one that ended or has only just started, "" for one that runs, None: it was started.
    """
    reap()
    if (runs := agent()) is not None:
        young = 0 <= time.time() - float(runs["started"]) < STARTING
        return "its agent was started a moment ago and is there within 10 s as a rule" if young else ""
    if _just_started():
        return f"its agent ended at once: {tail(endpoint_dir(NAME) / 'agent.log', 1)}"
    hub = read_hub_file()
    if hub is not None:
        ensure_endpoint(hub)
    return None


def _just_started() -> bool:
    try:
        started = float(json.loads(agent_file().read_text(encoding="utf-8"))["started"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return 0 <= time.time() - started < AGAIN


def _enrolment(client: HubClient) -> str:
    """A one-use code for an agent that the hub does not know yet; "" for one that it does."""
    credential = endpoint_dir(NAME) / "identity.json"
    if credential.exists() and _known(client):
        return ""
    credential.unlink(missing_ok=True)
    return str(client.request("endpoints.code", {"name": NAME})["code"])


def stop_endpoint(timeout: float = 10.0) -> bool:
    """Stop the agent of `local` as `jupyter fx endpoint stop local` does; whether there was one."""
    found = agent()
    if found is None:
        return False
    with contextlib.suppress(psutil.Error, FxError):
        process = psutil.Process(found["pid"])
        process.terminate()
        try:
            process.wait(timeout)
        except psutil.TimeoutExpired:
            process.kill()
    reap()
    agent_file().unlink(missing_ok=True)
    return True
