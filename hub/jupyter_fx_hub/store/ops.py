"""What the service asks of the store.

Every op is queued by ``Store.write(op) -> position`` on the event loop and applied by the one writer thread, first in
first out, many in one transaction. ``Store.on_commit(position, problems)`` is called back on the event loop once
everything up to `position` is on disk (fsynced). Ops of one task that meet in one batch are merged to one row
operation. `history` is the whole list of state events so far, ``[[n, state, t, reason], …]`` in msgpack: state events
live in the task's row, so that a short task costs one row; output events are rows of their own.
"""

from __future__ import annotations

from typing import Any

import msgspec

from jupyter_fx.protocol.messages import BlobRef, ErrorInfo, RefInfo, Resources

__all__ = [
    "AddEvents",
    "DeleteFinished",
    "DeleteTasks",
    "DropBlobs",
    "EventRow",
    "FinishTask",
    "GrantBlob",
    "InsertTask",
    "LeaseTasks",
    "MoveTask",
    "Op",
    "Problem",
    "PutCode",
    "PutEndpoint",
    "PutFunction",
    "PutSession",
    "PutToken",
    "PutUser",
    "RedeemCode",
    "RevokeToken",
]


class InsertTask(msgspec.Struct, gc=False):
    """A new task.

    `spec` is the encoded TaskSpec, payload included; `hash` its digest: the same id with another hash is a conflict.
    """

    task_id: str
    owner: str
    kind: int
    function: str
    endpoint_id: str
    """Empty while more than one endpoint could get it."""
    session_id: str
    state: int
    hash: bytes
    spec: bytes
    submitted: float
    history: bytes
    name: str = ""
    group: str = ""
    expires_at: float = 0.0
    blobs: list[str] = []
    """Digests of blobs that the task needs besides its payload's; collection leaves both while the task exists."""
    plain: bool = False
    """Whether the spec is known to name neither a blob nor inputs, so that it need not be looked into."""


class MoveTask(msgspec.Struct, gc=False):
    """A task that is not at its end: state, attempt, fence, endpoint. Refused (a Problem) when the row is terminal."""

    task_id: str
    state: int
    attempt: int
    fence: tuple[int, int]
    endpoint_id: str
    history: bytes
    started: float = 0.0
    owner: str = ""
    """When given, the task must be this owner's, else the op is refused as `missing`."""


class LeaseTasks(msgspec.Struct, gc=False):
    """Leases of one dispatch: one row for all of them, which counts for a task until its own row has this attempt.

    For tasks that can go to one endpoint only and whose states nobody follows: their own rows are written when they
    end, or by the first MoveTask, whichever is first.
    """

    endpoint_id: str
    boot: int
    at: float
    tasks: list[tuple[str, int, int, int]]
    """(task_id, attempt, the fence's counter, number of the state event)."""


class FinishTask(msgspec.Struct, gc=False):
    """The one outcome. The first commit wins: refused (a Problem) when the row is terminal already."""

    task_id: str
    state: int
    attempt: int
    fence: tuple[int, int]
    endpoint_id: str
    history: bytes
    finished: float
    started: float = 0.0
    payload: bytes = b""
    error: ErrorInfo | None = None
    blob: BlobRef | None = None
    ref: RefInfo | None = None
    times: list[float] = []
    usage: dict[str, Any] | None = None
    owner: str = ""
    """When given, the task must be this owner's, else the op is refused as `missing`."""


class EventRow(msgspec.Struct, gc=False):
    """One output event (stdout, stderr, display, progress, …). `k` is the agent's number, `n` the hub's."""

    n: int
    attempt: int
    k: int
    kind: int
    t: float
    data: Any


class AddEvents(msgspec.Struct):
    """Output events of one task, in order. Text goes to the task's stream segments and is indexed here."""

    task_id: str
    events: list[EventRow]
    owner: str = ""
    """When given, the task must be this owner's, else the op is refused as `missing`."""


class DeleteTasks(msgspec.Struct):
    """Terminal tasks of this owner, with their events and segments. Their blobs go when they are collected."""

    owner: str
    task_ids: list[str]


class PutFunction(msgspec.Struct):
    """A function: digest, its envelope or the blob that holds it."""

    digest: str
    owner: str
    name: str
    payload: bytes
    blob: BlobRef | None
    created: float


class PutEndpoint(msgspec.Struct):
    """An endpoint as it is now (insert or replace by id)."""

    endpoint_id: str
    owner: str
    name: str
    state: int
    info: dict[str, Any]
    created: float
    seen: float
    credential_hash: bytes = b""
    """Empty: keep what is stored."""


class PutSession(msgspec.Struct):
    """A session as it is now (insert or replace by id)."""

    session_id: str
    owner: str
    endpoint_id: str
    state: int
    spec: bytes
    kernel_id: str
    epoch: str
    resources: Resources
    opened: float
    changed: float
    reason: str = ""
    info: dict[str, Any] = {}


class DeleteFinished(msgspec.Struct, gc=False):
    """Up to `limit` terminal tasks of anybody that finished before `before`, the oldest first: retention."""

    before: float
    limit: int = 500


class PutUser(msgspec.Struct, gc=False):
    """A user; the same again changes nothing."""

    name: str
    created: float


class PutToken(msgspec.Struct, gc=False):
    """A token of a user: its hash only. `expires` 0: never."""

    token_id: str
    hash: bytes
    owner: str
    scopes: list[str]
    created: float
    expires: float = 0.0
    note: str = ""


class RevokeToken(msgspec.Struct, gc=False):
    """The token is worth nothing from now on."""

    owner: str
    token_id: str
    revoked: float


class PutCode(msgspec.Struct, gc=False):
    """An enrolment code for an endpoint to be called `name`: its hash only."""

    hash: bytes
    owner: str
    name: str
    created: float
    expires: float


class RedeemCode(msgspec.Struct):
    """Use a code up and put the endpoint that it makes, in one.

    Refused as `code` when it is unknown, used or expired, as `conflict` when the name is taken (it then stays good).
    """

    hash: bytes
    now: float
    endpoint: PutEndpoint


class GrantBlob(msgspec.Struct, gc=False):
    """`owner` has proved to hold these bytes, which are on disk: it may read them. Moves `used`, too."""

    owner: str
    digest: str
    size: int
    used: float


class DropBlobs(msgspec.Struct, gc=False):
    """Forget these blobs if nothing reaches them and nobody used them since `before`."""

    digests: list[str]
    before: float


class Problem(msgspec.Struct):
    """An op that changed nothing.

    `kind` is `conflict` (same id, other hash or owner; an endpoint's name is taken), `exists` (same id, same hash),
    `terminal`, `missing` (no such task of this owner), `code` (an enrolment code that is worth nothing) or `invalid`
    (it could not be stored; logged). `task_id` is the id that the op speaks of: of its task, endpoint, session or
    token.
    """

    task_id: str
    kind: str
    op: str


Op = (
    InsertTask
    | MoveTask
    | LeaseTasks
    | FinishTask
    | AddEvents
    | DeleteTasks
    | DeleteFinished
    | PutFunction
    | PutEndpoint
    | PutSession
    | PutUser
    | PutToken
    | RevokeToken
    | PutCode
    | RedeemCode
    | GrantBlob
    | DropBlobs
)
