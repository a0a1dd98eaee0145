"""What can be wrong with an endpoint, looked at where it lives: settings, agent, disk, scheduler, nodes, images.

Each check yields findings: ("ok", "warn" or "bad"; what was found; the cure).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from jupyter_fx import __version__
from jupyter_fx.endpoint import launch
from jupyter_fx.endpoint.interpreter import check_python
from jupyter_fx.endpoint.linknote import read_link
from jupyter_fx.endpoint.logfiles import logs_of, tail
from jupyter_fx.endpoint.settings import Blocks, Endpoint, config_path, load_blocks, load_settings
from jupyter_fx.errors import FxError

__all__ = ["COMMANDS", "Finding", "checkup", "image"]

Finding = tuple[str, str, str]
COMMANDS: Final = {
    "slurm": ("sbatch", "squeue", "scancel", "sinfo", "scontrol"),
    "torque": ("qsub", "qstat", "qdel"),
    "pbspro": ("qsub", "qstat", "qdel"),
    "lsf": ("bsub", "bjobs", "bkill"),
    "gridengine": ("qsub", "qstat", "qdel"),
}
"""What has to be on the PATH, by provider."""
_PROXIES: Final = ("https_proxy", "http_proxy", "no_proxy", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
_OPEN_PORT: Final = (
    "have that port opened from nodes to this host (c.Blocks.port fixes which), or name this host's address on the "
    "cluster's network in c.Blocks.addresses; then restart"
)
_BY_HAND: Final = (
    "try that command by hand; jobs go on meanwhile",
    "try `kubectl get pods` by hand; pods go on meanwhile",
)
_NO_AGENT: Final = re.compile(r"no agent at (.+?): (.*)")
_PROBE: Final = "import jupyter_fx.endpoint.node, jupyter_fx; print(jupyter_fx.__version__)"


def checkup(name: str) -> Iterator[Finding]:
    """Everything about an endpoint of this host."""
    home = launch.known(name)
    path = config_path(name)
    try:
        settings, blocks = load_settings(path), load_blocks(path)
    except FxError as error:
        yield "bad", str(error), f"mend {path}"
        return
    pid = launch.running(home)
    env = _environ_of(pid)
    yield from _agent(name, home, pid, env)
    yield from _disk(home, settings)
    yield from _python(settings, path)
    if blocks.provider:
        yield from _scheduler(blocks, env, home)
        if blocks.provider != "kubernetes":  # there it is an image's
            yield from _node_python(blocks)
        yield from _nodes(home)
    for one in settings.containers.images:
        if not re.search(r"[*?\[]|^(sha256|blake3|tree):", one):
            yield from image(one, settings)


def _environ_of(pid: int) -> Mapping[str, str]:
    """The environment of the agent; ours when it does not run."""
    if not pid:
        return dict(os.environ)
    try:
        pairs = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return dict(os.environ)
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def _agent(name: str, home: Path, pid: int, env: Mapping[str, str]) -> Iterator[Finding]:
    if not pid:
        last = launch.status(name)["last"]
        said = f"; its last words: {last}" if last else ""
        yield "warn", f"no agent of {name} runs on this host{said}", f"jupyter fx endpoint start {name}"
        return
    link = read_link(home)
    if link is not None and not link.linked:
        since = (time.time() - link.since) / 60
        yield "bad", f"its agent (pid {pid}) has not been linked to the fx hub for {since:.0f} min: {link.why}", ""
    else:
        yield "ok", f"its agent runs (pid {pid})", ""
    differs = [one for one in _PROXIES if env.get(one, "") != os.environ.get(one, "")]
    if differs:
        theirs = ", ".join(f"{one}={env.get(one) or '(nothing)'}" for one in differs if "@" not in env.get(one, ""))
        yield (
            "warn",
            f"the agent was started with other proxy settings than this shell has: {theirs or ', '.join(differs)}",
            f"jupyter fx endpoint restart {name}, from here; in cron set the variable in the crontab",
        )


def _disk(home: Path, settings: Endpoint) -> Iterator[Finding]:
    free = shutil.disk_usage(home).free
    if free < settings.disk_reserve_mb << 20:
        yield (
            "bad",
            f"only {free >> 20} MiB are free in {home}; with less than {settings.disk_reserve_mb} it takes no tasks",
            "free space there, or set JUPYTER_FX_STATE_DIR; c.Endpoint.disk_reserve_mb is the limit",
        )
        return
    try:
        probe = home / f".probe-{os.getpid()}"
        probe.write_bytes(b"x" * 4096)
        probe.unlink()
    except OSError as error:
        yield "bad", f"nothing can be written to {home}: {error.strerror}", "free space, or your quota there"
    else:
        yield "ok", f"{free / 2**30:.1f} GiB are free in {home}", ""


def _python(settings: Endpoint, path: Path) -> Iterator[Finding]:
    if not settings.python:
        return
    try:
        found = check_python(settings.python, path)
    except FxError as error:
        yield "bad", str(error), ""
    else:
        yield "ok", f"workers run on {found}", ""


def _scheduler(blocks: Blocks, env: Mapping[str, str], home: Path) -> Iterator[Finding]:
    words = COMMANDS.get(blocks.provider, ())
    missing = [word for word in words if shutil.which(word, path=env.get("PATH", os.defpath)) is None]
    if missing:
        here = [word for word in missing if shutil.which(word) is None]
        cure = (
            "run the endpoint where they are (a login node), or load their module before `jupyter fx endpoint start`"
            if here
            else "this shell has them, the agent was started without: restart it from here (in cron, set PATH)"
        )
        yield "bad", f"the agent does not find {', '.join(missing)} on its PATH", cure
        return
    from jupyter_fx.endpoint.providers import ProviderError, make_provider

    try:
        provider = make_provider(blocks, home / "blocks")
        provider.look()
        provider.check()
        jobs = provider.jobs()
    except FxError as error:
        yield "bad", str(error), "mend c.Blocks in its config.py, then `jupyter fx endpoint restart`"
    except ProviderError as error:
        yield "bad", f"{blocks.provider} cannot be asked: {error}", _BY_HAND[blocks.provider == "kubernetes"]
    else:
        yield "ok", f"{provider.label} answers, takes these settings, and lists {len(jobs)} jobs of yours", ""


def _node_python(blocks: Blocks) -> Iterator[Finding]:
    """Whether the Python for nodes has us, of this version. (It is tried here: nodes see the same file.)"""
    if not blocks.python:
        return
    try:
        done = subprocess.run(
            [blocks.python, "-c", _PROBE], capture_output=True, text=True, timeout=60, check=False, cwd="/"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        yield "bad", f"c.Blocks.python = {blocks.python!r} cannot be run here: {error}", "name a Python that nodes have"
        return
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines() or ["it said nothing"]
    if done.returncode:
        yield (
            "bad",
            f"c.Blocks.python = {blocks.python!r} cannot run a manager: {lines[-1][:200]}",
            f"{blocks.python} -m pip install 'jupyter-fx=={__version__}'",
        )
    elif lines[-1] != __version__:
        yield (
            "bad",
            f"jupyter-fx is {lines[-1]} in c.Blocks.python ({blocks.python}) and {__version__} here",
            f"{blocks.python} -m pip install 'jupyter-fx=={__version__}'",
        )


def _nodes(home: Path) -> Iterator[Finding]:
    """What managers wrote last about the way to their agent."""
    for file in logs_of(home):
        if file.source == "agent" or "manager" not in file.source:
            continue
        lines = reversed(tail(file.path))
        last = next((one for one in lines if "no agent at " in one or "linked to the agent" in one), "")
        if (found := _NO_AGENT.search(last)) is not None:
            block = file.source.partition(":")[0]
            yield "bad", f"{block}: its node does not reach the agent at {found[1]} ({found[2]})", _OPEN_PORT


def image(name: str, settings: Endpoint) -> Iterator[Finding]:
    """Whether an image is here, may be used, and has a Python that works: it is started and asked."""
    from jupyter_fx.endpoint import environments
    from jupyter_fx.endpoint.runtimes.trial import python_of

    spec = settings.containers.spec()
    if why := environments.refusal(name, spec):
        yield "bad", why, "c.Containers.images is the list"
        return
    try:
        version, runtime = python_of(name, spec)
    except FxError as error:
        yield "bad", str(error), ""
    else:
        yield "ok", f"image {name} has Python {version} ({runtime})", ""
