"""The agent's books of sessions: which may be opened, which are, what is said about them. Pure."""

from __future__ import annotations

from typing import Any, Final

from jupyter_fx.endpoint import journal_kinds as kinds
from jupyter_fx.endpoint.books import Books
from jupyter_fx.endpoint.engines import limits
from jupyter_fx.endpoint.events import Record, Send, Tell, Write
from jupyter_fx.endpoint.fleet import Fleet
from jupyter_fx.endpoint.need import Need
from jupyter_fx.endpoint.specs import is_spec, short
from jupyter_fx.endpoint.talk import CloseWorker, OpenWorker, SessionGone, SessionUp
from jupyter_fx.protocol.lifecycle import SessionState, move
from jupyter_fx.protocol.messages import ErrorInfo, SessionClosed, SessionEvent, SessionSpec

__all__ = ["SessionBook"]


_OVER: Final = 10_000


class _Session:
    __slots__ = ("manager", "owner", "spec", "state", "waits")

    def __init__(self, spec: SessionSpec, owner: str) -> None:
        self.spec = spec
        self.owner = owner
        self.state: SessionState = move(None, SessionState.REQUESTED)
        self.waits = False
        """Whether it has cells and found no room."""
        self.manager = ""
        """Where it lives, where there are many."""


class SessionBook:
    """`most`: sessions that may be open at once; `use_cwd`: whether one starts in the directory that its notebook
    names. With a `fleet` a session takes the room of one of its managers whose block lasts for at least `floor` seconds
    more; without one it is beyond the pool.
    """

    def __init__(
        self, most: int, *, use_cwd: bool, books: Books, fleet: Fleet | None = None, floor: float = 0.0
    ) -> None:
        self.most = most
        self._use_cwd = use_cwd
        self._books = books
        self._fleet = fleet
        self._floor = floor
        self._sessions: dict[str, _Session] = {}
        self._over: dict[str, None] = {}
        """Those that ended here: a demand that was on its way does not open them once more, with nothing in them."""
        self.why = ""
        """Why a session that has something to do is not open."""

    def __len__(self) -> int:
        return sum(1 for one in self._sessions.values() if one.state in {SessionState.OPENING, SessionState.OPEN})

    def open_ids(self) -> list[str]:
        """Those that take cells."""
        return [key for key, one in self._sessions.items() if one.state is SessionState.OPEN]

    def takes_cells(self, session_id: str) -> bool:
        """Whether a cell of this session can be placed."""
        one = self._sessions.get(session_id)
        return one is not None and one.state in {SessionState.OPENING, SessionState.OPEN}

    def leased(self, spec: SessionSpec, owner: str, *, opened: bool = False) -> list[Any]:
        """The hub says that it exists; `opened`: that it was open here."""
        session_id = spec.session_id
        if session_id in self._sessions or session_id in self._over:
            return []
        if opened:
            self._end(session_id)
            reason = "the endpoint died and lost what it knew of the session, and its worker"
            return [Send(SessionClosed(session_id, reason, lost=True), keep=True)]
        if refused := self._refusal(spec):
            return self._refuse(session_id, refused)
        self._sessions[session_id] = _Session(spec, owner)
        return []

    def _refusal(self, spec: SessionSpec) -> str:
        """Why it can never be had as it was asked for; empty when it can, as far as is known now."""
        if why := limits.session_refusal(self._books.engine):
            return why
        why = self._books.refusal(spec.resources)
        how = f"`%fx use {spec.endpoint or 'ENDPOINT'}` with other options opens another session"
        return f"{why}; {how}" if why else ""

    def _refuse(self, session_id: str, why: str) -> list[Any]:
        self._end(session_id)
        return [Send(SessionClosed(session_id, why, lost=True, error=ErrorInfo("UsageError", why)), keep=True)]

    def _end(self, session_id: str) -> _Session | None:
        self._over[session_id] = None
        if len(self._over) > _OVER:
            del self._over[next(iter(self._over))]
        return self._sessions.pop(session_id, None)

    def wanted(self, spec: SessionSpec, owner: str) -> list[Any]:
        """It has cells that wait: open it if there is room."""
        told = self.leased(spec, owner)
        one = self._sessions.get(spec.session_id)
        if one is None or one.state is not SessionState.REQUESTED:
            return told
        # What there is may be known since.
        if refused := self._refusal(spec):
            return self._refuse(spec.session_id, refused)
        one.waits = len(self) >= self.most
        if one.waits:
            self.why = (
                f"{len(self)} sessions are open, which is the most here (c.Endpoint.max_sessions); "
                "close one: %fx session close, or jupyter fx endpoint status"
            )
            return []
        self.why = ""
        need = self._books.need(spec.resources)
        if self._fleet is not None:
            one.manager = self._fleet.lease(spec.session_id, need, self._floor, spec.resources.environment)
            if not one.manager:
                one.waits = True
                return []
            need = self._fleet.as_given(one.manager, need)
        one.state = move(one.state, SessionState.OPENING)
        cwd = spec.cwd if self._use_cwd else ""
        environment = spec.resources.environment
        waits = {"why": self._starts(one, environment)} if environment or one.manager else {}
        opening = Send(SessionEvent(spec.session_id, int(SessionState.OPENING), "", waits), keep=True)
        asked = OpenWorker(spec.session_id, cwd, need.width, need.memory, need.gpus, environment)
        opened: list[Any] = [Tell(asked, one.manager), opening]
        if one.manager:
            return [Write(Record(kinds.SESSION_AT, (spec, owner, one.manager)), opened)]
        return [Write(Record(kinds.SESSION, (spec, owner)), opened)]

    def _starts(self, one: _Session, environment: str) -> str:
        """What it waits for now, for its user."""
        view = self._fleet.managers.get(one.manager) if self._fleet is not None else None
        node = f" on node {view.host}" if view is not None and view.host else ""
        built = is_spec(environment)
        what = f"the environment {environment[:12]}" if built else f"the container of {short(environment)}"
        what = what if environment else "its Python"
        return f"{what} is starting{node}"

    def retry(self) -> list[Any]:
        """There may be room for those that found none."""
        waiting = [one for one in self._sessions.values() if one.waits and one.state is SessionState.REQUESTED]
        return [told for one in waiting for told in self.wanted(one.spec, one.owner)]

    def waiting(self) -> list[Need]:
        """What those that found no room take."""
        return [self._books.need(one.spec.resources) for one in self._sessions.values() if one.waits]

    def manager_of(self, session_id: str) -> str:
        """Where a session lives, where there are many managers."""
        one = self._sessions.get(session_id)
        return one.manager if one is not None else ""

    def at(self, manager: str) -> list[str]:
        """The sessions that live there."""
        return [key for key, one in self._sessions.items() if one.manager == manager and manager]

    def not_journaled(self, session_id: str, why: str) -> list[Any]:
        """The journal did not take its beginning: it is not opened."""
        one = self._end(session_id)
        if one is not None and self._fleet is not None:
            self._fleet.unleased(one.manager, session_id)
        return [Send(SessionClosed(session_id, f"the endpoint's disk is full: {why}", lost=True), keep=True)]

    def up(self, message: SessionUp) -> list[Any]:
        """Its worker is there."""
        one = self._sessions.get(message.session_id)
        if one is None or one.state is not SessionState.OPENING:
            return []
        one.state = move(one.state, SessionState.OPEN)
        info = {**message.info, "why": ""}
        return [Send(SessionEvent(message.session_id, int(SessionState.OPEN), "", info), keep=True)]

    def close(self, session_id: str, reason: str, *, kill: bool) -> list[Any]:
        """The hub asks for its end."""
        one = self._sessions.get(session_id)
        if one is None or one.state is SessionState.REQUESTED:
            self._end(session_id)
            return [Send(SessionClosed(session_id, reason, lost=False), keep=True)]
        if one.state is not SessionState.CLOSING:
            one.state = move(one.state, SessionState.CLOSING)
        return [Tell(CloseWorker(session_id, reason or "the session was closed", kill), one.manager)]

    def gone(self, message: SessionGone) -> list[Any]:
        """Its worker is not there any more."""
        one = self._end(message.session_id)
        if one is not None and self._fleet is not None:
            self._fleet.unleased(one.manager, message.session_id)
        if one is not None:
            if one.state is not SessionState.CLOSING and not message.lost:
                one.state = move(one.state, SessionState.CLOSING)
            move(one.state, SessionState.LOST if message.lost else SessionState.CLOSED)
        error = ErrorInfo("UsageError", message.reason) if message.refused else None
        said = SessionClosed(message.session_id, message.reason, message.lost, message.info, error)
        out: list[Any] = [Send(said, keep=True), Write(Record(kinds.SESSION_END, [message.session_id]), [])]
        waiting = next((other for other in self._sessions.values() if other.waits), None)
        return out + self.wanted(waiting.spec, waiting.owner) if waiting is not None else out

    def opened(self) -> list[tuple[SessionSpec, str, str]]:
        """Those that have a worker or wait for it, with their owner and manager."""
        states = {SessionState.OPENING, SessionState.OPEN, SessionState.CLOSING}
        return [(one.spec, one.owner, one.manager) for one in self._sessions.values() if one.state in states]

    def restore(self, spec: SessionSpec, owner: str, manager: str = "") -> None:
        """It was open when an earlier agent died; whether it is, its manager will say."""
        one = self._sessions.setdefault(spec.session_id, _Session(spec, owner))
        one.manager = manager
        one.state = move(move(one.state, SessionState.OPENING), SessionState.OPEN)

    def strange(self, alive: list[str], manager: str = "") -> list[Any]:
        """Sessions of a manager that outlived the journal that knew of them: nobody will use them again."""
        known = {spec.session_id for spec, _, at in self.opened() if at == manager}
        reason = "the endpoint died and lost what it knew of the session"
        return [Tell(CloseWorker(one, reason, kill=True), manager) for one in alive if one not in known]

    def found(self, alive: list[str], manager: str) -> None:
        """A manager has these sessions of an earlier agent: their room there is taken."""
        for session_id in alive:
            one = self._sessions.get(session_id)
            if one is not None and one.manager == manager and self._fleet is not None:
                self._fleet.leased(manager, session_id, self._books.need(one.spec.resources))

    def lost_but(self, alive: list[str], among: set[str] | None, manager: str = "", why: str = "") -> list[Any]:
        """The manager holds these sessions and no others `among` those (None: all)."""
        known = [spec.session_id for spec, _, at in self.opened() if at == manager]
        gone = [one for one in known if one not in alive and (among is None or one in among)]
        reason = why or "the manager of the session's worker died, and the worker with it"
        return [one for session_id in gone for one in self.gone(SessionGone(session_id, reason, lost=True))]
