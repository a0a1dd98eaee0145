"""REST under /jupyter-fx/: what the front end asks of the hub, through the Jupyter server and its authentication.

None of these requests counts as activity: a panel that looks every few seconds must not keep an idle server alive.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado import web

from jupyter_fx.errors import AuthError, FxError, HubUnavailable, UsageError
from jupyter_fx.ids import is_id
from jupyter_fx.protocol.messages import CancelMode

__all__ = ["handlers"]

RESOURCE = "jupyter-fx"
"""What a Jupyter authorizer is asked about: `read` or `write` of this."""
Ask = Callable[[str, dict[str, Any]], Awaitable[Any]]


class _Handler(APIHandler):
    """Answers JSON; errors are one sentence each."""

    auth_resource = RESOURCE
    _track_activity = False

    def initialize(self, ask: Ask, status: Callable[[], dict[str, Any]]) -> None:
        """`ask(op, args)` asks the hub; `status()` says how the extension stands to it, without asking."""
        self._ask = ask
        self._status = status

    async def answer(self, op: str, args: dict[str, Any]) -> None:
        """Ask the hub and finish with its answer."""
        try:
            value = await self._ask(op, args)
        except FxError as error:
            self.set_status(_code(error))
            self.finish(json.dumps({"error": type(error).__name__, "message": error.message}))
            return
        self.finish(json.dumps(value, default=str))


class StatusHandler(_Handler):
    """GET status: the state of the hub as this server knows it."""

    @web.authenticated
    @authorized
    def get(self) -> None:
        """Never waits for the hub."""
        self.finish(json.dumps(self._status()))


class EndpointsHandler(_Handler):
    """GET endpoints: the user's endpoints."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """[EndpointInfo]."""
        await self.answer("endpoints.list", {})


class TasksHandler(_Handler):
    """GET tasks?limit=&state=&before=&session=: the newest tasks of this user."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """{tasks: [TaskInfo], next}."""
        text = self.get_query_argument("limit", "100")
        if not text.isdigit() or not 1 <= int(text) <= 1000:
            raise web.HTTPError(400, "limit is a number from 1 to 1000")
        args: dict[str, Any] = {"limit": int(text)}
        for name in ("state", "before", "session"):
            if value := self.get_query_argument(name, ""):
                args[name] = value
        await self.answer("tasks.list", args)


class CancelHandler(_Handler):
    """POST tasks/ID/cancel {"mode": "cancel" | "interrupt"}: stop a task."""

    @web.authenticated
    @authorized
    async def post(self, task_id: str) -> None:
        """{cancelled: n}."""
        body: Any = self.get_json_body() or {}
        if not isinstance(body, dict):
            raise web.HTTPError(400, "the body is a JSON object")
        mode = body.get("mode", "cancel")
        if mode not in {"cancel", "interrupt"} or not is_id(task_id):
            raise web.HTTPError(400, 'the task is named by its 32 digits and mode is "cancel" or "interrupt"')
        await self.answer("tasks.cancel", {"task_ids": [task_id], "mode": int(CancelMode[str(mode).upper()])})


def _code(error: FxError) -> int:
    if isinstance(error, HubUnavailable):
        return 503
    if isinstance(error, AuthError):
        return 502
    return 404 if isinstance(error, UsageError) else 500


def handlers(ask: Ask, status: Callable[[], dict[str, Any]]) -> list[tuple[str, type[_Handler], dict[str, Any]]]:
    """The rows for the server's table of handlers."""
    settings = {"ask": ask, "status": status}
    return [
        ("/jupyter-fx/status", StatusHandler, settings),
        ("/jupyter-fx/endpoints", EndpointsHandler, settings),
        ("/jupyter-fx/tasks", TasksHandler, settings),
        ("/jupyter-fx/tasks/([0-9a-f]{6,32})/cancel", CancelHandler, settings),
    ]
