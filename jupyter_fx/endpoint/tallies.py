"""How many workers there are, by what they do and by the image that they do it in; at one manager and at all. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from jupyter_fx.endpoint.containers import Container
    from jupyter_fx.endpoint.worker_proc import WorkerProc

__all__ = ["HOST", "counts", "summed"]

HOST: Final = "host"
"""What the environment without an image is called."""


def counts(containers: Iterable[Container], workers: Iterable[WorkerProc]) -> dict[str, Any]:
    """{workers: {state: n}, images: {image: {state of a worker: n, "warm": containers that can start workers}}}."""
    states: dict[str, int] = {}
    images: dict[str, dict[str, int]] = {}
    for container in containers:
        if container.up:
            _add(images.setdefault(container.environment or HOST, {}), "warm", 1)
    for worker in workers:
        name = worker.state.name.lower()
        _add(states, name, 1)
        _add(images.setdefault(worker.container.environment or HOST, {}), name, 1)
    return {"workers": states, "images": images}


def summed(infos: Iterable[Mapping[str, Any]]) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """(workers, images) of several managers together."""
    states: dict[str, int] = {}
    images: dict[str, dict[str, int]] = {}
    for info in infos:
        for state, count in (info.get("workers") or {}).items():
            _add(states, state, count)
        for image, found in (info.get("images") or {}).items():
            for state, count in found.items():
                _add(images.setdefault(image, {}), state, count)
    return states, images


def _add(into: dict[str, int], name: str, count: int) -> None:
    into[name] = into.get(name, 0) + count
