"""Sentences for people: what a task, an endpoint or a session waits for."""

from __future__ import annotations

from typing import Final

from jupyter_fx.protocol.lifecycle import EndpointState, SessionState, TaskState
from jupyter_fx.protocol.shapes import session_of
from jupyter_fx_hub.state.core import Core
from jupyter_fx_hub.state.records import Endpoint, Session, Task

NAMED_MAX: Final = 4
"""Sessions that are named when all slots are taken."""
STARTING: Final = 60.0
"""Seconds since its enrolment for which an endpoint that has not connected may be on its way."""
__all__ = ["span", "why_endpoint", "why_task", "why_waiting"]


def span(seconds: float) -> str:
    """A duration for people."""
    seconds = max(0.0, seconds)
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86400:.0f} d"


def _clock(epoch: float) -> str:
    minutes = int(epoch) // 60 % 1440
    return f"{minutes // 60:02d}:{minutes % 60:02d} UTC"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def why_endpoint(core: Core, endpoint: Endpoint, allocation: str = "") -> str:
    """Why it is not ready, or why it has no room for what wants this allocation; or an empty sentence."""
    name = endpoint.name
    if endpoint.state is EndpointState.ENROLLED:
        if core.wall - endpoint.since < STARTING:
            return f"endpoint {name} has just enrolled: it is online when its agent has started, usually within 10 s"
        return f"endpoint {name} has never connected: start its agent"
    if endpoint.state is EndpointState.OFFLINE:
        return f"endpoint {name} is offline since {_clock(endpoint.since)}"
    if endpoint.state is EndpointState.UNREACHABLE:
        return f"endpoint {name} does not answer since {_clock(endpoint.since)}"
    if endpoint.state is EndpointState.DELETED:
        return f"endpoint {name} was deleted"
    if not endpoint.ready:
        return f"endpoint {name} is telling what it holds"
    own = endpoint.info.get("allocations")
    if allocation and isinstance(own, dict) and allocation in own:
        return str(own[allocation] or "")
    return str(endpoint.info.get("why") or "")


def why_task(core: Core, task: Task) -> str:
    """What an unfinished task waits for; empty when it runs undisturbed."""
    text = _why(core, task)
    if text and task.expires and task.state in {TaskState.WAITING, TaskState.QUEUED}:
        text += f" (expires in {span(task.expires - core.now)})"
    return text


def why_waiting(core: Core, task: Task) -> str:
    """What a task that has not started waits for, without the time that it has left."""
    return _why(core, task).removesuffix("; the task waits")


def _why(core: Core, task: Task) -> str:
    if task.state.terminal:
        return ""
    if task.state is TaskState.WAITING:
        return _inputs(core, task)
    endpoint = core.endpoints.get(task.endpoint_id)
    if task.state is not TaskState.QUEUED:
        assert endpoint is not None
        if not endpoint.ready:
            text = f"{why_endpoint(core, endpoint)}; the task "
            return text + (
                "may still be running there" if task.state is TaskState.RUNNING else "may have started there"
            )
        if task.cancelling is not None:
            return f"endpoint {endpoint.name} was asked to stop it"
        if task.state is TaskState.RUNNING:
            return task.note
        return task.note or _behind(task, endpoint)
    if task.unsure:
        return "it is being written to disk"
    if task.not_before > core.now:
        return f"attempt {task.starts + 1} begins in {span(task.not_before - core.now)} ({task.hist[-1][3]})"
    if endpoint is None:
        return _floating(core, task)
    if not endpoint.ready:
        return f"{why_endpoint(core, endpoint)}; the task waits"
    return _in_line(core, task, endpoint)


def _behind(task: Task, endpoint: Endpoint) -> str:
    """What a cell that its endpoint has already waits for: those that were submitted to its session before it."""
    if not session_of(task.shape):
        return ""
    ahead = sum(1 for other in endpoint.leases.values() if other.shape == task.shape and other.seq < task.seq)
    return f"{_count(ahead, 'cell')} before it in its session" if ahead else ""


def _inputs(core: Core, task: Task) -> str:
    missing = sorted(task.missing or ())
    if not missing:
        return "its inputs are being looked up"
    first = core.tasks.get(missing[0])
    text = f"waits for the result of task {missing[0][-8:]}"
    if first is not None:
        text += f" ({first.state.name})"
    return text + (f" and {_count(len(missing) - 1, 'other task')}" if len(missing) > 1 else "")


def _floating(core: Core, task: Task) -> str:
    own = core.owned.get(task.owner, [])
    if not own:
        return "no endpoint is enrolled yet; the task waits"
    if not any(e.ready for e in own):
        return f"none of {_count(len(own), 'endpoint')} is online ({why_endpoint(core, own[0])}); the task waits"
    return f"waits for a free worker of any of {_count(len(own), 'endpoint')}"


def _slots(core: Core, endpoint: Endpoint, session: Session) -> str:
    """Who has the session slots of an endpoint that has none left, those that were idle longest first."""
    most = endpoint.info.get("max_sessions")
    if not isinstance(most, int) or int(endpoint.info.get("sessions") or 0) < most:
        return ""
    open_ = {SessionState.OPENING, SessionState.OPEN, SessionState.CLOSING}
    there = [s for s in core.sessions.values() if s.endpoint_id == endpoint.endpoint_id and s.state in open_]
    own = sorted((s for s in there if s.owner == session.owner), key=lambda s: s.used)
    said = [f"{_called(s)} idle {span(core.now - s.used)}" for s in own[:NAMED_MAX]]
    if len(own) > NAMED_MAX:
        said.append(f"{len(own) - NAMED_MAX} more of yours")
    return (
        f"all {most} session slots of {endpoint.name} are taken ({', '.join(said) or 'by others'}): "
        "`%fx session close --all-idle` in another notebook, or `jupyter fx endpoint` settings (max_sessions)"
    )


def _called(session: Session) -> str:
    spec = session.spec
    notebook = spec.notebook.rpartition("/")[2] or f"kernel {spec.kernel_id[:8]}"
    return notebook if spec.name == "main" else f"{notebook} ({spec.name})"


def _in_line(core: Core, task: Task, endpoint: Endpoint) -> str:
    session_id = session_of(task.shape)
    queued = endpoint.queue(task.shape).tasks()
    before = next((i for i, other in enumerate(queued) if other is task), 0)
    ahead = before + sum(
        1 for t in endpoint.leases.values() if t.shape == task.shape and t.state is not TaskState.RUNNING
    )
    running = sum(1 for t in endpoint.leases.values() if t.shape == task.shape and t.state is TaskState.RUNNING)
    if session_id and (session := core.sessions.get(session_id)) is not None and session.state is not SessionState.OPEN:
        if session.state is SessionState.REQUESTED and (taken := _slots(core, endpoint, session)):
            return taken
        own = session.reason or str(session.info.get("why") or "")
        # A place that has no room for it yet says what that waits for: a batch job, say.
        wants = session.spec.resources.allocation
        there = why_endpoint(core, endpoint, wants) if session.state is SessionState.REQUESTED else ""
        return own or there or f"its session is {session.state.name.lower()}"
    if session_id:
        return f"{_count(ahead + running, 'cell')} before it in its session"
    text = f"{_count(ahead, 'task')} before it, {_count(running, 'worker')} busy at endpoint {endpoint.name}"
    options = task.spec.options if task.spec is not None else None
    reason = why_endpoint(core, endpoint, options.resources.allocation if options is not None else "")
    return f"{text}; {reason}" if reason else text
