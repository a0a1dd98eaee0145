"""What every REST handler of ours has: the server's parts, checked bodies and queries, errors of one sentence.

None of these requests counts as activity: a panel that looks every few seconds must not keep an idle server alive.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

import msgspec
from jupyter_server.base.handlers import APIHandler
from tornado import web

from jupyter_fx.errors import AuthError, FxError, HubUnavailable, InfrastructureError, UsageError
from jupyter_fx.protocol.messages import CancelMode
from jupyter_fx.server.agents import Agents
from jupyter_fx.server.choice import Choice
from jupyter_fx.server.feeds import Feeds
from jupyter_fx.server.hublink import HubLink
from jupyter_fx.server.overview import Overview

__all__ = ["Handler", "Parts"]

RESOURCE: Final = "jupyter-fx"
"""What a Jupyter authorizer is asked about: `read` or `write` of this."""


class Parts(NamedTuple):
    """What the handlers work with."""

    link: HubLink
    feeds: Feeds
    overview: Overview
    agents: Agents
    choice: Choice


class CancelBody(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST tasks/ID/cancel and groups/ID/cancel."""

    mode: str = "cancel"


class Handler(APIHandler):
    """Answers JSON; errors are one sentence each."""

    auth_resource = RESOURCE
    _track_activity = False

    def initialize(self, parts: Parts) -> None:
        """Take the server's parts."""
        self._parts = parts

    def query(self, kind: type[Any]) -> Any:
        """The query as a struct of this kind; 400 with a sentence otherwise. `token` is the server's own; a number
        alone is what JupyterLab appends to get past caches."""
        names = [name for name in self.request.query_arguments if name != "token" and not name.isdecimal()]
        found = {name: self.get_query_argument(name) for name in names}
        return self._checked(found, kind, strict=False)

    def body(self, kind: type[Any]) -> Any:
        """The body as a struct of this kind."""
        return self._checked(self.get_json_body() or {}, kind, strict=True)

    def cancel_mode(self) -> int:
        """The CancelMode that a body asks for."""
        mode = self.body(CancelBody).mode
        if mode not in {"cancel", "interrupt"}:
            raise web.HTTPError(400, 'mode is "cancel" or "interrupt"')
        return int(CancelMode[mode.upper()])

    def _checked(self, found: Any, kind: type[Any], *, strict: bool) -> Any:
        try:
            return msgspec.convert(found, kind, strict=strict)
        except msgspec.ValidationError as error:
            # Without arguments: jupyter_server answers the message as it was before they are put in.
            raise web.HTTPError(400, str(error)) from error

    async def answer(self, op: str, args: dict[str, Any]) -> None:
        """Ask the hub and finish with its answer."""
        try:
            value = await self._parts.link.ask(op, args)
        except FxError as error:
            self.fail(error)
            return
        self.reply(value)

    def reply(self, value: Any) -> None:
        """Finish with a value."""
        self.finish(json.dumps(value, default=_as_text))

    def fail(self, error: FxError) -> None:
        """Finish with an error of ours."""
        self.set_status(self.code(error))
        told = {key: error.details[key] for key in ("problems", "log") if key in error.details}
        self.finish(json.dumps({"error": type(error).__name__, "message": error.message, **told}))

    def code(self, error: FxError) -> int:
        """The HTTP status for an error: what the hub does not know is not found."""
        return _code(error)


def _as_text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes | bytearray) else str(value)


def _code(error: FxError) -> int:
    if isinstance(error, HubUnavailable):
        return 503
    if isinstance(error, AuthError):
        return 502
    if isinstance(error, InfrastructureError):
        return 409
    return 404 if isinstance(error, UsageError) else 500
