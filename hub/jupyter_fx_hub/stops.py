"""Stopping tasks at somebody's word: some, or all of a map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyter_fx.errors import UsageError
from jupyter_fx.protocol.messages import Cancel
from jupyter_fx_hub.state.io import FromClient
from jupyter_fx_hub.state.tasks import stays

if TYPE_CHECKING:
    from jupyter_fx_hub.service import Service

__all__ = ["stop"]


async def stop(service: Service, user: str, live: list[str], mode: int, reason: str) -> dict[str, Any]:
    """How many of these tasks, none at its end, are asked to stop, and why others that run are not.

    UsageError when none of them can be stopped.
    """
    core = service.state.core
    refused = {one: why for one in live if (task := core.tasks.get(one)) and (why := stays(core, task))}
    if refused and len(refused) == len(live):
        raise UsageError(next(iter(refused.values())))
    if live:
        service.handle(FromClient(0, user, Cancel(live, mode, reason)))
        await service.flushed()
    return {"cancelled": len(live) - len(refused)} | ({"refused": refused} if refused else {})
