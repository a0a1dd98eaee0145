"""`jupyter fx endpoint add NAME --ssh HOST`, and what the other words mean for such an endpoint."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from jupyter_fx import paths
from jupyter_fx.client.hub import HubClient
from jupyter_fx.embedded import ensure_endpoint, ensure_hub, read_hub_file
from jupyter_fx.embedded.links import start_link
from jupyter_fx.endpoint import launch, scheduler
from jupyter_fx.endpoint.ssh import command, install, keeper, record
from jupyter_fx.errors import FxError, InfrastructureError, UsageError
from jupyter_fx.ids import check_name

__all__ = ["add", "delete", "elsewhere", "forward", "start", "state", "stop"]

LINKED_WITHIN = 120.0


def elsewhere(name: str) -> record.Record | None:
    """The record of an endpoint behind ssh; None for one of this host."""
    return record.load(paths.endpoint_dir(name)) if name in record.names() else None


def add(name: str, host: str, *, python: str, options: list[str], wheels: str, nodes: dict[str, str]) -> None:
    """Install there if need be, enrol with the embedded hub, link. Says what it does. `nodes`: scheduler, partition and
    account of its batch jobs; none: its workers run on that host itself."""
    check_name(name, "name of an endpoint")
    if name in launch.names():
        raise UsageError(f"endpoint {name} is one of this host already: choose another name")
    if os.environ.get("JUPYTER_FX_HUB"):
        raise UsageError(
            "JUPYTER_FX_HUB names another hub: an endpoint behind ssh links to this machine's own, so unset it; or "
            "configure the endpoint on its host (jupyter fx endpoint configure) for that hub"
        )
    extra = scheduler.extra_of(scheduler.known(nodes["scheduler"])) if nodes else ""
    far_host = install.Host(host, options)
    far = install.look(far_host, python)
    interpreter = install.prepare(far_host, far, python=python, wheel_dir=wheels, extra=extra)
    fresh = record.Record(host, interpreter, options, far.node)
    if nodes and _there(fresh, "configure", name, "--settings-only", *(f"--{key}={nodes[key]}" for key in nodes)):
        raise UsageError(f"endpoint {name} was not added: {far.node} said why")
    home = paths.endpoint_dir(name)
    _end_keeper(home)
    record.save(home, fresh)
    hub = ensure_hub()
    ensure_endpoint(hub)
    _link(name, home)
    print(f"Endpoint {name} is linked: its agent runs on {far.node}. Try: %%remote {name}")


def start(name: str) -> None:
    """Sign in if need be, then link."""
    home = paths.endpoint_dir(name)
    kept = record.load(home)
    assert kept is not None
    ensure_hub()
    if keeper.running(home) and (said := record.load_keeping(home)) is not None and said.state == "linked":
        print(f"Endpoint {name} is linked already: {said.why}")
        return
    # Whoever sits here may be asked for a password or a code: the keeper rides on this connection then.
    install.Host(kept.host, kept.options).run("exit 0")
    kept.started = True
    record.save(home, kept)
    _end_keeper(home)
    _link(name, home)
    print(f"Endpoint {name} is linked")


def _link(name: str, home: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        (home / "keeper.json").unlink()
    start_link(name)
    end = time.monotonic() + LINKED_WITHIN
    said: record.Keeping | None = None
    while time.monotonic() < end:
        said = record.load_keeping(home)
        if said is not None and said.state == "linked" and said.why.startswith("agent "):
            return
        if said is not None and (said.state in {"stopped", "waiting"} or (said.state == "linked" and said.why)):
            raise InfrastructureError(f"endpoint {name} could not be linked: {said.why} (log: {home / 'keeper.log'})")
        time.sleep(0.1)
    why = said.why if said is not None else "its keeper did not start"
    raise InfrastructureError(f"endpoint {name} is not linked after {LINKED_WITHIN:g} s: {why}")


def stop(name: str) -> None:
    """Stop the agent there and the keeper here."""
    home = paths.endpoint_dir(name)
    kept = record.load(home)
    assert kept is not None
    kept.started = False
    record.save(home, kept)
    try:
        forward(name, "stop")
    finally:
        _end_keeper(home)
        command.end_master(kept.host, kept.options)
    print("It is not linked any more: `jupyter fx endpoint start` links it again")


def _end_keeper(home: Path) -> None:
    pid = keeper.running(home)
    if not pid:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + 10.0
    while keeper.running(home) == pid and time.monotonic() < end:
        time.sleep(0.05)
    if keeper.running(home) == pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def forward(name: str, *words: str) -> int:
    """Run `jupyter fx endpoint WORDS NAME` there, on this terminal."""
    kept = record.load(paths.endpoint_dir(name))
    assert kept is not None
    verb, *rest = words
    return _there(kept, verb, name, *rest)


def _there(kept: record.Record, *words: str) -> int:
    where = 'JUPYTER_FX_RUNTIME_DIR="${JUPYTER_FX_RUNTIME_DIR:-/tmp/jupyter-fx-$(id -u)}"'
    line = " ".join(map(shlex.quote, [kept.python, "-m", "jupyter_fx.cli.app", "endpoint", *words]))
    sys.stdout.flush()
    return subprocess.run(
        command.argv(kept.host, kept.options, command.in_sh(f"exec env {where} {line}"), alone=False), check=False
    ).returncode


def state(name: str) -> dict[str, Any]:
    """How it is, as known here."""
    home = paths.endpoint_dir(name)
    kept = record.load(home)
    assert kept is not None
    said = record.load_keeping(home)
    pid = keeper.running(home)
    link = said.state if said is not None and (pid or said.state == "stopped") else "stopped"
    return {
        "name": name,
        "ssh": kept.host,
        "node": kept.node,
        "link": link,
        "why": said.why if said is not None else "",
        "keeper": pid,
        "log": str(home / "keeper.log"),
    }


def delete(name: str) -> None:
    """Forget it here, there and at the hub. What cannot be reached is said, and stays."""
    home = paths.endpoint_dir(name)
    kept = record.load(home)
    assert kept is not None
    # Once while it is linked, to give back what it has; once when no new link can start the agent again.
    forward(name, "stop")
    _end_keeper(home)
    gone = forward(name, "stop") == 0 and forward(name, "delete", "--yes") == 0
    command.end_master(kept.host, kept.options)
    shutil.rmtree(home)
    hub = read_hub_file()
    if hub is not None:
        client = HubClient(hub.address, token=hub.token)
        try:
            with contextlib.suppress(FxError):
                client.request("endpoints.delete", {"name": name})
        finally:
            client.close(timeout=0.0)
    if not gone:
        print(f"What it has on {kept.host} could not be removed: the agent may run there still")
