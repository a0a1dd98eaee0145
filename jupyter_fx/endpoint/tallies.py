"""How many workers there are, by what they do and by the image that they do it in; at one manager and at all. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from jupyter_fx.protocol.lifecycle import WorkerState

if TYPE_CHECKING:
    from jupyter_fx.endpoint.containers import Container
    from jupyter_fx.endpoint.worker_proc import WorkerProc

__all__ = ["HELD", "HOST", "Tallies", "counts"]

HOST: Final = "host"
"""What the environment without an image is called."""
HELD: Final = "held"
"""What a worker does that is a session's and has nothing to run: it is not busy, and free for nobody else."""


def counts(containers: Iterable[Container], workers: Iterable[WorkerProc]) -> dict[str, Any]:
    """{workers: {state, or "held": n}, images: {image: {the same of its workers, "warm": containers that can start
    workers}}}."""
    states: dict[str, int] = {}
    images: dict[str, dict[str, int]] = {}
    for container in containers:
        if container.up:
            _add(images.setdefault(container.environment or HOST, {}), "warm", 1)
    for worker in workers:
        held = bool(worker.session) and worker.state is WorkerState.IDLE
        name = HELD if held else worker.state.name.lower()
        _add(states, name, 1)
        _add(images.setdefault(worker.container.environment or HOST, {}), name, 1)
    return {"workers": states, "images": images}


class Tallies:
    """Several managers together: `workers` and `images` as in `counts`, `memory` in bytes by session. What one manager
    says costs the same whether there are ten of them or thousands.
    """

    def __init__(self) -> None:
        self.workers: dict[str, int] = {}
        self.images: dict[str, dict[str, int]] = {}
        self.memory: dict[str, int] = {}
        self._said: dict[str, Mapping[str, Any]] = {}

    def put(self, manager: str, info: Mapping[str, Any]) -> None:
        """A manager says how it is there, in place of what it said before."""
        self.drop(manager)
        self._said[manager] = info
        self._sum_up(info, 1)
        self.memory.update(_pairs(info.get("session_memory")))

    def drop(self, manager: str) -> None:
        """A manager is gone."""
        if (info := self._said.pop(manager, None)) is not None:
            self._sum_up(info, -1)
            for session, _size in _pairs(info.get("session_memory")):
                self.memory.pop(session, None)

    def _sum_up(self, info: Mapping[str, Any], sign: int) -> None:
        for state, count in _pairs(info.get("workers")):
            _add(self.workers, state, sign * count)
        for image, found in _pairs(info.get("images")):
            states = self.images.setdefault(image, {})
            for state, count in _pairs(found):
                _add(states, state, sign * count)
            if not states:
                del self.images[image]


def _pairs(found: Any) -> Iterable[tuple[str, Any]]:
    # A manager of another version may tell something else.
    return found.items() if isinstance(found, Mapping) else ()


def _add(into: dict[str, int], name: str, count: int) -> None:
    there = into.get(name, 0) + count
    if there:
        into[name] = there
    else:
        into.pop(name, None)
