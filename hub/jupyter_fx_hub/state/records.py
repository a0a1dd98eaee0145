"""What the hub keeps in memory of tasks, endpoints and sessions."""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from jupyter_fx.protocol.lifecycle import EndpointState, SessionState, TaskState
from jupyter_fx.protocol.messages import DemandItem, ErrorInfo, Held, Input, Outcome, Output, SessionSpec, TaskSpec

__all__ = ["Endpoint", "Lifespans", "Queue", "Session", "Task"]


class Task(msgspec.Struct, gc=False, eq=False):
    """A task. Times with the name `..._at` are epoch seconds, deadlines are on the state's own clock; 0.0: none."""

    task_id: str
    owner: str
    spec: TaskSpec | None
    """None once it is at its end."""
    hash: bytes
    seq: int
    shape: str
    endpoint_id: str
    """Where it is, or must go; empty while more than one endpoint could get it."""
    submitted_at: float
    hist: list[tuple[int, int, float, str]]
    n: int = 1
    """Number of its next event."""
    state: TaskState = TaskState.QUEUED
    pinned: bool = True
    unsure: bool = False
    """Its insertion must be confirmed by the store before anybody gets it."""
    attempt: int = 0
    """Counts leases: the name of the lease in hand."""
    starts: int = 0
    kills: int = 0
    fence: tuple[int, int] = (0, 0)
    leased_at: float = 0.0
    leased_mark: float = 0.0
    accepted_at: float = 0.0
    started_at: float = 0.0
    link: int = 0
    """The client link that follows it, and how much it wants to hear."""
    watch: int = 0
    more: dict[int, int] | None = None
    """Further links that follow it: link -> watch."""
    missing: set[str] | None = None
    """Inputs that are not there yet."""
    inputs: dict[str, Input] | None = None
    cancelling: tuple[int, str] | None = None
    """(mode, reason) of a cancellation that its endpoint has yet to confirm."""
    doom: tuple[TaskState, str, ErrorInfo | None] | None = None
    """How it ends as soon as the store has confirmed that it is new."""
    expiring: bool = False
    not_before: float = 0.0
    expires: float = 0.0
    note: str = ""
    """What its endpoint says about its waiting."""
    early: list[Output] | None = None
    """Told by its endpoint before the store has confirmed that it is new."""
    out_attempt: int = 0
    out_k: int = -1
    outcome: Outcome | None = None


class Queue:
    """Tasks of one shape that wait, first in first out. Removal is lazy: `discard` leaves the entry to be skipped."""

    __slots__ = ("_dead", "_entries", "live")

    def __init__(self) -> None:
        self._entries: deque[Task] = deque()
        self._dead: dict[str, int] = {}
        self.live = 0

    def push(self, task: Task) -> None:
        """Append."""
        self._entries.append(task)
        self.live += 1

    def push_front(self, tasks: list[Task]) -> None:
        """Put tasks that were out already back where they came from: in the order of their submission."""
        for task in sorted(tasks, key=lambda t: -t.seq):
            self._entries.appendleft(task)
        self.live += len(tasks)

    def discard(self, task: Task) -> None:
        """Forget one entry of this task."""
        self._dead[task.task_id] = self._dead.get(task.task_id, 0) + 1
        self.live -= 1

    def pop(self) -> Task:
        """The first live one; only when `live` > 0."""
        while True:
            task = self._entries.popleft()
            if not self._dead or not self._skip(task):
                self.live -= 1
                return task

    def _skip(self, task: Task) -> bool:
        count = self._dead.get(task.task_id, 0)
        if count > 1:
            self._dead[task.task_id] = count - 1
        elif count:
            del self._dead[task.task_id]
        return count > 0

    def tasks(self) -> list[Task]:
        """The live ones, in order."""
        skip = dict(self._dead)
        found = []
        for task in self._entries:
            if skip.get(task.task_id):
                skip[task.task_id] -= 1
            else:
                found.append(task)
        return found


class Endpoint:
    """An endpoint and everything that is decided for it alone: another hub process could own another endpoint."""

    __slots__ = (
        "counter",
        "created_at",
        "credential_hash",
        "credit",
        "credit_said",
        "demand_at",
        "demand_said",
        "demand_set",
        "dirty",
        "doubtful",
        "endpoint_id",
        "finished",
        "functions",
        "held",
        "incarnation",
        "info",
        "leases",
        "name",
        "owner",
        "queues",
        "ready",
        "seen_at",
        "sent",
        "session_memory",
        "since",
        "state",
        "sweep_at",
        "trace",
        "unsure",
    )

    def __init__(self, endpoint_id: str, owner: str, name: str, created_at: float) -> None:
        self.endpoint_id, self.owner, self.name, self.created_at = endpoint_id, owner, name, created_at
        self.state = EndpointState.ENROLLED
        self.info: dict[str, Any] = {}
        self.finished = 0
        """Tasks that came to their end there since this hub started."""
        self.session_memory: dict[str, int] = {}
        """Bytes that sessions have there now, as far as it told."""
        self.credential_hash = b""
        self.since = created_at
        """When it came into this state (epoch)."""
        self.seen_at = 0.0
        self.ready = False
        """Connected, and its inventory is settled."""
        self.queues: dict[str, Queue] = {}
        self.leases: dict[str, Task] = {}
        self.unsure: set[str] = set()
        """Leases that an unsure inventory lacked."""
        self.incarnation = ""
        """The agent process that is connected, by the name of its link."""
        self.doubtful = ""
        """The journal whose unsure inventory has been told and not been cleared up yet."""
        self.counter = 0
        """Of fences."""
        self.credit: dict[str, int] = {}
        self.credit_said: dict[str, int] = {}
        self.sent = 0
        """LeasedTasks sent on this connection."""
        self.trace: dict[str, deque[tuple[int, int]]] = {}
        """Per shape: (`sent` after a message, tasks of the shape in it), of messages that the agent has not counted
        in yet.
        """
        self.functions: set[tuple[str, str]] = set()
        """(owner, digest) sent on this connection."""
        self.held: list[Held] = []
        self.dirty = False
        self.demand_at = 0.0
        self.demand_set = False
        """A timer for the next summary is set."""
        self.demand_said: list[DemandItem] | None = None
        self.sweep_at = 0.0

    def queue(self, shape: str) -> Queue:
        """The queue of this shape."""
        found = self.queues.get(shape)
        if found is None:
            found = self.queues[shape] = Queue()
        return found


class Lifespans(msgspec.Struct, frozen=True):
    """How long sessions live, in seconds; 0: for ever. See `lifespan`."""

    idle: float = 8 * 3600.0
    """Without a cell."""
    warning: float = 600.0
    """Before its end, when that is announced."""
    lease_local: float = 120.0
    """After the link of a kernel on this machine was lost."""
    lease: float = 0.0
    """After that of a kernel elsewhere was: its machine may be asleep."""
    idle_gpu: float = 3600.0
    """Without a cell, of a session that holds GPUs or a whole node: nobody else can use them meanwhile."""


class Session(msgspec.Struct, eq=False):
    """A session. `opened_at` is when it was asked for."""

    spec: SessionSpec
    owner: str
    endpoint_id: str
    opened_at: float
    state: SessionState = SessionState.REQUESTED
    reason: str = ""
    info: dict[str, Any] = {}
    error: ErrorInfo | None = None
    """Why it can never be had as it was asked for."""
    kill: bool = False
    unsure: int = 0
    """Cells whose insertion the store has yet to confirm: later ones wait behind them."""
    links: set[int] = set()
    """Client links that are here for it."""
    local: bool = True
    """Whether the last of them came from this machine."""
    used: float = 0.0
    alone_since: float = -1.0
    """When the last link was lost; negative: there is one. Like `used` on the state's own clock."""
    ending: str = ""
    """Why it is to end as soon as its cells have."""
    warned: bool = False
    timer_at: float = 0.0
