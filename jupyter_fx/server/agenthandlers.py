"""REST about the endpoints of this machine and about which hub it is. What each takes and answers: docs/server-api.md.

What may wait does so on threads.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import msgspec
from jupyter_server.auth.decorator import authorized
from tornado import web

from jupyter_fx import __version__
from jupyter_fx.embedded.local import NAME as LOCAL
from jupyter_fx.errors import FxError, HubUnavailable, InfrastructureError, UsageError
from jupyter_fx.server.base import Handler, Parts

__all__ = ["handlers"]

UP_WITHIN: Final = 20.0
"""Seconds that an agent is given to link to the hub before its start is answered."""
LIVES: Final = 3.0
"""Seconds after which an agent of another hub is taken to be well."""
Sections = dict[str, dict[str, Any]]


class Checked(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST agent-check."""

    values: Sections
    name: str = ""


class Created(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST agents."""

    name: str
    values: Sections


class Configured(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST agents/NAME/configure."""

    values: Sections


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """Query of GET agent-form."""

    name: str = ""


class LogPart(msgspec.Struct, forbid_unknown_fields=True):
    """Query of GET agents/NAME/log."""

    lines: int = 50


class SignIn(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST hub/sign-in. No answer, log or address ever has the token."""

    address: str
    token: str = ""


class Leave(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST hub/leave."""

    forget: bool = False


class _Handler(Handler):
    def code(self, error: FxError) -> int:
        """What was asked for cannot be done as asked."""
        return 400 if isinstance(error, UsageError) else super().code(error)


class FormHandler(_Handler):
    """GET agent-form?name=: what a form is made from."""

    @web.authenticated
    @authorized("write")  # type: ignore[untyped-decorator]  # a configuration holds what not everybody who may look at tasks should see
    async def get(self) -> None:
        """{schema, values, fitting, slurm, problem}."""
        name = self.query(Wanted).name
        try:
            self.reply(await asyncio.to_thread(self._parts.agents.form, name))
        except FxError as error:
            self.fail(error)


class CheckHandler(_Handler):
    """POST agent-check: what is wrong with values as they are typed."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """{problems: {field: sentence}}."""
        body = self.body(Checked)
        try:
            self.reply({"problems": await asyncio.to_thread(self._parts.agents.problems, body.values, body.name)})
        except FxError as error:
            self.fail(error)


class AgentsHandler(_Handler):
    """GET agents; POST agents: make one, at the hub that this server is linked to."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """{agents: [...]}."""
        self.reply({"agents": await asyncio.to_thread(self._parts.agents.here)})

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """{name}: it is enrolled, and not started."""
        body, parts = self.body(Created), self._parts
        try:
            # First what is free: a code is good once.
            if problems := await asyncio.to_thread(parts.agents.problems, body.values, body.name or " "):
                field, sentence = next(iter(problems.items()))
                raise UsageError(f"{field}: {sentence}", problems=problems)
            client = await parts.link.live()
            try:
                code = (await parts.link.ask("endpoints.code", {"name": body.name}))["code"]
            except UsageError as error:
                raise UsageError(error.message, problems={"name": error.message}) from error
            await asyncio.to_thread(parts.agents.create, body.name, body.values, lambda: (client.address, code))
        except FxError as error:
            self.fail(error)
            return
        parts.overview.changed()
        self.set_status(201)
        self.reply({"name": body.name})


class ActionHandler(_Handler):
    """POST agents/NAME/configure, start, stop or restart."""

    @web.authenticated
    @authorized
    async def post(self, name: str, action: str) -> None:
        """{changed} of configure; {state, why, log} of start and restart; {stopped}."""
        body = self.body(Configured) if action == "configure" else self.body(Nothing)
        try:
            answer = await getattr(self, f"_{action}")(name, body)
        except FxError as error:
            self._parts.overview.changed()
            self.fail(error)
            return
        self._parts.overview.changed()
        self.reply(answer)

    async def _configure(self, name: str, body: Configured) -> dict[str, Any]:
        return {"changed": await asyncio.to_thread(self._parts.agents.configure, name, body.values)}

    async def _stop(self, name: str, _body: Any) -> dict[str, Any]:
        return {"stopped": await asyncio.to_thread(self._parts.agents.stop, name)}

    async def _restart(self, name: str, body: Any) -> dict[str, Any]:
        await asyncio.to_thread(self._parts.agents.stop, name, for_good=False)
        return await self._start(name, body)

    async def _start(self, name: str, _body: Any) -> dict[str, Any]:
        parts = self._parts
        if name == LOCAL and parts.choice.where == "own":
            await parts.link.start()
        else:
            await asyncio.to_thread(parts.agents.start, name)
        begin = time.monotonic()
        told: dict[str, Any] = {}
        while time.monotonic() - begin < UP_WITHIN:
            try:
                told = await parts.link.ask("endpoints.get", {"name": name})
            except HubUnavailable:
                told = {}
            except FxError:  # it is another hub's
                if time.monotonic() - begin > LIVES:
                    break
            if told.get("state") == "ONLINE":
                break
            if not await asyncio.to_thread(parts.agents.running, name):
                log = await asyncio.to_thread(parts.agents.log, name)
                raise InfrastructureError(f"the agent of {name} ended: {(log or ['it wrote nothing'])[-1]}", log=log)
            await asyncio.sleep(0.3)
        linked = told.get("state") == "ONLINE"
        log = [] if linked else await asyncio.to_thread(parts.agents.log, name)
        return {"state": told.get("state", ""), "why": told.get("why", ""), "log": log}


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """An empty body."""


class AgentLogHandler(_Handler):
    """GET agents/NAME/log?lines=: the end of an agent's log."""

    @web.authenticated
    @authorized
    async def get(self, name: str) -> None:
        """{lines}."""
        part = self.query(LogPart)
        if not 1 <= part.lines <= 1000:
            raise web.HTTPError(400, "lines is a number from 1 to 1000")
        try:
            self.reply({"lines": await asyncio.to_thread(self._parts.agents.log, name, part.lines)})
        except FxError as error:
            self.fail(error)


class DeleteHandler(_Handler):
    """POST endpoints/NAME/delete: the hub forgets it, and this machine, if it is one of its own."""

    @web.authenticated
    @authorized
    async def post(self, name: str) -> None:
        """{}."""
        self.body(Nothing)
        parts = self._parts
        try:
            mine = {one["name"]: one for one in await asyncio.to_thread(parts.agents.here)}.get(name)
            if mine is not None and mine["ssh"]:
                raise UsageError(f"{name} runs on another host: `jupyter fx endpoint delete {name}` removes it there")
            try:
                known = await parts.link.ask("endpoints.get", {"name": name})
            except UsageError:
                if mine is None:
                    raise
                known = {}
            if mine is not None:
                await asyncio.to_thread(parts.agents.stop, name)
            if known and (mine is None or known["endpoint_id"] == mine["endpoint_id"]):
                await parts.link.ask("endpoints.delete", {"name": name})
            if mine is not None:
                await asyncio.to_thread(parts.agents.delete, name)
        except FxError as error:
            self.fail(error)
            return
        parts.overview.changed()
        self.reply({})


class SignInHandler(_Handler):
    """POST hub/sign-in {"address": …, "token": …}: another hub is this server's from now on."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """{user}."""
        body, parts = self.body(SignIn), self._parts
        try:
            user = await parts.link.turn(lambda: parts.choice.sign_in(body.address, body.token))
        except FxError as error:
            self.fail(error)
            return
        except TimeoutError:
            self.fail(HubUnavailable(f"{body.address} did not answer in time: look whether the address is right"))
            return
        parts.overview.forget()
        self.reply({"user": user})


class LeaveHandler(_Handler):
    """POST hub/leave {"forget": false}: back to the hub that was configured, else to this machine's own."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Status."""
        body, parts = self.body(Leave), self._parts
        try:
            await parts.link.turn(lambda: parts.choice.leave(forget=body.forget))
        except FxError as error:
            self.fail(error)
            return
        except TimeoutError:
            self.fail(HubUnavailable("this server is still looking for its fx hub: try again in a moment"))
            return
        parts.overview.forget()
        self.reply({**parts.link.status(), "version": __version__})


def handlers(parts: Parts) -> list[tuple[str, type[Any], dict[str, Any]]]:
    """The rows for the server's table of handlers."""
    settings = {"parts": parts}
    name = "([a-z0-9][a-z0-9-]{0,62})"
    return [
        ("/jupyter-fx/agent-form", FormHandler, settings),
        ("/jupyter-fx/agent-check", CheckHandler, settings),
        ("/jupyter-fx/agents", AgentsHandler, settings),
        (f"/jupyter-fx/agents/{name}/(configure|start|stop|restart)", ActionHandler, settings),
        (f"/jupyter-fx/agents/{name}/log", AgentLogHandler, settings),
        (f"/jupyter-fx/endpoints/{name}/delete", DeleteHandler, settings),
        ("/jupyter-fx/hub/sign-in", SignInHandler, settings),
        ("/jupyter-fx/hub/leave", LeaveHandler, settings),
    ]
