"""The agent's side of an engine: starts its host or finds it again, and settles what a dead one had."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from jupyter_fx.endpoint.engines import dask_engine, parsl_engine
from jupyter_fx.endpoint.engines.fence import Started, forget, left_behind, started
from jupyter_fx.endpoint.engines.harvest import harvest, lost
from jupyter_fx.endpoint.engines.runner import SLOWEST
from jupyter_fx.endpoint.engines.spec import EngineSpec
from jupyter_fx.endpoint.entry import FINISHED, Entry
from jupyter_fx.endpoint.managerspec import ManagerSpec
from jupyter_fx.endpoint.remote_manager import RemoteManager
from jupyter_fx.endpoint.settings import Blocks, Endpoint
from jupyter_fx.endpoint.talk import Capacity, Done, Said, Want
from jupyter_fx.errors import UsageError
from jupyter_fx.paths import private_dir

__all__ = ["EngineLink", "check", "engine_spec"]

_STEADY: Final = 60.0
"""Seconds after which a host that dies is started again at once."""


def check(settings: Endpoint, blocks: Blocks) -> None:
    """See that what the settings say of an engine can be: UsageError, before anything is served."""
    if not settings.engine:
        return
    if blocks.provider:
        raise UsageError(
            f"c.Endpoint.engine = {settings.engine!r} and c.Blocks.provider = {blocks.provider!r} exclude each other: "
            "an engine provides its own nodes"
        )
    if settings.engine == "dask":
        if importlib.util.find_spec("distributed") is None:
            raise UsageError(dask_engine.INSTALL)
        if not settings.engine_address:
            raise UsageError(
                "c.Endpoint.engine = 'dask' needs c.Endpoint.engine_address: a scheduler's address (tcp://host:8786), "
                "its scheduler file, or 'local' for a cluster on this machine"
            )
    else:
        parsl_engine.load_config(settings.engine_config)


def engine_spec(spec: ManagerSpec, settings: Endpoint, config: Path) -> EngineSpec:
    """What the host is told."""
    return EngineSpec(
        folder=spec.folder,
        slots=settings.workers,
        env=spec.env,
        engine=settings.engine,
        config=str(config),
        shared=str(private_dir(Path(settings.engine_folder).expanduser())) if settings.engine_folder else "",
    )


class EngineLink(RemoteManager):
    """Has the methods of `Manager` that an agent uses. `tasks`: those that the agent holds."""

    module = "jupyter_fx.endpoint.engines.host"

    def __init__(
        self,
        spec: EngineSpec,
        send: Callable[[Any], None],
        loop: asyncio.AbstractEventLoop,
        tasks: Mapping[str, Entry],
        held: Callable[[], int],
    ) -> None:
        super().__init__(spec, send, loop, held)
        self._engine = spec
        self._tasks = tasks
        self._fences = (Path(spec.shared) if spec.shared else Path(spec.folder) / "engine") / "fence"
        self._begun = time.monotonic()
        slots = spec.slots or os.cpu_count() or 1
        self._capacity = Capacity(
            slots, False, {"slots": slots, "why": "its engine is starting", "engine": spec.engine}
        )

    def environment(self) -> dict[str, str]:
        """What the host starts with, and so what workers get that it starts."""
        # The Python of the agent, with what is installed beside it.
        beside = str(Path(sys.executable).parent)
        path = self._engine.env.get("PATH", os.defpath)
        return {**self._engine.env, "PATH": path if beside in path.split(os.pathsep) else f"{beside}{os.pathsep}{path}"}

    def settle(self) -> None:
        """A host is dead: nothing of it starts from now on. Tell what had started, and what of that was finished."""
        quick = time.monotonic() - self._begun < _STEADY
        self._engine.wait = min(SLOWEST, max(1.0, 2 * self._engine.wait)) if quick else 0.0
        self._begun = time.monotonic()
        spill = Path(self._engine.folder) / "spill"
        for parcel in left_behind(self._fences):
            self._settle(parcel, spill)
        forget(self._fences)

    def _settle(self, parcel: Started, spill: Path) -> None:
        began = started(parcel.log, len(parcel.tasks))
        ours = {one for one in parcel.tasks if self._holds(one, parcel.attempt)}
        found = [one for at, one in enumerate(harvest(parcel.tasks, parcel.log, spill)) if at in began]
        found = [one for one in found if one.task_id in ours]
        if not found:
            return
        self._send(Want(0, [one.task_id for one in found]))
        error = lost(self._engine.engine, "the process that the engine lives in died")
        for one in found:
            pieces = [(one.task_id, stream, one.began, text, k) for k, (stream, text) in enumerate(one.texts)]
            if pieces:
                self._send(Said(pieces))
        self._send(Done([one.ended or one.lost(error) for one in found]))

    def _holds(self, task_id: str, attempt: int) -> bool:
        entry = self._tasks.get(task_id)
        return entry is not None and entry.task.attempt == attempt and entry.phase != FINISHED
