"""The operations about sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyter_fx.errors import HubUnavailable, UsageError
from jupyter_fx.protocol.lifecycle import SessionState
from jupyter_fx.protocol.messages import CloseSession
from jupyter_fx_hub import infos
from jupyter_fx_hub.optable import Arg, Caller, operation
from jupyter_fx_hub.state.io import FromClient, RenewSession, Tick
from jupyter_fx_hub.state.records import Session

if TYPE_CHECKING:
    from jupyter_fx_hub.service import Service

__all__ = ["SessionOperations"]


class SessionOperations:
    """What callers may ask about sessions; a part of `Operations`."""

    service: Service

    @property
    def _core(self) -> Any:
        return self.service.state.core

    def _own(self, caller: Caller, session_id: str) -> Session:
        session: Session | None = self._core.sessions.get(session_id)
        if session is None or session.owner != caller.user or session.state >= SessionState.CLOSED:
            raise UsageError(f"no session {session_id[-8:]!r}: it was closed, or its id is wrong")
        return session

    @operation(
        "sessions.list",
        "read",
        "GET /api/v1/sessions",
        kernel_id=Arg(str, "only of this kernel"),
        ended=Arg(bool, "those that have ended, the newest first (1000 at most), and no others"),
    )
    async def sessions_list(self, caller: Caller, args: dict[str, Any]) -> Any:
        """Sessions of the caller that have not ended, or that have."""
        wanted = args.get("kernel_id")
        if args.get("ended"):
            rows = await self.service.store.read("sessions", caller.user, wanted, live=False)
            names = {e.endpoint_id: e.name for e in self._core.endpoints.values()}
            ended = [row for row in rows if row.state >= SessionState.CLOSED]
            return [infos.of_ended(row, names.get(row.endpoint_id, "")) for row in ended]
        self.service.handle(Tick())  # what is told of times is told as of now
        return [
            infos.of_session(self._core, s)
            for s in self._core.sessions.values()
            if s.owner == caller.user and s.state < SessionState.CLOSED and (not wanted or s.spec.kernel_id == wanted)
        ]

    @operation(
        "sessions.renew",
        "run",
        "POST /api/v1/sessions/{session_id}/renew",
        session_id=Arg(str, "id of a session", needed=True),
    )
    async def sessions_renew(self, caller: Caller, args: dict[str, Any]) -> Any:
        """Begin a session's idle time anew; its SessionInfo."""
        session = self._own(caller, args["session_id"])
        self.service.handle(RenewSession(session.spec.session_id))
        return infos.of_session(self._core, session)

    @operation(
        "sessions.close",
        "run",
        "DELETE /api/v1/sessions/{session_id}",
        session_id=Arg(str, "id of a session"),
        kernel_id=Arg(str, "or: all of this kernel"),
        epoch=Arg(str, "with kernel_id: only of this start of it"),
        reason=Arg(str, "why"),
        kill=Arg(bool, "kill its worker"),
        when_idle=Arg(bool, "not before its cells have ended"),
    )
    async def sessions_close(self, caller: Caller, args: dict[str, Any]) -> Any:
        """Close sessions; how many were open."""
        wanted, kernel_id, epoch = args.get("session_id"), args.get("kernel_id"), args.get("epoch")
        if not wanted and not kernel_id:
            raise UsageError("sessions.close needs session_id or kernel_id")
        found = [
            s
            for s in self._core.sessions.values()
            if s.owner == caller.user
            and (
                s.spec.session_id == wanted
                if wanted
                else s.spec.kernel_id == kernel_id and (not epoch or s.spec.epoch == epoch)
            )
        ]
        if wanted and not found:
            raise UsageError(f"no session {wanted[-8:]!r}: it was closed, or its id is wrong")
        count = sum(1 for s in found if s.state < SessionState.CLOSED)
        for session in found:
            message = CloseSession(
                session.spec.session_id,
                args.get("reason") or "",
                bool(args.get("kill")),
                bool(args.get("when_idle")),
            )
            self.service.handle(FromClient(0, caller.user, message))
        await self.service.flushed()
        return {"closed": count}

    @operation(
        "sessions.ask",
        "run",
        session_id=Arg(str, "id of a session", needed=True),
        what=Arg(str, "`who`, `complete` or `inspect`", needed=True),
        args=Arg(dict, "what the question is about (docs/worker-protocol.md, Questions)"),
        within=Arg(float, "seconds that its worker has for the answer"),
    )
    async def sessions_ask(self, caller: Caller, args: dict[str, Any]) -> Any:
        """Ask a session's idle worker about its variables: {json} is its answer; {busy} says why there is none."""
        session = self._own(caller, args["session_id"])
        if session.state is not SessionState.OPEN:
            return {"busy": session.state.name.lower()}
        port = self.service.agents.get(session.endpoint_id)
        if port is None:
            return {"busy": "unreachable"}
        within = min(max(args.get("within") or 1.0, 0.01), 30.0)
        question = {
            "session_id": session.spec.session_id,
            "what": args["what"],
            "args": args.get("args") or {},
            "within": within,
        }
        try:
            return await port.request("session.ask", question, within + 1.0)
        except HubUnavailable:
            return {"busy": "late"}
