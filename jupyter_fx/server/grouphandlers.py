"""REST about maps: `groups/ID` and `groups/ID/cancel`."""

from __future__ import annotations

from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from jupyter_fx.server.base import Handler, Parts

__all__ = ["handlers"]


class GroupHandler(Handler):
    """GET groups/ID: how a map stands."""

    @web.authenticated
    @authorized
    async def get(self, group: str) -> None:
        """As the hub's `groups.get`."""
        await self.answer("groups.get", {"group": group})


class CancelGroupHandler(Handler):
    """POST groups/ID/cancel {"mode": "cancel" | "interrupt"}: stop all that is left of a map."""

    @web.authenticated
    @authorized
    async def post(self, group: str) -> None:
        """{cancelled: n}."""
        asked = {"group": group, "mode": self.cancel_mode(), "reason": "cancelled from its card"}
        await self.answer("groups.cancel", asked)
        self._parts.feeds.groups.changed(group)
        self._parts.overview.changed()


def handlers(parts: Parts) -> list[tuple[str, type[Any], dict[str, Any]]]:
    """The rows for the server's table of handlers."""
    group, settings = "/jupyter-fx/groups/([0-9a-f]{32})", {"parts": parts}
    return [(group, GroupHandler, settings), (f"{group}/cancel", CancelGroupHandler, settings)]
