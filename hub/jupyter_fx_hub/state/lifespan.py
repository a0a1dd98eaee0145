"""How long sessions live: while cells run, while somebody works with them, and a time beyond. Pure.

A session ends when it was idle for too long, when the kernel whose link opened it is gone and does not come back, or
when it was asked to end as soon as its cells have. Cells that run are never cut off by any of these.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from jupyter_fx.protocol.lifecycle import SessionState
from jupyter_fx.protocol.messages import SessionEvent
from jupyter_fx.protocol.shapes import session_of, session_shape
from jupyter_fx_hub.state.core import Core
from jupyter_fx_hub.state.io import ToOwner
from jupyter_fx_hub.state.records import Session
from jupyter_fx_hub.state.why import span

__all__ = ["KERNEL_GONE", "attend", "busy", "ends", "left", "look", "used", "used_by"]

KERNEL_GONE: Final = "its notebook's kernel is gone"
_ENDED: Final = frozenset((SessionState.CLOSING, SessionState.CLOSED, SessionState.LOST))
_NEVER: Final = float("inf")


class End(NamedTuple):
    """When a session ends if nothing happens (the state's clock; infinity: never), and why."""

    at: float
    why: str


def busy(core: Core, session: Session) -> bool:
    """Whether it has cells that run or wait."""
    shape = session_shape(session.spec.session_id)
    endpoint = core.endpoints[session.endpoint_id]
    queue = endpoint.queues.get(shape)
    if session.unsure or (queue is not None and queue.live):
        return True
    if any(task.shape == shape for task in endpoint.leases.values()):
        return True
    waiting = (task for tasks in core.dependents.values() for task in tasks)
    return any(task.shape == shape and not task.state.terminal for task in waiting)


def ends(core: Core, session: Session) -> End:
    """When it ends, were it idle from its last use on."""
    limits = core.limits
    needs = session.spec.resources
    held = (
        f"{needs.gpus} GPU{'s' if needs.gpus > 1 else ''}" if needs.gpus else "a whole node" if needs.exclusive else ""
    )
    usual = limits.idle_gpu if held and limits.idle_gpu else limits.idle
    idle = session.spec.idle_timeout or usual
    found = End(
        session.used + idle if idle else _NEVER, f"it was idle for {span(idle)}{' with ' + held if held else ''}"
    )
    if session.ending:
        return End(session.used, session.ending)
    lease = limits.lease_local if session.local else limits.lease
    if session.alone_since >= 0 and lease:
        alone = max(session.alone_since, session.used) + lease
        if alone < found.at:
            found = End(alone, f"{KERNEL_GONE}: nothing was heard of it for {span(lease)}")
    return found


def _arm(core: Core, session: Session) -> None:
    at = ends(core, session).at
    when = at if session.warned or at - core.now <= core.limits.warning else at - core.limits.warning
    if when < _NEVER and not core.now < session.timer_at <= when:
        session.timer_at = max(when, core.now)
        core.at(session.timer_at, "session", session.spec.session_id)


def used(core: Core, session: Session) -> None:
    """Somebody works with it."""
    session.used = core.now
    if session.warned:
        session.warned = False
        _tell(core, session, {"ends_at": 0.0, "ends_why": ""})
    _arm(core, session)


def used_by(core: Core, shape: str) -> None:
    """A task of this shape has ended: if it was a session's cell, its idle time begins."""
    session = core.sessions.get(session_of(shape))
    if session is not None and session.state not in _ENDED:
        used(core, session)


def attend(core: Core, session: Session, link: int, *, local: bool) -> None:
    """A client's link is here for it. `local`: it comes from this machine, so that its loss is its process's end."""
    if link:
        session.links.add(link)
        session.alone_since, session.local = -1.0, local
    used(core, session)


def left(core: Core, link: int, *, silent: bool = False) -> None:
    """A client's link is gone. `silent`: it was heard of no more, which a kernel does that is stopped, or that runs
    code which never lets go of the interpreter: it is not taken for dead.
    """
    for session in core.sessions.values():
        if link in session.links:
            session.links.discard(link)
            if not session.links and session.state not in _ENDED:
                session.alone_since = core.now
                session.local = session.local and not silent
                _arm(core, session)


def look(core: Core, session: Session) -> str:
    """Its time may be over: the reason to close it, or nothing. Announces an end that is near."""
    if session.state in _ENDED:
        return ""
    session.timer_at = 0.0
    if busy(core, session):
        # Its idle time begins when its last cell ends.
        return ""
    end = ends(core, session)
    if core.now >= end.at:
        return end.why
    if end.at - core.now <= core.limits.warning and not session.warned:
        session.warned = True
        _tell(core, session, {"ends_at": end.at + core.offset, "ends_why": end.why})
    _arm(core, session)
    return ""


def _tell(core: Core, session: Session, news: dict[str, object]) -> None:
    session.info = {**session.info, **news}
    info = {**session.info, "endpoint": core.endpoints[session.endpoint_id].name, "kernel_id": session.spec.kernel_id}
    core.last.append(ToOwner(session.owner, SessionEvent(session.spec.session_id, session.state, session.reason, info)))
