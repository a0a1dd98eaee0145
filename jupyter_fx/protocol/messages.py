"""Every message that travels between client, hub and agent.

Here stand those of every link, of clients and of blobs; those between hub and agent stand in `agentmessages`, and what
all are made of in `parts`. Whoever uses one takes it from here.

Structs are encoded as arrays (msgpack): a field may be *appended* with a default in a later version and an older peer
reads the message all the same; a field is never removed, moved or given another meaning. The integer tag of a message
is its identity and is never used again. Which side sends what, and why: docs/wire-protocol.md.

Units: times are seconds since the epoch as float unless they are called durations; sizes are bytes; digests are BLAKE3
in 64 hexadecimal digits; ids are 32 hexadecimal digits. `payload` bytes are envelopes (docs/worker-protocol.md) that
only clients and workers open.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from jupyter_fx.protocol.agentmessages import (
    AgentStatus,
    CancelTasks,
    Credit,
    Demand,
    DemandItem,
    Dispatch,
    Held,
    Input,
    Inventory,
    Keep,
    LeasedTask,
    Nack,
    Output,
    Outputs,
    Result,
    Results,
    SessionClosed,
    SessionLease,
    Update,
    Updates,
)
from jupyter_fx.protocol.parts import (
    BlobRef,
    CancelMode,
    ErrorInfo,
    EventKind,
    Function,
    Kind,
    Part,
    RefInfo,
    Resources,
    SessionSpec,
    TaskOptions,
    TaskSpec,
    Watch,
)

__all__ = [
    "OLDEST_VERSION",
    "VERSION",
    "AgentStatus",
    "Attach",
    "BlobData",
    "BlobGet",
    "BlobPut",
    "BlobRef",
    "BlobStored",
    "Cancel",
    "CancelMode",
    "CancelTasks",
    "CloseSession",
    "Credit",
    "Demand",
    "DemandItem",
    "Detach",
    "Dispatch",
    "ErrorInfo",
    "Event",
    "EventKind",
    "Events",
    "Function",
    "Functions",
    "Goodbye",
    "Held",
    "Hello",
    "Input",
    "Inventory",
    "Keep",
    "Kind",
    "LeasedTask",
    "Message",
    "Nack",
    "OpenSession",
    "Outcome",
    "Outcomes",
    "Output",
    "Outputs",
    "Ping",
    "Pong",
    "RefInfo",
    "Rejected",
    "Reply",
    "Request",
    "Resources",
    "Result",
    "Results",
    "SessionClosed",
    "SessionEvent",
    "SessionLease",
    "SessionSpec",
    "Submit",
    "TaskOptions",
    "TaskSpec",
    "Update",
    "Updates",
    "Watch",
    "Welcome",
]

VERSION: Final = 1
"""The version of the protocol that this code speaks."""
OLDEST_VERSION: Final = 1
"""The oldest version that it still understands (N-1)."""

# --- every link ---


class Hello(msgspec.Struct, array_like=True, tag=1):
    """The first message of the side that connects."""

    version: int
    oldest: int
    role: str
    """`client`, `endpoint` or `blobs`."""
    link_id: str
    """Chosen once per process and purpose: the same after a reconnect."""
    software: str = ""
    token: str = ""
    """Only on a local socket; on a WebSocket it stands in the Authorization header."""
    info: dict[str, Any] = {}
    received: int = 0
    """The last kept message of the accepting side that came in here. Filled in by the link, like the next."""
    acked: int = 0
    """The last kept message of this side that was acknowledged: the redelivery begins after it, or after `received`."""
    sent: int = -1
    """The last kept message that this side has numbered: up to it, what comes may have come before. -1: not told."""


class Welcome(msgspec.Struct, array_like=True, tag=2):
    """The answer. `received`: the last kept message of this link_id that is durable here; redeliver what follows."""

    version: int
    hub_boot: int
    user: str
    received: int
    software: str = ""
    info: dict[str, Any] = {}


class Goodbye(msgspec.Struct, array_like=True, tag=3):
    """The last message: why the link is closed. `retry` says whether to come again."""

    error: ErrorInfo
    retry: bool


class Ping(msgspec.Struct, array_like=True, tag=4, gc=False):
    """Sent when nothing was sent for an interval."""

    n: int


class Pong(msgspec.Struct, array_like=True, tag=5, gc=False):
    """The answer to a Ping."""

    n: int


class Request(msgspec.Struct, array_like=True, tag=6):
    """A question, either way; `op` is an operation of the table in docs/wire-protocol.md. Not kept: ask again."""

    n: int
    op: str
    args: dict[str, Any] = {}


class Reply(msgspec.Struct, array_like=True, tag=7):
    """Its answer: `value`, or an error."""

    n: int
    value: Any = None
    error: ErrorInfo | None = None


# --- client to hub ---


class Functions(msgspec.Struct, array_like=True, tag=16):
    """Functions that the tasks which follow name (client to hub, hub to agent)."""

    functions: list[Function]


class Submit(msgspec.Struct, array_like=True, tag=17):
    """A submission: acknowledged (by the link's ack) when it is on disk."""

    tasks: list[TaskSpec]


class Cancel(msgspec.Struct, array_like=True, tag=18):
    """Stop these tasks."""

    tasks: list[str]
    mode: int = 0
    reason: str = ""


class Attach(msgspec.Struct, array_like=True, tag=19):
    """Tell me the story of these tasks from event `n` on, as it goes on, and their outcomes: [[task_id, n, watch],
    …].
    """

    tasks: list[tuple[str, int, int]]


class Detach(msgspec.Struct, array_like=True, tag=20):
    """No more of these tasks. They go on."""

    tasks: list[str]


class OpenSession(msgspec.Struct, array_like=True, tag=21):
    """Open a session; the same id again says no more than that this link is here for it."""

    session: SessionSpec
    again: bool = False
    """It was opened on an earlier connection: a hub that does not know it says that it is lost."""


class CloseSession(msgspec.Struct, array_like=True, tag=22):
    """Close a session: its cells that have not started are cancelled, its worker is stopped (client to hub, hub to
    agent).
    """

    session_id: str
    reason: str = ""
    kill: bool = False
    when_idle: bool = False
    """Not before its cells have ended. Not said to agents."""


# --- hub to client ---


class Rejected(msgspec.Struct, array_like=True, tag=32):
    """These submitted tasks (or this session) were not taken, and why."""

    tasks: list[str]
    error: ErrorInfo
    session_id: str = ""


class Event(Part):
    """One thing that a task tells. `n` counts from 0 per task. STATE data: {state, reason?, endpoint?, attempt?}."""

    task_id: str
    n: int
    kind: int
    t: float
    data: Any


class Events(msgspec.Struct, array_like=True, tag=33):
    """Events of watched or attached tasks, in order per task."""

    events: list[Event]


class Outcome(Part):
    """How a task ended. Sent once its commit is on disk, after all of its events that are told."""

    task_id: str
    state: int
    payload: bytes = b""
    error: ErrorInfo | None = None
    blob: BlobRef | None = None
    ref: RefInfo | None = None
    times: list[float] = []
    """submitted, leased, accepted, started, finished; 0.0 where it never happened."""
    usage: dict[str, Any] | None = None
    endpoint_id: str = ""
    attempt: int = 0


class Outcomes(msgspec.Struct, array_like=True, tag=34):
    """Outcomes."""

    outcomes: list[Outcome]


class SessionEvent(msgspec.Struct, array_like=True, tag=35):
    """A session's state, told to its owner's clients and (by the agent) to the hub."""

    session_id: str
    state: int
    reason: str = ""
    info: dict[str, Any] = {}
    error: ErrorInfo | None = None
    """Why it ended before it was open, if that is what was asked of it: its cells fail with the same."""


# --- the second connection: bytes ---


class BlobPut(msgspec.Struct, array_like=True, tag=80):
    """I have these bytes; `have` is answered by BlobStored with the offset to go on from (size: it is all there)."""

    digest: str
    size: int


class BlobData(msgspec.Struct, array_like=True, tag=81):
    """A chunk, either way. A BlobGet of what is not there, or not granted, is answered with `error`."""

    digest: str
    offset: int
    size: int
    data: bytes
    error: ErrorInfo | None = None


class BlobStored(msgspec.Struct, array_like=True, tag=82):
    """How much of a blob is safely here. offset == size: whole, digest checked, on disk."""

    digest: str
    offset: int
    size: int
    error: ErrorInfo | None = None


class BlobGet(msgspec.Struct, array_like=True, tag=83):
    """Send me `length` bytes (0: all) from `offset`."""

    digest: str
    offset: int = 0
    length: int = 0


Message = (
    Hello
    | Welcome
    | Goodbye
    | Ping
    | Pong
    | Request
    | Reply
    | Functions
    | Submit
    | Cancel
    | Attach
    | Detach
    | OpenSession
    | CloseSession
    | Rejected
    | Events
    | Outcomes
    | SessionEvent
    | Dispatch
    | CancelTasks
    | Demand
    | Keep
    | Inventory
    | Credit
    | Updates
    | Outputs
    | Results
    | Nack
    | AgentStatus
    | SessionLease
    | SessionClosed
    | BlobPut
    | BlobData
    | BlobStored
    | BlobGet
)
