"""What the service asks of the links of clients and agents: `links` has the real ones."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Protocol

from jupyter_fx.errors import FxError
from jupyter_fx.protocol.messages import Event

__all__ = ["AgentPort", "ClientPort", "Port"]


class Port(Protocol):
    """What the service asks of a link."""

    number: int
    user: str
    busy: bool
    """A look into the store is under way: messages wait in `backlog`."""
    backlog: deque[tuple[Any, int]]
    gone: bool
    broken: bool
    """It was broken off: what came in after is not taken."""
    waiting: int
    """Messages that are held back for it until a commit."""

    def send(self, message: Any) -> None:
        """Send a passing message."""

    def acknowledge(self, number: int) -> None:
        """Everything up to this number is durable."""

    def hold(self, full: bool) -> None:
        """Read no more for now, or again."""

    def break_off(self, error: FxError) -> None:
        """End the connection, to be made again: what was not acknowledged comes again."""


class ClientPort(Port, Protocol):
    """A client's link."""

    sent: int
    """Number of the last kept message that the client had sent before it connected: up to it, all may be
    redeliveries.
    """

    def begin_replay(self, task_id: str) -> bool:
        """Hold back live events of this task."""

    def replay(self, task_id: str, events: list[Event], outcome: Any, *, last: bool) -> None:
        """Send replayed events; `last` ends the replay."""

    async def caught_up(self) -> None:
        """Return when it was sent what waits for it now, or is gone."""


class AgentPort(Port, Protocol):
    """An agent's link."""

    endpoint_id: str

    def request(self, op: str, args: dict[str, Any], timeout: float) -> asyncio.Future[Any]:
        """Ask the agent."""

    def close(self, error: Exception, *, retry: bool) -> None:
        """Say Goodbye."""
