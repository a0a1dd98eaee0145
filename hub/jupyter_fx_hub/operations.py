"""The operations of docs/wire-protocol.md ("Requests"): written once, asked by links and by REST.

Each belongs to a caller; other users' ids answer exactly like missing ones.
"""

from __future__ import annotations

import codecs
import heapq
import inspect
from collections.abc import Callable
from typing import Any, Final

from jupyter_fx import __version__
from jupyter_fx.errors import (
    AuthError,
    EndpointUnreachable,
    FxError,
    HubUnavailable,
    InfrastructureError,
    RefLost,
    UsageError,
)
from jupyter_fx.protocol.lifecycle import EndpointState, TaskState
from jupyter_fx.protocol.messages import EventKind, Kind
from jupyter_fx_hub import auth, infos
from jupyter_fx_hub.groupops import GroupOperations
from jupyter_fx_hub.optable import OPERATIONS, Arg, Caller, Operation, operation
from jupyter_fx_hub.service import Service
from jupyter_fx_hub.sessionops import SessionOperations
from jupyter_fx_hub.state import tasks as task_state
from jupyter_fx_hub.state.io import DeleteEndpoint, EndpointKnown
from jupyter_fx_hub.stops import stop
from jupyter_fx_hub.store.ops import DeleteTasks, GrantBlob, RevokeToken
from jupyter_fx_hub.store.rows import TaskRow

__all__ = ["OPERATIONS", "Arg", "Caller", "Operation", "Operations"]


_TASK: Final = Arg(str, "id of a task, a unique end of it (6 digits or more), or its name", needed=True)
_TASKS: Final = Arg(list, "ids of tasks", needed=True)
_NAME: Final = Arg(str, "name or id of an endpoint", needed=True)
_INT_MAX: Final = 2**62
"""What a database and every language can hold."""
_PIECE: Final = 256 * 1024
DETAILS_MAX: Final = 200
"""Tasks of one page whose submissions are read."""
RUNNING_MAX: Final = 10_000
"""Ids of running tasks on one page: a third of a frame."""
_REF: Final = Arg(str, "id of a reference", needed=True)


class Operations(SessionOperations, GroupOperations):
    """What callers may ask of this hub."""

    def __init__(self, service: Service, *, user: str, stop: Callable[[], None]) -> None:
        GroupOperations.__init__(self)
        self.service, self.user, self._stop = service, user, stop
        self.on_revoked: Callable[[str], None] = lambda token_id: None
        """Called with the id of a token that is worth nothing any more."""

    def call(self, caller: Caller, op: str, args: dict[str, Any]) -> Any:
        """Carry out an operation: its value, or an awaitable of it; raises FxError."""
        found = OPERATIONS.get(op)
        if found is None:
            raise UsageError(f"no operation {op[:60]!r}")
        if found.scope:
            caller.identity.need(found.scope)
        for name, arg in found.args.items():
            value = args.get(name)
            if value is None:
                if arg.needed:
                    raise UsageError(f"{op} needs {name}: {arg.about}")
            elif not isinstance(value, arg.type) and not (arg.type is list and isinstance(value, tuple)):
                raise UsageError(f"{name} of {op} must be {_plain(arg.type)}, not {_plain(type(value))}")
            elif isinstance(value, int) and not -_INT_MAX <= value <= _INT_MAX:
                raise UsageError(f"{name} of {op} is out of bounds")
        return found.run(self, caller, args)

    async def acall(self, caller: Caller, op: str, args: dict[str, Any]) -> Any:
        """As `call`, waited for."""
        value = self.call(caller, op, args)
        return await value if inspect.isawaitable(value) else value

    async def row(self, caller: Caller, text: str) -> TaskRow:
        """The task that is meant, or UsageError. What was told before this question is known to it."""
        await self.service.flushed()
        rows = await self.service.store.read("find_tasks", caller.user, text, 2) if text else []
        if not rows:
            raise UsageError(f"no task {text[:64]!r}: it was deleted, or its id is wrong")
        if len(rows) > 1 and rows[0].task_id != text and rows[0].name != text:
            raise UsageError(f"{text!r} may be {rows[0].task_id} or {rows[1].task_id}: give more digits")
        row: TaskRow = rows[0]
        return row

    # --- the table ---

    @operation("whoami", "", "GET /api/v1/whoami")
    def whoami(self, caller: Caller, args: dict[str, Any]) -> Any:
        """Who the caller is to this hub."""
        boot = self.service.store.hub_boot
        return {"user": caller.user, "hub_boot": boot, "version": __version__, "scopes": sorted(caller.identity.scopes)}

    @operation(
        "tasks.list",
        "read",
        "GET /api/v1/tasks",
        state=Arg(str, "name of a state, or several with commas; `active`: all that are not at their end"),
        limit=Arg(int, "at most so many (1000)"),
        before=Arg(int, "cursor: `next` of the page before"),
        group=Arg(str, "only of this map or submission"),
        session=Arg(str, "only of this session"),
        name=Arg(str, "only of this name"),
        kernel=Arg(str, "only cells of this kernel's sessions"),
        details=Arg(bool, "with `origin` of cells that have ended, too; at most 200 tasks then"),
    )
    async def tasks_list(self, caller: Caller, args: dict[str, Any]) -> Any:
        """Tasks of the caller, newest first."""
        details = bool(args.get("details"))
        options = {key: args.get(key) for key in ("before", "group", "session", "kernel")}
        options["called"] = args.get("name")
        options["limit"] = min(args.get("limit") or 100, DETAILS_MAX if details else 1000)
        if args.get("state"):
            options["states"] = infos.states(args["state"])
        rows, cursor = await self.service.store.read("tasks", caller.user, **options)
        specs = [await self._spec(caller, row) if details else None for row in rows]
        told = [infos.of_row(self._core, row, spec) for row, spec in zip(rows, specs, strict=True)]
        return {"tasks": told, "next": cursor}

    async def _spec(self, caller: Caller, row: TaskRow) -> bytes | None:
        """What was submitted, of a cell that is not in memory any more."""
        live = self._core.tasks.get(row.task_id)
        if row.kind != Kind.CELL or (live is not None and live.spec is not None):
            return None
        spec: bytes | None = await self.service.store.read("task_spec", caller.user, row.task_id)
        return spec

    @operation("tasks.running", "read", after=Arg(str, "cursor: `next` of the page before"))
    def tasks_running(self, caller: Caller, args: dict[str, Any]) -> Any:
        """Ids of the caller's tasks that run now, in their order, a page at a time."""
        endpoints, after = self._core.owned.get(caller.user, []), args.get("after") or ""
        running = (
            t.task_id
            for e in endpoints
            for t in e.leases.values()
            if t.state is TaskState.RUNNING and t.task_id > after
        )
        page = heapq.nsmallest(RUNNING_MAX + 1, running)
        return {"tasks": page[:RUNNING_MAX], "next": page[RUNNING_MAX - 1] if len(page) > RUNNING_MAX else ""}

    @operation("tasks.get", "read", "GET /api/v1/tasks/{task_id}", task_id=_TASK)
    async def tasks_get(self, caller: Caller, args: dict[str, Any]) -> Any:
        """One task."""
        row = await self.row(caller, args["task_id"])
        spec = await self.service.store.read("task_spec", caller.user, row.task_id)
        return infos.of_row(self._core, row, spec)

    @operation(
        "tasks.events",
        "read",
        "GET /api/v1/tasks/{task_id}/events",
        task_id=_TASK,
        limit=Arg(int, "at most so many (1000)"),
        **{"from": Arg(int, "number of the first event")},
    )
    async def tasks_events(self, caller: Caller, args: dict[str, Any]) -> Any:
        """The story of a task: [[n, kind, t, data], ...]."""
        row = await self.row(caller, args["task_id"])
        start, limit = max(0, args.get("from") or 0), max(1, min(args.get("limit") or 1000, 1000))
        events, cursor = await self.service.store.read("events", caller.user, row.task_id, start, limit)
        return {"events": [list(event) for event in events], "next": cursor}

    @operation(
        "tasks.log",
        "read",
        "GET /api/v1/tasks/{task_id}/log",
        task_id=_TASK,
        stream=Arg(str, "`stdout` or `stderr`; both when absent"),
        offset=Arg(int, "bytes to skip"),
    )
    async def tasks_log(self, caller: Caller, args: dict[str, Any]) -> Any:
        """What a task has printed, as far as the hub keeps it."""
        row = await self.row(caller, args["task_id"])
        stream = args.get("stream") or ""
        kinds = {"": None, "stdout": int(EventKind.STDOUT), "stderr": int(EventKind.STDERR)}
        if stream not in kinds:
            raise UsageError(f"{stream[:40]!r} is no stream: stdout and stderr are")
        found = await self.service.store.read(
            "log_text", caller.user, row.task_id, kinds[stream], max(0, args.get("offset") or 0)
        )
        decoder, more = codecs.getincrementaldecoder("utf-8")("replace"), found["next"] is not None
        told = {**found, "text": decoder.decode(found["text"], final=not more)}
        if more:
            told["next"] -= len(decoder.getstate()[0])  # a character that ends on the next page is told there
        return told

    @operation(
        "tasks.output",
        "read",
        "",
        task_id=_TASK,
        stream=Arg(str, "`stdout` or `stderr`", needed=True),
        offset=Arg(int, "bytes to skip"),
        length=Arg(int, "at most so many bytes (256 KiB)"),
    )
    async def tasks_output(self, caller: Caller, args: dict[str, Any]) -> Any:
        """A piece of the complete text of a task, from the endpoint that has it: {data: bytes, size: of the whole}."""
        row = await self.row(caller, args["task_id"])
        if args["stream"] not in {"stdout", "stderr"}:
            raise UsageError(f"{args['stream'][:40]!r} is no stream: stdout and stderr are")
        port = self.service.agents.get(row.endpoint_id)
        if port is None:
            raise EndpointUnreachable(
                "the complete log is at the endpoint, which is not online: start it, or read what the fx hub keeps"
            )
        asked = {"task_id": row.task_id, "attempt": row.attempt, "stream": args["stream"]}
        asked |= {"offset": max(0, args.get("offset") or 0), "length": min(args.get("length") or _PIECE, _PIECE)}
        return await port.request("log.read", asked, 30.0)

    @operation(
        "tasks.cancel",
        "run",
        "POST /api/v1/tasks/{task_id}/cancel",
        task_ids=_TASKS,
        mode=Arg(int, "0 cancel, 1 interrupt, 2 kill"),
        reason=Arg(str, "why, for its outcome"),
    )
    async def tasks_cancel(self, caller: Caller, args: dict[str, Any]) -> Any:
        """Stop tasks; how many were asked to, and why others that run are not. 400 when none of them can be stopped."""
        rows = [await self.row(caller, str(text)) for text in args["task_ids"][:10_000]]
        live = [row.task_id for row in rows if row.state < TaskState.SUCCEEDED]
        return await stop(self.service, caller.user, live, args.get("mode") or 0, args.get("reason") or "")

    @operation("tasks.payload", "run", "", task_id=_TASK)
    async def tasks_payload(self, caller: Caller, args: dict[str, Any]) -> Any:
        """What was submitted as a task, for submitting it again: {payload} or {blob, size}, kind, inputs, parts."""
        row = await self.row(caller, args["task_id"])
        data = await self.service.store.read("task_spec", caller.user, row.task_id)
        spec = infos.spec_of(data) if data else None
        if spec is None:
            raise UsageError(f"what was submitted as task {row.task_id[-8:]} is not kept any more")
        options = spec.options
        told: dict[str, Any] = {"kind": int(spec.kind), "inputs": list(options.inputs) if options is not None else []}
        told["parts"] = [[part.digest, part.size] for part in options.parts] if options is not None else []
        if options is not None and options.blob is not None:
            return {**told, "blob": options.blob.digest, "size": options.blob.size}
        return {**told, "payload": bytes(spec.payload)}

    @operation("tasks.delete", "run", "DELETE /api/v1/tasks/{task_id}", task_ids=_TASKS)
    async def tasks_delete(self, caller: Caller, args: dict[str, Any]) -> Any:
        """Delete tasks that are at their end, with their story and result."""
        rows = [await self.row(caller, str(text)) for text in args["task_ids"][:10_000]]
        unfinished = [row.task_id for row in rows if row.state < TaskState.SUCCEEDED]
        if unfinished:
            raise UsageError(f"task {unfinished[0]} is not at its end: cancel it first")
        self.service.write(DeleteTasks(caller.user, [row.task_id for row in rows]))
        await self.service.flushed()
        for row in rows:
            self._core.tasks.pop(row.task_id, None)
        return {"deleted": len(rows)}

    def endpoint(self, caller: Caller, name: str) -> Any:
        """The endpoint of that name or id, or UsageError naming the nearest ones."""
        core = self._core
        found = core.endpoints.get(core.names.get((caller.user, name), name))
        if found is None or found.owner != caller.user or found.state is EndpointState.DELETED:
            raise UsageError(task_state.nearest(core, caller.user, name))
        return found

    @operation("endpoints.list", "read", "GET /api/v1/endpoints")
    def endpoints_list(self, caller: Caller, args: dict[str, Any]) -> Any:
        """Endpoints of the caller."""
        return infos.of_endpoints(self._core, self._core.owned.get(caller.user, []))

    @operation("endpoints.get", "read", "GET /api/v1/endpoints/{name}", name=_NAME)
    def endpoints_get(self, caller: Caller, args: dict[str, Any]) -> Any:
        """One endpoint."""
        return infos.of_endpoints(self._core, [self.endpoint(caller, args["name"])])[0]

    @operation("endpoints.code", "endpoints", "POST /api/v1/endpoints", name=_NAME)
    async def endpoints_code(self, caller: Caller, args: dict[str, Any]) -> Any:
        """A code, good once and for 15 minutes, with which an endpoint of this name enrols."""
        if (caller.user, args["name"]) in self._core.names:
            raise UsageError(f"there is an endpoint {args['name']!r} already: delete it first, or choose another name")
        now = self.service.clock.wall()
        code, op = auth.new_code(caller.user, args["name"], now)
        self.service.write(op)
        await self.service.flushed()
        return {"code": code, "expires": now + auth.CODE_LIFETIME}

    @operation("endpoints.delete", "endpoints", "DELETE /api/v1/endpoints/{name}", name=_NAME)
    async def endpoints_delete(self, caller: Caller, args: dict[str, Any]) -> Any:
        """Delete an endpoint: its queued tasks are cancelled, its credential is worth nothing any more."""
        self.service.handle(DeleteEndpoint(self.endpoint(caller, args["name"]).endpoint_id))
        await self.service.flushed()
        return {}

    async def enrol(self, args: dict[str, Any]) -> Any:
        """Redeem a code: {endpoint_id, credential}. The one operation that needs no token."""
        code, name, info = str(args.get("code") or ""), str(args.get("name") or ""), args.get("info")
        info = info if isinstance(info, dict) else {}
        now = self.service.clock.wall()
        store = self.service.store
        found = await store.read("code", auth.hash_secret(code), now)
        endpoint_id, credential, op = auth.enrol(code, found, name, info, now, EndpointState.ENROLLED)
        self.service.write(op)
        await self.service.flushed()
        row = await store.read("endpoint", op.endpoint.owner, endpoint_id)
        if row is None:
            raise AuthError(
                "this enrolment code was used by another agent at the same moment, or the name is taken: get a new one"
            )
        self.service.handle(
            EndpointKnown(row.endpoint_id, row.owner, row.name, row.created, row.state, row.seen, row.info)
        )
        return {"endpoint_id": endpoint_id, "credential": credential, "name": row.name}

    @operation(
        "endpoints.enrol",
        "",
        code=Arg(str, "the code", needed=True),
        name=Arg(str, "its name"),
        info=Arg(dict, "about it"),
    )
    async def endpoints_enrol(self, caller: Caller, args: dict[str, Any]) -> Any:
        """Redeem an enrolment code."""
        return await self.enrol(args)

    @operation("tokens.list", "read", "GET /api/v1/tokens")
    async def tokens_list(self, caller: Caller, args: dict[str, Any]) -> Any:
        """Tokens of the caller that are worth something, without their secrets."""
        now = self.service.clock.wall()
        return [
            {"token_id": t.token_id, "note": t.note, "scopes": t.scopes, "created": t.created, "expires": t.expires}
            for t in await self.service.store.read("tokens", caller.user)
            if not t.revoked and not 0 < t.expires <= now
        ]

    @operation(
        "tokens.create",
        "run",
        "POST /api/v1/tokens",
        scopes=Arg(list, "what it may: read, run, endpoints, admin; at most what the caller may (default: read, run)"),
        lifetime=Arg(int, f"seconds that it is good for (default {auth.TOKEN_LIFETIME:.0f}; 0: until it is revoked)"),
        note=Arg(str, "what it is for"),
    )
    async def tokens_create(self, caller: Caller, args: dict[str, Any]) -> Any:
        """A new token of the caller's: {token_id, token, expires}. The token is told this once."""
        scopes = [str(scope) for scope in args.get("scopes") or ("read", "run")]
        lifetime = args.get("lifetime")
        if lifetime is not None and lifetime < 0:
            raise UsageError(f"a token cannot be good for {lifetime} seconds: give a positive number, or 0")
        token, op = auth.new_token(
            caller.user,
            scopes,
            self.service.clock.wall(),
            auth.TOKEN_LIFETIME if lifetime is None else lifetime,
            args.get("note") or "",
        )
        for scope in scopes:
            caller.identity.need(scope)
        self.service.write(op)
        await self.service.flushed()
        return {"token_id": op.token_id, "token": token, "expires": op.expires}

    @operation(
        "tokens.revoke", "run", "DELETE /api/v1/tokens/{token_id}", token_id=Arg(str, "id of a token", needed=True)
    )
    async def tokens_revoke(self, caller: Caller, args: dict[str, Any]) -> Any:
        """Make a token of the caller's worthless; links that came with it are closed at once."""
        wanted = args["token_id"]
        if not any(t.token_id == wanted for t in await self.service.store.read("tokens", caller.user)):
            raise UsageError(f"no token {wanted[:32]!r}: `tokens.list` names yours")
        self.service.write(RevokeToken(caller.user, wanted, self.service.clock.wall()))
        await self.service.flushed()
        self.on_revoked(wanted)
        return {}

    @operation(
        "functions.get", "read", "GET /api/v1/functions/{digest}", digest=Arg(str, "digest of a function", needed=True)
    )
    async def functions_get(self, caller: Caller, args: dict[str, Any]) -> Any:
        """What is known of a function."""
        found = await self.service.store.read("function", caller.user, args["digest"])
        if found is None:
            raise UsageError(f"no function {args['digest'][:16]!r}")
        size = found.blob.size if found.blob is not None else len(found.payload or b"")
        return {"digest": found.digest, "name": found.name, "created": found.created, "size": size}

    async def _ask_agents(self, caller: Caller, op: str, ref_id: str) -> tuple[str, Any]:
        """Ask the caller's endpoints that are online for a reference; the first that has it answers: (its id, what)."""
        last: FxError | None = None
        away = ""
        for endpoint in self._core.owned.get(caller.user, []):
            port = self.service.agents.get(endpoint.endpoint_id)
            if port is None:
                away = endpoint.name
                continue
            try:
                return endpoint.endpoint_id, await port.request(op, {"ref_id": ref_id, "owner": caller.user}, 600.0)
            except FxError as error:
                last = error
        if away:
            raise HubUnavailable(f"endpoint {away}, which may hold this value, is not online: it waits there")
        raise last or RefLost("there is no endpoint any more that could hold this value")

    @operation("refs.fetch", "read", "POST /api/v1/refs/{ref_id}/fetch", ref_id=_REF)
    async def refs_fetch(self, caller: Caller, args: dict[str, Any]) -> Any:
        """Have the endpoint put a reference's value at the hub: {digest, size}."""
        endpoint_id, found = await self._ask_agents(caller, "ref.upload", args["ref_id"])
        digest = str(found.get("digest")) if isinstance(found, dict) else ""
        # An agent may say any digest: only what it has put itself, every byte of it, is its owner's to read.
        size = await self.service.store.read("blob_size", f"endpoint:{endpoint_id}", digest)
        if size is None:
            raise InfrastructureError("the endpoint named a value that it has not put at the fx hub: ask again")
        self.service.write(GrantBlob(caller.user, digest, size, self.service.clock.wall()))
        await self.service.flushed()
        return {"digest": digest, "size": size}

    @operation("refs.drop", "run", "DELETE /api/v1/refs/{ref_id}", ref_id=_REF)
    async def refs_drop(self, caller: Caller, args: dict[str, Any]) -> Any:
        """Forget a reference's value."""
        await self._ask_agents(caller, "ref.drop", args["ref_id"])
        return {}

    @operation("hub.stop", "admin", "POST /api/v1/stop")
    def hub_stop(self, caller: Caller, args: dict[str, Any]) -> Any:
        """Stop this hub. What it has acknowledged is on its disk."""
        if caller.user != self.user:
            raise AuthError("only its owner may stop this hub")
        self.service.loop.call_later(0.1, self._stop)
        return {}


def _plain(kind: type) -> str:
    return {
        str: "text",
        int: "a number",
        float: "a number",
        list: "a list",
        bool: "true or false",
        dict: "an object",
    }.get(kind, kind.__name__)
