"""The containers of one manager: which are warm, which must be started, which are stopped to make room."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from jupyter_fx.endpoint import environments, fusemounts, leftovers, reap, specs
from jupyter_fx.endpoint.built import Built
from jupyter_fx.endpoint.containers import Boxed, Container, ContainerOwner, Host
from jupyter_fx.endpoint.learned import Learned
from jupyter_fx.endpoint.mix import Idle, Mix
from jupyter_fx.endpoint.runtimes import images

if TYPE_CHECKING:
    from jupyter_fx.endpoint.managerspec import ManagerSpec

__all__ = ["Warm"]

log = logging.getLogger(__name__)

LOOK_EVERY: Final = 5.0
"""Seconds between two looks at memory and idle times, while there are containers."""
FAILED_FOR: Final = 10.0
"""Seconds for which an image that did not come up is not tried again: its tasks fail at once, not in turn."""


class Warm:
    """See the module. The host's own Python is the environment `""`."""

    def __init__(
        self, spec: ManagerSpec, owner: ContainerOwner, pids: reap.PidFile, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.mix = Mix()
        self.making = False
        """One is being made, and perhaps room for it: nobody else may ask for one."""
        self._spec = spec
        self._owner = owner
        self._pids = pids
        self._loop = loop
        self._count = 0
        self._shared: dict[str, Container] = {}
        self._all: dict[str, Container] = {}
        self._learned: dict[str, Learned] = {}
        """By environment: it outlives containers."""
        self._failed: dict[str, tuple[str, float]] = {}
        self._never: dict[str, str] = {}
        """Of each name that was asked for: why it can be no environment here, or nothing."""
        self._own_pids: dict[str, set[int]] = {}
        self._looking: asyncio.TimerHandle | None = None
        self._label = leftovers.label_of(spec.folder)
        self._base: Path | None = None
        self._outliving = False
        self._leaving: list[Container] = []
        """Stopped, and perhaps not gone yet: a runtime may take a second to clear up."""

    # Which.

    @staticmethod
    def name(environment: str) -> str:
        """The host has one name here."""
        return "" if environment in images.HOST else environment

    def refusal(self, environment: str) -> str:
        """Why nothing of this environment can be run now; empty when it can be tried."""
        if environment not in self._never:
            if len(self._never) > 1000:
                self._never.clear()
            self._never[environment] = environments.refusal(environment, self._spec.containers)
        if self._never[environment]:
            return self._never[environment]
        failed = self._failed.get(environment)
        if failed is None:
            return ""
        why, until = failed
        if self._loop.time() > until:
            del self._failed[environment]
            return ""
        return why

    def get(self, environment: str) -> Container | None:
        """The shared container of an environment, if it is there or on its way."""
        return self._shared.get(environment)

    def want(self, environment: str) -> Container:
        """A container for one more worker: the shared one, started if need be; of a single-use image a new one."""
        single = bool(environment) and environments.single_use(environment, self._spec.containers)
        found = None if single else self._shared.get(environment)
        if found is None:
            self.making = True
            try:
                found = self._make(environment)
            finally:
                self.making = False
            found.single = single
            if not single:
                found.learned = self._learned.setdefault(environment, found.learned)
            if not single:
                self._shared[environment] = found
            self._all[found.key] = found
            found.start()
        return found

    def _make(self, environment: str) -> Container:
        spec = self._spec
        if not environment:
            return Host("", "zygote", spec, self._owner, self._loop, list(spec.preload))
        self._count += 1
        self._make_room()
        if self._looking is None:
            self._looking = self._loop.call_later(LOOK_EVERY, self._look)
        key = f"{environment}#{self._count}"
        folder = self._folder() / str(self._count)
        if specs.is_spec(environment):
            return Built(environment, key, spec, self._owner, self._loop, [], folder=folder)
        wanted = environments.preload_of(environment, spec.containers)
        return Boxed(environment, key, spec, self._owner, self._loop, wanted, folder=folder, label=self._label)

    def _folder(self) -> Path:
        if self._base is None:
            spec = self._spec
            scratch = spec.containers.scratch
            self._base = leftovers.make_base(leftovers.base_of(spec.folder, scratch, on_node=bool(spec.host)))
        return self._base

    def clear(self) -> int:
        """End what an earlier manager of this directory left behind; how many."""
        spec = self._spec
        base = leftovers.base_of(spec.folder, spec.containers.scratch, on_node=bool(spec.host))
        fusemounts.unmount_below(base)
        fusemounts.unmount_dead()
        shutil.rmtree(base, ignore_errors=True)
        marker = Path(self._spec.folder) / leftovers.MARKER
        if not marker.exists():
            return 0
        left = leftovers.remove_left(None, self._label, self._spec.env)
        marker.unlink(missing_ok=True)
        return left

    # What their owner hears is noted here first.

    def started(self, container: Container) -> None:
        """There is a process."""
        self._own_pids.setdefault(container.key, set()).add(container.pid)
        self._pids.add(container.pid)
        if container.outlives:
            self._outliving = True
            with contextlib.suppress(OSError):
                (Path(self._spec.folder) / leftovers.MARKER).touch(0o600)

    def ended(self, container: Container, why: str, *, came_up: bool) -> None:
        """It is not there any more."""
        self.forget(container)
        if container.environment and not came_up and not specs.is_made(container.environment):
            self._failed[container.environment] = (why, self._loop.time() + FAILED_FOR)

    def forget(self, container: Container) -> None:
        """It is not to be used any more."""
        self._all.pop(container.key, None)
        if self._shared.get(container.environment) is container:
            del self._shared[container.environment]
        for pid in self._own_pids.pop(container.key, ()):
            self._pids.remove(pid)

    def stop(self, container: Container) -> None:
        """Stop one; its owner lets its workers go first. Whoever comes meanwhile is to get another one."""
        self.forget(container)
        self._owner.container_stopping(container)
        self._leaving = [one for one in self._leaving if not one.gone] + [container]
        container.stop()

    # Room.

    def _idle(self) -> list[Idle]:
        return [
            Idle(one.environment, one.idle_since)
            for one in self._shared.values()
            if one.environment and one.up and not one.busy and not one.starting
        ]

    def _make_room(self) -> None:
        """One more is to be started: the least used idle one goes if there are as many as may be."""
        many = sum(1 for one in self._all.values() if one.environment)
        self._stop_idle(room=many + 1 - self._spec.containers.most)

    def _look(self) -> None:
        """Idle times are over, or memory is short."""
        self._looking = None
        reserve = self._spec.containers.memory_reserve_mb << 20
        short = bool(reserve) and psutil.virtual_memory().available < reserve
        self._stop_idle(room=1 if short else 0)
        if any(one.environment for one in self._all.values()):
            self._looking = self._loop.call_later(LOOK_EVERY, self._look)

    def _stop_idle(self, *, room: int) -> None:
        kept = self._spec.containers.idle_seconds
        for environment in self.mix.to_stop(self._idle(), self._loop.time(), kept=kept, room=room):
            container = self._shared[environment]
            log.info("%s is stopped: idle, or its room is needed", container.key)
            self.stop(container)

    def describe(self) -> list[dict[str, object]]:
        """For AgentStatus: the containers that there are."""
        return [
            {
                "environment": one.environment or "host",
                "state": one.state.name.lower(),
                "busy": one.busy,
                "digest": one.digest,
                "python": one.info.get("python"),
                "seconds": round(one.seconds, 3),
            }
            for one in self._all.values()
        ]

    def all(self) -> list[Container]:
        """Every one."""
        return list(self._all.values())

    def close(self) -> None:
        """End all of them, now."""
        if self._looking is not None:
            self._looking.cancel()
        for container in self.all():
            self.forget(container)
            container.stop()
            container.close()
        for container in self._leaving:
            container.close()
        if self._outliving:
            leftovers.remove_left(None, self._label, self._spec.env)
            (Path(self._spec.folder) / leftovers.MARKER).unlink(missing_ok=True)
        if self._base is not None:
            with contextlib.suppress(OSError):
                self._base.rmdir()
