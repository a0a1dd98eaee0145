"""TaskInfo, EndpointInfo and SessionInfo (docs/wire-protocol.md): how records are told to people and programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from jupyter_fx.errors import UsageError
from jupyter_fx.protocol.lifecycle import EndpointState, SessionState, TaskState
from jupyter_fx.protocol.messages import Kind, SessionSpec, TaskSpec
from jupyter_fx.protocol.shapes import session_of
from jupyter_fx_hub.state import lifespan
from jupyter_fx_hub.state.core import Core
from jupyter_fx_hub.state.records import Endpoint, Session
from jupyter_fx_hub.state.why import why_endpoint, why_task
from jupyter_fx_hub.store.rows import SessionRow, TaskRow

__all__ = ["of_ended", "of_endpoints", "of_row", "of_session", "spec_of", "states"]

_SPEC = msgspec.msgpack.Decoder(TaskSpec)
_SESSION = msgspec.msgpack.Decoder(SessionSpec)


def states(text: str) -> list[int]:
    """The states that are meant by `RUNNING`, `running,queued` or `active`."""
    found: list[int] = []
    for part in text.upper().split(","):
        name = part.strip()
        if name == "ACTIVE":
            found += [s.value for s in TaskState if not s.terminal]
        elif name in TaskState.__members__:
            found.append(TaskState[name].value)
        else:
            raise UsageError(f"{part[:40]!r} is no state: {', '.join(s.name for s in TaskState)}, ACTIVE")
    return found


def spec_of(data: bytes) -> TaskSpec:
    """A TaskSpec as it is stored."""
    return _SPEC.decode(data)


def of_row(core: Core, row: TaskRow, spec: bytes | None = None) -> dict[str, Any]:
    """TaskInfo of a stored task; what is in memory is newer and knows why it waits."""
    live = core.tasks.get(row.task_id)
    state, attempt, endpoint_id, started = TaskState(row.state), row.attempt, row.endpoint_id, row.started
    why = ""
    if live is not None and not live.state.terminal and not state.terminal:
        state, attempt, endpoint_id, started = live.state, live.attempt, live.endpoint_id, live.started_at or started
        why = why_task(core, live)
    endpoint = core.endpoints.get(endpoint_id)
    shown = state.name
    gone = endpoint is not None and endpoint.state is EndpointState.UNREACHABLE and core.wall - endpoint.since >= 30.0
    if gone and state in {TaskState.LEASED, TaskState.ACCEPTED, TaskState.RUNNING}:
        shown = "UNREACHABLE"
    told = _SPEC.decode(spec) if spec else (live.spec if live is not None else None)
    options = told.options if told is not None else None
    error = row.error
    return {
        "task_id": row.task_id,
        "name": row.name,
        "kind": Kind(row.kind).name.lower(),
        "state": state.name,
        "shown": shown,
        "why": why,
        "endpoint": endpoint.name if endpoint is not None else "",
        "endpoint_id": endpoint_id,
        "session_id": row.session_id,
        "attempt": attempt,
        "submitted": row.submitted,
        "started": started,
        "finished": row.finished,
        "error": None if error is None else {"etype": error.etype, "message": error.message, "details": error.details},
        "origin": options.origin if options is not None else {},
        "group": row.group,
        "items": options.items if options is not None else int((row.usage or {}).get("items") or 0),
        "failed": int((row.usage or {}).get("failed") or 0),
        "function": row.function,
    }


def of_endpoints(core: Core, endpoints: Iterable[Endpoint]) -> list[dict[str, Any]]:
    """EndpointInfo of each."""
    opened = Counter(s.endpoint_id for s in core.sessions.values() if s.state is SessionState.OPEN)
    return [_of_endpoint(core, endpoint, opened[endpoint.endpoint_id]) for endpoint in endpoints]


def _of_endpoint(core: Core, endpoint: Endpoint, sessions: int) -> dict[str, Any]:
    queued = sum(queue.live for queue in endpoint.queues.values())
    shapes = [task.shape for task in endpoint.leases.values() if task.state is TaskState.RUNNING]
    running = len(shapes)
    return {
        "endpoint_id": endpoint.endpoint_id,
        "name": endpoint.name,
        "state": endpoint.state.name,
        "why": why_endpoint(core, endpoint),
        "owner": endpoint.owner,
        "queued": queued,
        "running": running,
        "leased": len(endpoint.leases) - running,
        # A session runs one cell at a time.
        "held": max(0, sessions - sum(1 for shape in shapes if session_of(shape))),
        "finished": endpoint.finished,
        "info": endpoint.info,
        "seen": core.wall if endpoint.ready else endpoint.seen_at,
    }


def of_session(core: Core, session: Session) -> dict[str, Any]:
    """SessionInfo."""
    spec = session.spec
    endpoint = core.endpoints.get(session.endpoint_id)
    return {
        "session_id": spec.session_id,
        "state": SessionState(session.state).name,
        "endpoint": endpoint.name if endpoint else "",
        "endpoint_id": session.endpoint_id,
        "kernel_id": spec.kernel_id,
        "epoch": spec.epoch,
        "name": spec.name,
        "notebook": spec.notebook,
        "opened": session.opened_at,
        "reason": session.reason,
        "info": session.info,
        "resources": {
            "cores": spec.resources.cores,
            "memory": spec.resources.memory,
            "gpus": spec.resources.gpus,
            "environment": spec.resources.environment,
            "allocation": spec.resources.allocation,
        },
        "memory": (endpoint.session_memory if endpoint else {}).get(spec.session_id, 0),
        **_lifespan(core, session),
    }


def _lifespan(core: Core, session: Session) -> dict[str, Any]:
    """How long it has been idle and, if nothing happens, when it ends (epoch; null: never) and why."""
    if session.state >= SessionState.CLOSED:
        return {"busy": False, "idle": 0.0, "attended": False, "ends_at": None, "ends_why": ""}
    busy = lifespan.busy(core, session)
    end = lifespan.ends(core, session)
    never = busy or end.at == float("inf")
    return {
        "busy": busy,
        "idle": 0.0 if busy else max(0.0, core.now - session.used),
        "attended": bool(session.links),
        "ends_at": None if never else end.at + core.offset,
        "ends_why": "" if never else end.why,
    }


def of_ended(row: SessionRow, endpoint: str) -> dict[str, Any]:
    """SessionInfo of a session that is over, from the store."""
    spec = _SESSION.decode(row.spec)
    return {
        "session_id": row.session_id,
        "state": SessionState(row.state).name,
        "endpoint": endpoint,
        "endpoint_id": row.endpoint_id,
        "kernel_id": row.kernel_id,
        "epoch": row.epoch,
        "name": spec.name,
        "notebook": spec.notebook,
        "opened": row.opened,
        "ended": row.changed,
        "reason": row.reason,
        "info": row.info,
    }
