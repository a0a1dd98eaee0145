"""Sessions: asked for by clients, opened by agents, ended by either."""

from __future__ import annotations

from jupyter_fx.ids import is_id
from jupyter_fx.protocol.lifecycle import EndpointState, SessionState, TaskState, move
from jupyter_fx.protocol.messages import (
    CancelTasks,
    CloseSession,
    ErrorInfo,
    OpenSession,
    SessionClosed,
    SessionEvent,
    SessionLease,
)
from jupyter_fx.protocol.shapes import session_shape
from jupyter_fx_hub.state import finish, lifespan
from jupyter_fx_hub.state.core import Core, pack
from jupyter_fx_hub.state.io import FromClient, SessionKnown, ToAgent, ToClient, ToOwner
from jupyter_fx_hub.state.records import Endpoint, Session, Task
from jupyter_fx_hub.state.tasks import nearest
from jupyter_fx_hub.store.ops import PutSession

__all__ = ["close", "close_asked", "closed", "known", "look", "lost", "offer", "opens", "renew", "strand", "told"]

_S = SessionState
_ENDED = (_S.CLOSED, _S.LOST)


def known(core: Core, event: SessionKnown) -> None:
    """A session from the store."""
    session = core.sessions[event.spec.session_id] = Session(
        event.spec, event.owner, event.endpoint_id, event.opened, SessionState(event.state), info=dict(event.info)
    )
    # Nobody could be here for it while the hub was away: both clocks begin anew.
    session.alone_since = core.now
    lifespan.used(core, session)


def opens(core: Core, event: FromClient, message: OpenSession) -> None:
    """Open a session; the same id again changes nothing."""
    spec = message.session
    old = core.sessions.get(spec.session_id)
    if old is not None:
        if old.owner != event.owner:
            core.reject(
                event.link, [], ErrorInfo("UsageError", f"no session {spec.session_id[-8:]!r}"), spec.session_id
            )
            return
        lifespan.attend(core, old, event.link, local=event.local)
        if message.again:
            info = {**old.info, "endpoint": core.endpoints[old.endpoint_id].name}
            again = SessionEvent(spec.session_id, old.state, old.reason, info, old.error)
            core.first.append(ToClient(event.link, again))
        return
    if message.again:
        gone = "it ended while its notebook had no link to the fx hub"
        core.first.append(ToClient(event.link, SessionEvent(spec.session_id, _S.LOST, gone)))
        return
    endpoint: Endpoint | None
    if spec.endpoint:
        endpoint = core.endpoints.get(core.names.get((event.owner, spec.endpoint), spec.endpoint))
    else:
        own = core.owned.get(event.owner, [])
        endpoint = next((e for e in own if e.state is EndpointState.ONLINE), own[0] if own else None)
    if endpoint is None or endpoint.owner != event.owner or endpoint.state is EndpointState.DELETED:
        message_ = (
            nearest(core, event.owner, spec.endpoint) if spec.endpoint else "no endpoint is enrolled yet: start one"
        )
        core.reject(event.link, [], ErrorInfo("UsageError", message_), spec.session_id)
        return
    if not is_id(spec.session_id):
        core.reject(
            event.link, [], ErrorInfo("UsageError", f"{spec.session_id[:40]!r} is no session id"), spec.session_id
        )
        return
    session = Session(spec, event.owner, endpoint.endpoint_id, core.wall, move(None, _S.REQUESTED))
    core.sessions[spec.session_id] = session
    lifespan.attend(core, session, event.link, local=event.local)
    _save(core, session)
    if endpoint.ready:
        core.first.append(ToAgent(endpoint.endpoint_id, SessionLease(spec, event.owner), after=True))
    _tell(core, session)


def offer(core: Core, endpoint: Endpoint) -> None:
    """After a connect: the sessions that the endpoint should have, and those that it should end."""
    for session in core.sessions.values():
        if session.endpoint_id != endpoint.endpoint_id or session.state in _ENDED:
            continue
        if session.state is _S.CLOSING:
            message = CloseSession(session.spec.session_id, session.reason, session.kill)
            core.first.append(ToAgent(endpoint.endpoint_id, message))
        else:
            opened = session.state is not _S.REQUESTED
            core.first.append(ToAgent(endpoint.endpoint_id, SessionLease(session.spec, session.owner, opened)))


def told(core: Core, endpoint: Endpoint, message: SessionEvent) -> None:
    """The agent tells how far it is with a session."""
    session = core.sessions.get(message.session_id)
    if session is None or session.endpoint_id != endpoint.endpoint_id or session.state in _ENDED:
        reason = session.reason if session is not None else "the fx hub does not know this session"
        core.first.append(ToAgent(endpoint.endpoint_id, CloseSession(message.session_id, reason)))
        return
    target = SessionState(message.state) if message.state in {2, 3} else session.state
    if session.state is _S.REQUESTED and target in {_S.OPENING, _S.OPEN}:
        session.state = move(session.state, _S.OPENING)
    if session.state is _S.OPENING and target is _S.OPEN:
        session.state = move(session.state, _S.OPEN)
    session.info = {**session.info, **message.info}
    session.reason = message.reason or session.reason
    _save(core, session)
    _tell(core, session)


def close_asked(core: Core, event: FromClient, message: CloseSession) -> None:
    """A client closes a session."""
    session = core.sessions.get(message.session_id)
    if session is None or session.owner != event.owner:
        return
    reason = message.reason or "closed by its user"
    if message.when_idle and lifespan.busy(core, session):
        session.ending = session.ending or reason
    else:
        close(core, session, reason, kill=message.kill)


def look(core: Core, session_id: str) -> None:
    """A session's time may be over."""
    session = core.sessions.get(session_id)
    if session is not None and (reason := lifespan.look(core, session)):
        close(core, session, reason)


def renew(core: Core, session: Session) -> None:
    """Its user wants to keep it: its idle time begins anew, and it ends for nobody else's reasons."""
    session.ending = ""
    lifespan.used(core, session)


def close(core: Core, session: Session, reason: str, *, kill: bool = False) -> bool:
    """Close a session; False when it is at its end."""
    if session.state in _ENDED:
        return False
    session.kill = session.kill or kill
    endpoint = core.endpoints[session.endpoint_id]
    if session.state is not _S.CLOSING:
        session.reason = reason
        # One that no agent has heard of ends here; the agent may have heard of it as soon as it was connected.
        asked = session.state is not _S.REQUESTED
        session.state = move(session.state, _S.CLOSING if asked else _S.CLOSED)
        _drop_cells(core, session)
        _save(core, session)
        _tell(core, session)
    if endpoint.ready:
        message = CloseSession(session.spec.session_id, session.reason, session.kill)
        core.first.append(ToAgent(session.endpoint_id, message, after=True))
    return True


def _drop_cells(core: Core, session: Session) -> None:
    """Cells that were not started are cancelled: here at once, at the endpoint by asking."""
    why = _why_gone(session.spec.session_id, session)
    endpoint = core.endpoints[session.endpoint_id]
    for task in endpoint.queue(session_shape(session.spec.session_id)).tasks():
        _drop(core, task, session)
    for task in list(core.tasks.values()) if core.dependents else ():
        if task.state is TaskState.WAITING and task.spec is not None and task.spec.session == session.spec.session_id:
            _drop(core, task, session)
    asked: list[tuple[str, int]] = []
    for task in endpoint.leases.values():
        if (
            task.spec is not None
            and task.spec.session == session.spec.session_id
            and task.state is not TaskState.RUNNING
        ):
            task.cancelling = (0, why)
            asked.append((task.task_id, task.attempt))
    if asked and endpoint.ready:
        core.first.append(ToAgent(endpoint.endpoint_id, CancelTasks(asked, 0), after=True))


def _why_gone(session_id: str, session: Session | None) -> str:
    reason = (session.reason if session is not None else "") or "it was closed or lost"
    return f"session {session_id[-8:]} is gone: {reason}"


def _drop(core: Core, task: Task, session: Session | None) -> None:
    """End a cell that no endpoint has: with what is wrong with its session's request, else it is cancelled."""
    assert task.spec is not None
    why = _why_gone(task.spec.session, session)
    if session is None or session.error is None:
        finish.drop(core, task, TaskState.CANCELLED, why)
        return
    wrong = session.error
    error = ErrorInfo(wrong.etype, wrong.message, {**wrong.details, "task_id": task.task_id})
    finish.drop(core, task, TaskState.FAILED, why, error)


def strand(core: Core) -> None:
    """Cells that came back, or came late, from or for a session that is over."""
    stranded, core.stranded = core.stranded, []
    for task in stranded:
        if task.state is TaskState.QUEUED and task.spec is not None:
            _drop(core, task, core.sessions.get(task.spec.session))


def closed(core: Core, endpoint: Endpoint, message: SessionClosed) -> None:
    """The agent says that a session ended."""
    session = core.sessions.get(message.session_id)
    if session is None or session.endpoint_id != endpoint.endpoint_id or session.state in _ENDED:
        return
    session.info = {**session.info, **message.info}
    if session.state in {_S.REQUESTED, _S.OPENING}:
        session.error = message.error
    if message.lost:
        lost(core, session, message.reason)
        return
    if session.state in {_S.OPENING, _S.OPEN}:
        session.state = move(session.state, _S.CLOSING)
    session.state = move(session.state, _S.CLOSED)
    session.reason = session.reason or message.reason
    _over(core, session)


def lost(core: Core, session: Session, reason: str) -> None:
    """Its worker died, or its endpoint is gone for certain."""
    session.state = move(session.state, _S.LOST)
    session.reason = reason
    _over(core, session)


def _over(core: Core, session: Session) -> None:
    _drop_cells(core, session)
    _save(core, session)
    _tell(core, session)


def _save(core: Core, session: Session) -> None:
    spec = session.spec
    core.writes.append(
        PutSession(
            spec.session_id,
            session.owner,
            session.endpoint_id,
            session.state,
            pack(spec),
            spec.kernel_id,
            spec.epoch,
            spec.resources,
            session.opened_at,
            core.wall,
            session.reason,
            session.info,
        )
    )


def _tell(core: Core, session: Session) -> None:
    info = {**session.info, "endpoint": core.endpoints[session.endpoint_id].name, "kernel_id": session.spec.kernel_id}
    said = SessionEvent(session.spec.session_id, session.state, session.reason, info, session.error)
    core.last.append(ToOwner(session.owner, said))
