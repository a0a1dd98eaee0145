"""What a manager is told: by its agent in one process, else in the block's `spec.json`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from jupyter_fx.auth.scrub import scrubbed
from jupyter_fx.endpoint.runtimes.settings import ContainerSpec
from jupyter_fx.endpoint.settings import Endpoint

__all__ = ["ManagerSpec", "spec_of"]


class ManagerSpec(msgspec.Struct, kw_only=True):
    """What a manager is told when it is made. `folder`: its own directory; `worker_cores`: cores of one slot; `umask`:
    what user code starts with, -1: the manager's own.
    """

    folder: str
    slots: int
    worker_cores: int = 1
    python: str = ""
    env: dict[str, str] = {}
    given_env: dict[str, str] = {}
    """Those of `env` that the endpoint's owner has set: containers get these alone."""
    containers: ContainerSpec = ContainerSpec()
    environments: tuple[float, int] = (30.0, 0)
    """Days and MiB for which those that were built from specifications are kept."""
    squashfs: str = "auto"
    """Whether they are kept as one file each: `auto`, `always`, `never`."""
    preload: list[str] = []
    learn: list[str] = []
    """Packages that are imported in advance once tasks of several workers have imported them."""
    max_processes: int = 512
    umask: int = -1
    die_with_parent: bool = True
    idle_workers: float = 300.0
    keep_warm: bool = True
    spill: str = ""
    """Where results that are large go; empty: into `folder`. Managers on nodes share it with their agent."""
    logs: str = ""
    """Where the complete text of tasks goes, in the same way."""
    files: str = ""
    """Where the agent has fetched inputs and refs (`inputs`, `refs`), in the same way."""
    sessions: str = ""
    """Where sessions have their directories, in the same way."""
    sessions_hold_slots: bool = False
    """Whether a session takes slots away from tasks."""
    container_logs: str = ""
    """What the paths of containers' logs begin with; empty: they are in `folder`."""
    scratch: str = ""
    """Where on a node a manager makes its own directory."""
    memory: int = 0
    """Bytes that all workers may have together; 0: not known."""
    gpus: list[str] = []
    """Devices of this node, as CUDA_VISIBLE_DEVICES names them."""
    pin: list[int] = []
    """Processors that are this manager's alone: each worker is pinned to its share of them. Empty: none is pinned."""
    pin_cores: bool = False
    """Whether a node's manager pins workers if the job is bound to as many processors as it has."""
    host: str = ""
    keep_secrets: bool = False
    """Whether workers on nodes get all of the job's environment."""


def spec_of(home: Path, settings: Endpoint, *, slots: int, worker_cores: int, umask: int) -> ManagerSpec:
    """What an endpoint's settings come to for a manager on the agent's own machine."""
    env, given = dict(os.environ), {name: str(value) for name, value in settings.env.items()}
    return ManagerSpec(
        folder=str(home),
        slots=slots,
        worker_cores=worker_cores,
        python=settings.python or sys.executable,
        env={**(env if settings.keep_secrets else scrubbed(env)), **given},
        given_env=given,
        containers=settings.containers.spec(),
        environments=(settings.environment_days, settings.environment_mb),
        squashfs=settings.environment_squashfs,
        preload=list(settings.preload),
        learn=list(settings.learn),
        max_processes=settings.max_processes,
        umask=umask,
    )
