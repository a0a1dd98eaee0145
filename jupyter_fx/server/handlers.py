"""REST under /jupyter-fx/: what the front end asks of the hub, through the Jupyter server and its authentication.

What each takes and answers: docs/server-api.md.
"""

from __future__ import annotations

from typing import Any

import msgspec
from jupyter_server.auth.decorator import authorized
from tornado import web

from jupyter_fx import __version__
from jupyter_fx.errors import FxError
from jupyter_fx.server import agenthandlers, grouphandlers, loghandlers
from jupyter_fx.server.base import Handler, Parts
from jupyter_fx.server.socket import LiveHandler

__all__ = ["handlers"]


class Page(msgspec.Struct, forbid_unknown_fields=True):
    """Query of GET tasks."""

    limit: int = 100
    state: str = ""
    before: int = 0
    session: str = ""
    group: str = ""


class Piece(msgspec.Struct, forbid_unknown_fields=True, rename={"start": "from"}):
    """Query of GET tasks/ID/events."""

    start: int = 0
    limit: int = 1000


class CloseBody(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST sessions/ID/close."""

    kill: bool = False
    reason: str = ""


class StatusHandler(Handler):
    """GET status: the state of the hub as this server knows it."""

    @web.authenticated
    @authorized
    def get(self) -> None:
        """Never waits for the hub."""
        self.reply({**self._parts.link.status(), "version": __version__})


class ListHandler(Handler):
    """GET endpoints, GET sessions: the user's, from the hub or as they were last seen."""

    def initialize(self, parts: Parts, what: str) -> None:  # type: ignore[override]  # Tornado gives what the route names
        """Take which list it is."""
        super().initialize(parts)
        self._what = what

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """{endpoints | sessions: [...], at, stale, problem}."""
        try:
            self.reply(await self._parts.overview.get(self._what))
        except FxError as error:
            self.fail(error)


class TasksHandler(Handler):
    """GET tasks?limit=&state=&before=&session=&group=: the newest tasks of this user."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """{tasks: [TaskInfo], next}."""
        page = self.query(Page)
        if not 1 <= page.limit <= 1000:
            raise web.HTTPError(400, "limit is a number from 1 to 1000")
        await self.answer("tasks.list", {k: v for k, v in msgspec.structs.asdict(page).items() if v})


class TaskHandler(Handler):
    """GET tasks/ID."""

    @web.authenticated
    @authorized
    async def get(self, task_id: str) -> None:
        """TaskInfo."""
        await self.answer("tasks.get", {"task_id": task_id})


class EventsHandler(Handler):
    """GET tasks/ID/events?from=&limit=."""

    @web.authenticated
    @authorized
    async def get(self, task_id: str) -> None:
        """{events: [[n, kind, t, data]], next}."""
        piece = self.query(Piece)
        await self.answer("tasks.events", {"task_id": task_id, "from": piece.start, "limit": piece.limit})


class CancelHandler(Handler):
    """POST tasks/ID/cancel {"mode": "cancel" | "interrupt"}: stop a task."""

    @web.authenticated
    @authorized
    async def post(self, task_id: str) -> None:
        """{cancelled: n}."""
        await self.answer("tasks.cancel", {"task_ids": [task_id], "mode": self.cancel_mode()})
        self._parts.overview.changed()


class CloseHandler(Handler):
    """POST sessions/ID/close {"kill": false}: end a session, with its variables."""

    @web.authenticated
    @authorized
    async def post(self, session_id: str) -> None:
        """{closed: n}."""
        body = self.body(CloseBody)
        reason = body.reason[:200] or "closed in JupyterLab"
        await self.answer("sessions.close", {"session_id": session_id, "kill": body.kill, "reason": reason})
        self._parts.overview.changed()


class RenewHandler(Handler):
    """POST sessions/ID/renew: its idle time begins anew."""

    @web.authenticated
    @authorized
    async def post(self, session_id: str) -> None:
        """SessionInfo."""
        await self.answer("sessions.renew", {"session_id": session_id})
        self._parts.overview.changed()


class StartHandler(Handler):
    """POST start: find the hub, or start the embedded one with its local endpoint."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Status, once it is there; 503 with the reason when it cannot be."""
        try:
            await self._parts.link.start()
        except FxError as error:
            self.fail(error)
            return
        self._parts.overview.changed()
        self.reply({**self._parts.link.status(), "version": __version__})


def handlers(parts: Parts) -> list[tuple[str, type[Any], dict[str, Any]]]:
    """The rows for the server's table of handlers."""
    settings = {"parts": parts}
    task = "/jupyter-fx/tasks/([0-9a-f]{32})"
    return [
        ("/jupyter-fx/status", StatusHandler, settings),
        ("/jupyter-fx/endpoints", ListHandler, {**settings, "what": "endpoints"}),
        ("/jupyter-fx/sessions", ListHandler, {**settings, "what": "sessions"}),
        ("/jupyter-fx/sessions/([0-9a-f]{32})/close", CloseHandler, settings),
        ("/jupyter-fx/sessions/([0-9a-f]{32})/renew", RenewHandler, settings),
        ("/jupyter-fx/start", StartHandler, settings),
        ("/jupyter-fx/tasks", TasksHandler, settings),
        (task, TaskHandler, settings),
        (f"{task}/events", EventsHandler, settings),
        (f"{task}/cancel", CancelHandler, settings),
        *loghandlers.handlers(parts),
        *grouphandlers.handlers(parts),
        *agenthandlers.handlers(parts),
        ("/jupyter-fx/live", LiveHandler, {"feeds": parts.feeds, "overview": parts.overview}),
    ]
