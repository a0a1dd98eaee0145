"""Every message that travels between client, hub and agent.

Structs are encoded as arrays (msgpack): a field may be *appended* with a default in a later version and an older peer
reads the message all the same; a field is never removed, moved or given another meaning. The integer tag of a message
is its identity and is never used again. Which side sends what, and why: docs/wire-protocol.md.

Units: times are seconds since the epoch as float unless they are called durations; sizes are bytes; digests are BLAKE3
in 64 hexadecimal digits; ids are 32 hexadecimal digits. `payload` bytes are envelopes (docs/worker-protocol.md) that
only clients and workers open.
"""

from __future__ import annotations

import enum
from typing import Any, Final

import msgspec

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


class Kind(enum.IntEnum):
    """What a task is."""

    CALL = 0
    MAP = 1
    CELL = 2


class Watch(enum.IntEnum):
    """How much of a task's story its submitter wants to be told unasked."""

    OUTCOME = 0
    STATES = 1
    ALL = 2


class CancelMode(enum.IntEnum):
    """How hard: INTERRUPT is SIGINT only, CANCEL climbs to SIGKILL for pool work and is INTERRUPT for a session's
    cell.
    """

    CANCEL = 0
    INTERRUPT = 1
    KILL = 2


class EventKind(enum.IntEnum):
    """What an event tells. `data` of STDOUT and STDERR is text bytes (UTF-8 with replacement), of the others JSON-
    like; of PROGRESS {bars: [bar], note?}: those bars that changed, each with an `id` that tells it from the task's
    others, `done`, and what is known of `label`, `total`, `unit`, `rate`, `eta` (seconds); `ended`: it goes away.
    """

    STATE = 0
    STDOUT = 1
    STDERR = 2
    DISPLAY = 3
    PROGRESS = 4
    USAGE = 5
    NOTE = 6
    ITEMS = 7


class _Part(msgspec.Struct, array_like=True, gc=False):
    """A part of a message."""


class Resources(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """What a task or session needs. Zero means the endpoint's default."""

    cores: int = 0
    memory: int = 0
    gpus: int = 0
    environment: str = ""
    exclusive: bool = False
    allocation: str = ""
    """How a batch system is asked for its nodes (`protocol.allocation`); empty: as the endpoint does by itself."""


class BlobRef(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """Bytes that are not in the message: fetch them by digest."""

    digest: str
    size: int


class RefInfo(_Part):
    """A value that stayed where it was made."""

    ref_id: str
    endpoint_id: str
    size: int
    summary: dict[str, Any]
    session_id: str = ""


class ErrorInfo(_Part):
    """An error in plain words; `etype` is a class of jupyter_fx.errors or of the user's code.

    `details` is JSON-like (signal, rss, last_lines, remote_traceback, module …).
    """

    etype: str
    message: str
    details: dict[str, Any] = {}


class TaskOptions(_Part):
    """What most tasks leave at its default, so that it need not travel. Durations are seconds; 0 means none."""

    name: str = ""
    resources: Resources = Resources()
    retries: int = 0
    timeout: float = 0.0
    expires: float = 0.0
    inputs: list[str] = []
    """Task ids whose results this task takes: it WAITs for them."""
    items: int = 0
    """Items in a map chunk."""
    blob: BlobRef | None = None
    """The payload, when it is too large to be inline."""
    origin: dict[str, Any] = {}
    """For people: notebook, cell, kernel_id, host. JSON-like, small."""
    result_max: int = 0
    """Bytes of a result that come home; 0: RESULT_HOME_MAX."""
    group: str = ""
    """The map or submission that the task belongs to."""
    parts: list[BlobRef] = []
    """Large buffers that the payload leaves out, in its order: each is sent to an endpoint once."""


class TaskSpec(_Part):
    """One task as its author submitted it."""

    task_id: str
    kind: int
    function: str
    """Digest of the function; empty for a cell."""
    payload: bytes
    endpoint: str = ""
    """Name or id of the endpoint; empty: the default one. Empty with a session: the session's."""
    session: str = ""
    watch: int = 0
    options: TaskOptions | None = None


class Function(_Part):
    """A function's bytes (an `fn` envelope), sent once per link before the first task that names its digest."""

    digest: str
    payload: bytes
    name: str = ""
    blob: BlobRef | None = None


class SessionSpec(msgspec.Struct, array_like=True):
    """What a notebook asks a session to be. (kernel_id, epoch, name) names the notebook's side of the lease."""

    session_id: str
    endpoint: str
    kernel_id: str
    epoch: str
    name: str = "main"
    resources: Resources = Resources()
    cwd: str = ""
    idle_timeout: float = 0.0
    notebook: str = ""


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


class Event(_Part):
    """One thing that a task tells. `n` counts from 0 per task. STATE data: {state, reason?, endpoint?, attempt?}."""

    task_id: str
    n: int
    kind: int
    t: float
    data: Any


class Events(msgspec.Struct, array_like=True, tag=33):
    """Events of watched or attached tasks, in order per task."""

    events: list[Event]


class Outcome(_Part):
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


# --- hub to agent ---


class Input(_Part):
    """The result of a task that another one takes."""

    task_id: str
    payload: bytes
    blob: BlobRef | None = None
    ref: RefInfo | None = None


class LeasedTask(_Part):
    """A task with its lease."""

    task_id: str
    owner: str
    attempt: int
    fence: tuple[int, int]
    """(hub boot number, counter): never repeats."""
    kind: int
    function: str
    payload: bytes
    session: str = ""
    options: TaskOptions | None = None
    inputs: list[Input] = []


class Dispatch(msgspec.Struct, array_like=True, tag=48):
    """Leased tasks, within the credit that the agent gave."""

    tasks: list[LeasedTask]


class CancelTasks(msgspec.Struct, array_like=True, tag=49):
    """Stop these: [[task_id, attempt], …]. Answered by their Results (state CANCELLED, or whatever came first)."""

    tasks: list[tuple[str, int]]
    mode: int = 0


class DemandItem(_Part):
    """What waits for one shape: `shape` is the key used in Credit; `session` asks for a leased worker."""

    shape: str
    tasks: int
    resources: Resources
    session: SessionSpec | None = None
    owner: str = ""


class Demand(msgspec.Struct, array_like=True, tag=50):
    """The demand summary of this endpoint: all shapes that have something waiting. Scaling reads this, never credit."""

    items: list[DemandItem]


class Keep(msgspec.Struct, array_like=True, tag=51):
    """Results of tasks that no client has submitted on this hub's disk: [[task_id, attempt], …]. The agent keeps them
    in its journal although their message is acknowledged; when the task is dispatched (again) it answers with the
    result.
    """

    tasks: list[tuple[str, int]]


# --- agent to hub ---


class Held(_Part):
    """One task in an agent's journal. `phase`: `accepted`, `started` or `finished`."""

    task_id: str
    owner: str
    attempt: int
    fence: tuple[int, int]
    phase: str


class Inventory(msgspec.Struct, array_like=True, tag=64):
    """What the agent holds, on every connect, before anything else. Sent in parts; `last` ends it.

    `sure` is False when the journal's generation or the machine's boot id changed or its tail is torn.
    """

    generation: str
    boot_id: str
    sure: bool
    held: list[Held]
    last: bool = True
    why: str = ""
    settled: bool = False
    """After an unsure one: every manager of the earlier generation is attested dead, and what is missing here can
    never be known.
    """


class Credit(msgspec.Struct, array_like=True, tag=65):
    """How many more tasks of a shape the agent takes: the absolute number beyond all that it has received up to
    dispatch number `seen` (the count of LeasedTasks received on this connection). Replaces what was said before."""

    seen: int
    shapes: list[tuple[str, int]]


class Update(_Part):
    """A task's step at the endpoint. `phase`: `accepted`, `started`, `requeue` (not started, give it to somebody),
    `waiting`.
    """

    task_id: str
    attempt: int
    fence: tuple[int, int]
    phase: str
    t: float
    reason: str = ""


class Updates(msgspec.Struct, array_like=True, tag=66):
    """Steps. A result that follows at once makes its task's steps needless: its times tell them."""

    updates: list[Update]


class Output(_Part):
    """One piece of a task's story. `k` counts from 0 per (task, attempt): the hub drops what it has already."""

    task_id: str
    attempt: int
    k: int
    kind: int
    t: float
    data: Any


class Outputs(msgspec.Struct, array_like=True, tag=67):
    """Pieces, in order per task."""

    outputs: list[Output]


class Result(_Part):
    """How an attempt ended. `lost` says that the worker died (attested); the hub then retries, or records LOST /
    FAILED.
    """

    task_id: str
    attempt: int
    fence: tuple[int, int]
    state: int
    payload: bytes = b""
    error: ErrorInfo | None = None
    blob: BlobRef | None = None
    ref: RefInfo | None = None
    times: list[float] = []
    """accepted, started, finished."""
    usage: dict[str, Any] | None = None
    lost: bool = False


class Results(msgspec.Struct, array_like=True, tag=68):
    """Results; kept by the agent's journal until the hub has acknowledged them."""

    results: list[Result]


class Nack(msgspec.Struct, array_like=True, tag=69):
    """Dispatched tasks that the agent did not take: [[task_id, attempt], …]. Without `final` they are queued again."""

    tasks: list[tuple[str, int]]
    error: ErrorInfo
    final: bool = False


class AgentStatus(msgspec.Struct, array_like=True, tag=70):
    """What the endpoint is like now: workers, sessions, environments, blocks, python, packages, why it is not ready."""

    info: dict[str, Any]


class SessionLease(msgspec.Struct, array_like=True, tag=71):
    """Hub to agent: the session exists and may be opened when its demand shows."""

    session: SessionSpec
    owner: str
    opened: bool = False
    """The agent has told that it opened it: one that does not have it now has lost it, and never opens it again."""


class SessionClosed(msgspec.Struct, array_like=True, tag=72):
    """Agent to hub: a session ended; `lost` when nobody asked for it."""

    session_id: str
    reason: str
    lost: bool
    info: dict[str, Any] = {}
    error: ErrorInfo | None = None
    """Why it cannot be opened as it was asked for: its cells fail with this in place of being cancelled."""


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
