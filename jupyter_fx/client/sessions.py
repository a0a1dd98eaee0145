"""SessionHandle: this side of a remote session."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jupyter_fx.errors import FxError
from jupyter_fx.protocol.faults import error_from
from jupyter_fx.protocol.lifecycle import SessionState
from jupyter_fx.protocol.messages import CloseSession, SessionEvent, SessionSpec

if TYPE_CHECKING:
    from jupyter_fx.client.hub import HubClient

__all__ = ["SessionHandle"]

log = logging.getLogger(__name__)


class SessionHandle:
    """A session as last told by the hub. `state`, `reason` and `info` ({pid, python, cwd, warm}) change on the
    client's thread."""

    def __init__(self, client: HubClient, spec: SessionSpec, on_event: Callable[[SessionEvent], None] | None) -> None:
        self.spec = spec
        self.state = SessionState.REQUESTED
        self.reason = ""
        self.info: dict[str, Any] = {}
        self.error: FxError | None = None
        """Why it cannot be had as it was asked for: the hub did not take it, or no worker of its endpoint can ever be
        so; None when it can."""
        self._client, self._on_event = client, on_event

    @property
    def session_id(self) -> str:
        """Its id."""
        return self.spec.session_id

    @property
    def lost(self) -> bool:
        """Whether it ended without anybody asking for it."""
        return self.state == SessionState.LOST

    @property
    def ended(self) -> bool:
        """Whether no cell can run in it any more."""
        return self.state in {SessionState.CLOSED, SessionState.LOST} or self.error is not None

    def close(self, reason: str = "", *, kill: bool = False, when_idle: bool = False) -> None:
        """Close it: cells that have not started are cancelled, its worker and the variables there are gone. Does
        not wait. `when_idle`: not before its cells have ended."""
        self._client.send(CloseSession(self.session_id, reason, kill, when_idle))

    def renew(self) -> dict[str, Any]:
        """Begin its idle time anew; SessionInfo (docs/wire-protocol.md)."""
        found: dict[str, Any] = self._client.request("sessions.renew", {"session_id": self.session_id})
        return found

    def ask(self, what: str, args: dict[str, Any] | None = None, *, within: float = 1.0) -> tuple[dict[str, Any], str]:
        """Ask its worker about its variables (docs/worker-protocol.md, Questions): (answer, "") or ({}, why not).

        Takes `within` seconds and little more, whatever the hub and the worker are at: a worker that runs a cell does
        not answer. Never raises for an answer that is not to be had.
        """
        if self.state != SessionState.OPEN:
            return {}, self.reason or f"it is {self.state.name.lower()}"
        asked = {
            "session_id": self.session_id,
            "what": what,
            "args": {**(args or {}), "within": within * 0.8},
            "within": within,
        }
        try:
            found = self._client.request("sessions.ask", asked, timeout=within, again=False)
        except FxError as error:
            return {}, error.message
        if not found.get("json"):
            return {}, _busy(str(found.get("busy") or ""))
        answer = json.loads(found["json"])
        if answer.get("late"):
            return {}, "the answer took too long"
        return (answer, "") if "error" not in answer else ({}, str(answer["error"]))

    def __repr__(self) -> str:
        return (
            f"<SessionHandle {self.spec.name} {self.session_id[-8:]} at {self.spec.endpoint} {self.state.name.lower()}>"
        )

    def _tell(self, event: SessionEvent) -> None:
        self.state = SessionState(event.state)
        self.reason = event.reason
        self.info = {**self.info, **event.info}
        if event.error is not None:
            self.error = error_from(event.error)
        if self._on_event is not None:
            try:
                self._on_event(event)
            except Exception:
                log.exception("a callback for a session's events failed")

    def _refused(self, error: FxError) -> None:
        self.error = error
        self._tell(SessionEvent(self.session_id, SessionState.CLOSED, error.message))


def _busy(word: str) -> str:
    return {
        "late": "it did not answer in time",
        "starting": "it is being started",
        "opening": "it is being started",
        "unreachable": "its endpoint does not answer",
    }.get(word, "it runs a cell")
