"""Starts, finds and stops agents from outside: by command line, detached. Imports nothing of the agent."""

from __future__ import annotations

import contextlib
import difflib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from jupyter_fx import paths
from jupyter_fx.errors import InfrastructureError, UsageError
from jupyter_fx.ids import check_name
from jupyter_fx.processes import lock_holder

STOP_MARK = "stop-for-good"
"""Says to a running agent that its blocks shall end with it."""
STOPPED = "stopped-by-its-owner"
"""Says to who starts it again and again that it shall not."""
_GONE_WITHIN = 10.0

__all__ = [
    "STOPPED",
    "STOP_MARK",
    "delete",
    "known",
    "last_lines",
    "log_path",
    "names",
    "running",
    "spawn_local",
    "start",
    "status",
    "stop",
]


def names() -> list[str]:
    """The endpoints of this user on this host."""
    folder = paths.state_dir() / "endpoints"
    if not folder.is_dir():
        return []
    return sorted(one.name for one in folder.iterdir() if (one / "identity.json").exists())


def known(name: str) -> Path:
    """The directory of an endpoint that exists; UsageError with the nearest names when there is none."""
    check_name(name, "name of an endpoint")
    there = names()
    if name not in there:
        near = difflib.get_close_matches(name, there, 3, 0.4) or there[:3]
        hint = f"nearest: {', '.join(near)}" if near else f"make it: jupyter fx endpoint configure {name}"
        raise UsageError(f"no endpoint {name!r} here ({hint})")
    return paths.endpoint_dir(name)


def log_path(home: Path) -> Path:
    """The agent's log file."""
    return home / "agent.log"


def running(home: Path) -> int:
    """The pid of the agent that holds the endpoint's lock; 0 when there is none."""
    return lock_holder(home / "lock")


def spawn_local(
    hub: str,
    *,
    name: str = "local",
    code: str = "",
    workers: int = 0,
    idle_stop: float = 0.0,
    env: Mapping[str, str] | None = None,
    detach: bool = True,
    log: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start an agent for the hub at `hub`: enrol with the one-use `code` (given on standard input), or use its
    credential.

    `idle_stop`: seconds without work or hub after which it ends, 0: never. `detach`: it leads a session of its own and
    outlives us. The process is running when this returns, not yet linked: the hub says when it is.
    """
    home = paths.endpoint_dir(check_name(name, "name of an endpoint"))
    command = [sys.executable, "-m", "jupyter_fx.endpoint.main", name, "--hub", hub]
    if workers:
        command += ["--workers", str(workers)]
    if idle_stop:
        command += ["--idle-stop", str(idle_stop)]
    if code:
        command.append("--code-stdin")
    opened = os.open(log or log_path(home), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with open(opened, "ab") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if code else subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=dict(env) if env is not None else None,
            start_new_session=detach,
            cwd="/",
        )
    if code and process.stdin is not None:
        with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
            pipe.write(code.encode() + b"\n")
        process.stdin = None
    return process


def start(name: str, *, within: float = 45.0, unless_stopped: bool = False) -> int:
    """Start the agent of an endpoint that exists, detached; its pid. Does nothing when it runs already.

    `unless_stopped`: nor when its owner stopped it; 0 then.
    """
    home = known(name)
    if unless_stopped and (home / STOPPED).exists():
        return 0
    (home / STOPPED).unlink(missing_ok=True)
    if pid := running(home):
        return pid
    begin = log_path(home).stat().st_size if log_path(home).exists() else 0
    process = spawn_local(_identity(home)["hub"], name=name)
    end = time.monotonic() + within
    while time.monotonic() < end:
        if pid := running(home):
            # Reaped by nobody else while we live; a detached agent outlives us.
            return pid
        if process.poll() is not None:
            lines = last_lines(name, begin=begin)
            raise InfrastructureError(f"the agent of {name} ended at once: {(lines or [''])[-1]}", log=lines)
        time.sleep(0.05)
    late = f"the agent of {name} did not come up within {within:g} s: see {log_path(home)}"
    raise InfrastructureError(late, log=last_lines(name, begin=begin))


def stop(name: str, *, within: float = 20.0, for_good: bool = True) -> bool:
    """SIGTERM to the agent, SIGKILL when it does not end within so many seconds. Whether there was one; it is gone.

    Its blocks end with it if that is `for_good`; else, or when anybody but us ends it, the next agent finds them again.
    """
    home = known(name)
    pid = running(home)
    if for_good:
        (home / STOPPED).touch(0o600)
    if not pid:
        return False
    if for_good:
        (home / STOP_MARK).touch(0o600)
    # A process that was killed holds its lock until it is gone, and whoever starts another one looks at the lock.
    for number, seconds in ((signal.SIGTERM, within), (signal.SIGKILL, _GONE_WITHIN)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if running(home) != pid:
                return True
            time.sleep(0.05)
    raise InfrastructureError(f"the agent of {name} (pid {pid}) was killed and is still there: its file system hangs")


def status(name: str) -> dict[str, Any]:
    """What is known here about an endpoint: name, id, hub, pid (0: stopped), directory, node-hours of blocks that
    are over, last line of its log.
    """
    home = known(name)
    identity = _identity(home)
    hours = {}
    with contextlib.suppress(OSError, ValueError):
        hours = {"node-hours": round(float((home / "node-seconds").read_text()) / 3600, 2)}
    return {
        "name": name,
        "endpoint_id": identity["endpoint_id"],
        "hub": identity["hub"],
        "pid": running(home),
        "directory": str(home),
        **hours,
        "last": (last_lines(name, 1) or [""])[-1],
    }


def delete(name: str) -> None:
    """Remove an endpoint's directory and configuration. UsageError while its agent runs."""
    home = known(name)
    if pid := running(home):
        raise UsageError(f"endpoint {name} is served by pid {pid}: stop it first (jupyter fx endpoint stop {name})")
    shutil.rmtree(home)
    shutil.rmtree(paths.config_dir() / "endpoints" / name, ignore_errors=True)


def last_lines(name: str, count: int = 20, *, begin: int = 0) -> list[str]:
    """The end of an agent's log, of what stands behind its first `begin` bytes."""
    try:
        with log_path(known(name)).open("rb") as file:
            file.seek(max(begin, os.fstat(file.fileno()).st_size - 500 * count))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return []
    return [line[:500] for line in lines[-count:]]


def _identity(home: Path) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode((home / "identity.json").read_bytes())
    return found
