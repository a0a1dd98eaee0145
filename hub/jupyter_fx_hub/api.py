"""REST: every operation that has a route, health and metrics. A bearer token, never a cookie; JSON in and out.

A handler class has to say who may call it (`auth`), else the hub does not start.
"""

from __future__ import annotations

import base64
import inspect
import logging
import re
from typing import Any, Final

import msgspec
from tornado.httputil import HTTPServerRequest
from tornado.web import Application, HTTPError, RequestHandler, stream_request_body

from jupyter_fx.errors import (
    AuthError,
    EndpointUnreachable,
    FxError,
    HubUnavailable,
    QuotaExceeded,
    RefLost,
    StorageFull,
    UsageError,
)
from jupyter_fx.transport.websocket_server import LinkHandler
from jupyter_fx_hub import metrics
from jupyter_fx_hub.auth import Identity
from jupyter_fx_hub.links import Door
from jupyter_fx_hub.openapi import document
from jupyter_fx_hub.operations import OPERATIONS, Caller, Operation

__all__ = ["make_application", "status_of"]

log = logging.getLogger(__name__)

BODY_MAX: Final = 1024 * 1024


def status_of(error: FxError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, AuthError):
        return 403
    if isinstance(error, UsageError):
        return 404 if error.message.startswith("no ") else 400
    if isinstance(error, RefLost):
        return 404
    if isinstance(error, StorageFull):
        return 507
    if isinstance(error, QuotaExceeded):
        return 429
    return 503 if isinstance(error, HubUnavailable | EndpointUnreachable) else 500


@stream_request_body
class ApiHandler(RequestHandler):
    """What every handler has: no cookies, errors as JSON, headers that keep browsers from guessing."""

    auth: str | None = None
    """`token`: a bearer token; `none`: anybody may call. Every subclass says which."""

    def initialize(self, door: Door, **_: Any) -> None:
        """Take the hub's parts."""
        self.door = door
        self.received = bytearray()

    def set_default_headers(self) -> None:
        """No caching, no sniffing, no framing; nothing about the server."""
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")

    def check_xsrf_cookie(self) -> None:
        """Cookies are never looked at: there is nothing to forge."""

    def data_received(self, chunk: bytes) -> None:
        """A part of the body: kept for whom `prepare` has let in, so that a stranger's costs no memory."""
        if self.identity is not None:
            self.received += chunk

    async def prepare(self) -> None:
        """Find out who calls, before anything of the body is read."""
        self.identity: Identity | None = None
        if self.auth != "none":
            scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
            if scheme.lower() not in {"bearer", "token"} or not token.strip():
                raise HTTPError(401, "present a token: Authorization: Bearer …")
            try:
                self.identity = await self.door.identify(token.strip())
            except AuthError as error:
                raise HTTPError(401, "%s", error.message) from error

    def fail(self, status: int, etype: str, message: str, details: dict[str, Any] | None = None) -> None:
        """Answer with an error."""
        self.set_status(status)
        self.answer({"error": {"etype": etype, "message": message, "details": details or {}}})

    def answer(self, value: Any) -> None:
        """Answer with JSON; bytes inside become base64."""
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(msgspec.json.encode(value, enc_hook=str))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Errors that Tornado raises."""
        error = (kwargs.get("exc_info") or (None, None, None))[1]
        if isinstance(error, FxError):
            self.fail(status_of(error), type(error).__name__, error.message, error.details)
            return
        if status_code == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        message = self._reason
        if isinstance(error, HTTPError) and error.log_message:
            message = error.log_message % error.args if error.args else error.log_message
        etype = {401: "AuthError", 404: "UsageError", 405: "UsageError", 400: "UsageError"}.get(
            status_code, "InfrastructureError"
        )
        self.fail(status_code, etype, message if status_code < 500 else "the fx hub failed; its log tells more")

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """An FxError is an answer, not a failure."""
        if not isinstance(value, FxError | HTTPError):
            super().log_exception(typ, value, tb)


class OperationHandler(ApiHandler):
    """All operations whose routes have one path: chosen by method."""

    auth = "token"

    def initialize(  # type: ignore[override]  # Tornado gives what the route names
        self, door: Door, operations: dict[str, Operation], **more: Any
    ) -> None:
        """Take the operations of this path by method."""
        super().initialize(door)
        self.operations = operations

    async def _run(self, **path: str) -> None:
        operation = self.operations.get(self.request.method or "")
        if operation is None:
            self.set_header("Allow", ", ".join(sorted(self.operations)))
            raise HTTPError(405, "this path knows %s", ", ".join(sorted(self.operations)))
        assert self.identity is not None
        args = {**_query(self.request, operation), **self._body(), **_path(path, operation)}
        value = self.door.operations.call(Caller(self.identity), operation.name, args)
        if inspect.isawaitable(value):
            value = await value
        self.answer(_plain(value))

    def _body(self) -> dict[str, Any]:
        if not self.received:
            return {}
        try:
            found = msgspec.json.decode(self.received)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError(f"the body is no JSON: {error}") from error
        if not isinstance(found, dict):
            raise UsageError("the body must be a JSON object of arguments")
        return found

    get = post = delete = put = patch = _run


class HealthHandler(ApiHandler):
    """GET /health: 200 when the hub takes work, else 503 and why not."""

    auth = "none"

    def get(self) -> None:
        """Ready, or why not."""
        why = self.door.service.not_now()
        self.set_status(503 if why else 200)
        self.answer({"ready": not why, "why": why})


class MetricsHandler(ApiHandler):
    """GET /metrics."""

    auth = "token"

    def get(self) -> None:
        """Metrics as text."""
        assert self.identity is not None
        self.identity.need("read")
        self.set_header("Content-Type", metrics.CONTENT_TYPE)
        everybody = self.identity.may("admin") and self.identity.user == self.door.user
        self.finish(metrics.render(self.door.service, None if everybody else self.identity.user))


class OpenApiHandler(ApiHandler):
    """GET /api/v1/openapi.json."""

    auth = "none"

    def get(self) -> None:
        """The document, made from the table of operations."""
        self.answer(document())


class NothingHandler(ApiHandler):
    """Every other path."""

    auth = "none"
    identity = None

    async def prepare(self) -> None:
        """Nothing is here."""
        raise HTTPError(404, "nothing is at this path; /api/v1/openapi.json lists what there is")


class Link(LinkHandler):
    """GET /api/v1/link: the WebSocket. It authenticates in its own `prepare`."""

    auth = "token"


def _query(request: HTTPServerRequest, operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, arg in operation.args.items():
        values = request.query_arguments.get(name)
        if not values:
            continue
        text = values[-1].decode("utf-8", "replace")
        if arg.type is int:
            if not re.fullmatch(r"-?\d{1,18}", text):
                raise UsageError(f"{name} must be a number, not {text[:40]!r}")
            found[name] = int(text)
        elif arg.type is bool:
            found[name] = text.lower() in {"1", "true", "yes"}
        else:
            found[name] = text
    return found


def _path(path: dict[str, str], operation: Operation) -> dict[str, Any]:
    """Arguments that stand in the path; a single id for an operation that takes many becomes a list."""
    found: dict[str, Any] = {}
    for name, value in path.items():
        if name not in operation.args and f"{name}s" in operation.args:
            found[f"{name}s"] = [value]
        else:
            found[name] = value
    return found


def _plain(value: Any) -> Any:
    """JSON's view of a value: bytes as text where they are text, else as base64."""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def routes(door: Door, origins: frozenset[str]) -> list[tuple[str, type[RequestHandler], dict[str, Any]]]:
    """All routes: pattern, handler, its arguments."""
    paths: dict[str, dict[str, Operation]] = {}
    for operation in OPERATIONS.values():
        if operation.path:
            paths.setdefault(re.sub(r"\{.*?\}", "{}", operation.path), {})[operation.method] = operation
    found: list[tuple[str, type[RequestHandler], dict[str, Any]]] = [
        (r"/health", HealthHandler, {"door": door}),
        (r"/metrics", MetricsHandler, {"door": door}),
        (r"/api/v1/openapi\.json", OpenApiHandler, {"door": door}),
        (
            r"/api/v1/link",
            Link,
            {"authenticate": door.web_authenticate, "on_channel": door.on_channel, "origins": origins},
        ),
    ]
    for operations in paths.values():
        path = next(iter(operations.values())).path
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]{1,200})", path.replace(".", r"\."))
        found.append((pattern, OperationHandler, {"door": door, "operations": operations}))
    return found


def make_application(door: Door, origins: frozenset[str] = frozenset()) -> Application:
    """The Tornado application. Raises UsageError when a handler does not say who may call it."""
    table = routes(door, origins)
    for pattern, handler, _ in table:
        if getattr(handler, "auth", None) not in {"token", "none"}:
            raise UsageError(
                f"the handler of {pattern} does not declare who may call it (auth): it would be open to anybody"
            )
    return Application(
        [*table],
        default_handler_class=NothingHandler,
        default_handler_args={"door": door},
        log_function=_log_request,
        websocket_ping_interval=None,
    )


def _log_request(handler: RequestHandler) -> None:
    """Method, path (no query) and status: nothing that could hold a secret."""
    level = logging.DEBUG if handler.get_status() < 500 else logging.WARNING
    log.log(level, "%s %s %d", handler.request.method, handler.request.path, handler.get_status())
