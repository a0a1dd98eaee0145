"""Messages between hub and agent. Whoever uses one takes it from `messages`.

How they are encoded, in which units, and what may be changed: `messages`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from jupyter_fx.protocol.parts import BlobRef, ErrorInfo, Part, RefInfo, Resources, SessionSpec, TaskOptions

__all__ = [
    "AgentStatus",
    "CancelTasks",
    "Credit",
    "Demand",
    "DemandItem",
    "Dispatch",
    "Held",
    "Input",
    "Inventory",
    "Keep",
    "LeasedTask",
    "Nack",
    "Output",
    "Outputs",
    "Result",
    "Results",
    "SessionClosed",
    "SessionLease",
    "Update",
    "Updates",
]


# --- hub to agent ---


class Input(Part):
    """The result of a task that another one takes."""

    task_id: str
    payload: bytes
    blob: BlobRef | None = None
    ref: RefInfo | None = None


class LeasedTask(Part):
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


class DemandItem(Part):
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


class Held(Part):
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


class Update(Part):
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


class Output(Part):
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


class Result(Part):
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
