"""What a manager asks of an engine, whichever it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

__all__ = ["Done", "Engine", "Health"]

Done = Callable[[Any, "BaseException | None"], None]
"""Called once from any thread, with what `run` of a parcel returned or with what went wrong."""


class Health(NamedTuple):
    """`why`: what everything waits for; `slots`: tasks that can run at once, at the most that its configuration allows;
    `info`: for people.
    """

    why: str
    slots: int
    info: dict[str, Any]


class Engine(Protocol):
    """An engine. `start`, `health` and `close` may take their time, or hang with it: they are called off the event
    loop.
    """

    def start(self) -> None:
        """Begin. FxError says what is wrong and what to do."""

    def submit(self, name: str, job: tuple[str, dict[str, Any]], done: Done) -> None:
        """Have `eval(*job)` run by a worker. Raises whatever the engine raises when it takes nothing."""

    def attests(self, error: BaseException | None) -> bool:
        """Whether what `done` was told with means that the worker is dead, beyond doubt. At once."""

    def dead(self) -> str:
        """Why nothing can be run any more; empty while it can. At once."""

    def health(self) -> Health:
        """How it is."""

    def close(self) -> None:
        """End it, with what it has started."""
