"""Environments and images from files: built at an endpoint by a task, whose output is the build's log."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Final

from jupyter_fx.client import live
from jupyter_fx.client.futures import TaskFuture
from jupyter_fx.client.hub import HubClient
from jupyter_fx.errors import FxError, UsageError
from jupyter_fx.payload import specs
from jupyter_fx.protocol.messages import TaskOptions, Watch

__all__ = ["begin", "ensure", "failed", "is_built", "note_built"]

_TRUSTED_FOR: Final = 600.0
"""Seconds for which one that was there is not asked about again."""

_lock = threading.Lock()
_known: dict[tuple[str, str, str], tuple[float, str]] = {}


def is_built(client: HubClient, endpoint: str, name: str) -> bool:
    """Whether it is known to be there."""
    return bool(_where(client, endpoint, name))


def _where(client: HubClient, endpoint: str, name: str) -> str:
    """The endpoint at which it is known to be; empty: nobody knows."""
    with _lock:
        since, at = _known.get((client.address, endpoint, name), (0.0, ""))
    return at if time.monotonic() - since < _TRUSTED_FOR else ""


def note_built(client: HubClient, endpoint: str, name: str, at: str = "") -> str:
    """It is there: at `endpoint` or, where none was named, at the one whose id is `at`. Returns which it is."""
    place = endpoint or client.endpoint or at
    with _lock:
        _known[client.address, endpoint, name] = time.monotonic(), place
    return place


def begin(
    client: HubClient, recipe: specs.Recipe, file: str | Path, endpoint: str, screen: live.Screen | None = None
) -> TaskFuture:
    """Submit the task that builds it, which may start again: what was half built is not used."""
    return client.submit_call(
        recipe.build,
        recipe.args,
        endpoint=endpoint,
        options=TaskOptions(name=f"build {Path(file).name}"[:60], retries=1),
        watch=Watch.ALL if screen is not None else Watch.OUTCOME,
        on_event=screen.take if screen is not None else None,
    )


def ensure(client: HubClient, file: str | Path, endpoint: str = "") -> tuple[str, str]:
    """Have the environment or the image that a file describes built at an endpoint, if it is not there yet.

    Returns its name, for tasks, and the endpoint: where none is named any may build it, and then it is at that one
    alone. The build's log is printed while it is made. UsageError: it cannot be built, and why.
    """
    recipe = specs.recipe(file)
    name = recipe.name
    if not (place := _where(client, endpoint, name)):
        screen = live.Screen()
        future = begin(client, recipe, file, endpoint, screen)
        try:
            screen.follow(future)
        except (FxError, specs.BuildError) as error:
            raise failed(recipe, file, future.task_id, error) from None
        place = note_built(client, endpoint, name, future.outcome.endpoint_id if future.outcome is not None else "")
    return name, place


def failed(recipe: specs.Recipe, file: str | Path, task_id: str, error: BaseException) -> UsageError:
    """What is raised when it cannot be built."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return UsageError(
        f"the {recipe.what} of {Path(file).name} cannot be built: {reason} (its log: task {task_id[-8:]})"
    )
