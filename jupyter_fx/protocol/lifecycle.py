"""What a task, an endpoint, a block, a container, a worker and a session can be, and who may move them.

Each machine is an enum and one table. A row of the table is ``Transition(source, target, mover, guard)``: `mover` is
the party whose word makes it happen, `guard` says in words what must be true. A source of None is birth. No other file
assigns a state: they call `move`, which raises `InvalidTransition` and changes nothing when the table has no such row.
Terminal states have no row that leaves them. The diagrams in docs/architecture.md are made from these tables.

Tasks (PROMISES §1). The hub owns the state of a task. A task *starts at most once* unless its author declared retries:
START is journaled by the agent before a manager starts it, so that "was it started?" always has an answer, if need be
the answer "nobody knows" (LOST). UNREACHABLE is how a running task of a silent endpoint is shown; it is no state.
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple, TypeVar

from jupyter_fx.errors import LocalProtocolError

__all__ = [
    "BLOCK",
    "CONTAINER",
    "ENDPOINT",
    "MACHINES",
    "SESSION",
    "TASK",
    "TERMINAL",
    "WORKER",
    "BlockState",
    "ContainerState",
    "EndpointState",
    "InvalidTransition",
    "SessionState",
    "State",
    "TaskState",
    "Transition",
    "WorkerState",
    "move",
]


class State(enum.IntEnum):
    """Base of the state enums; the numbers are what travels and what is stored, the names are what people read."""

    def __str__(self) -> str:
        return self.name.lower()

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


class TaskState(State):
    """A task's state at the hub."""

    WAITING = 1
    QUEUED = 2
    LEASED = 3
    ACCEPTED = 4
    RUNNING = 5
    SUCCEEDED = 10
    FAILED = 11
    CANCELLED = 12
    EXPIRED = 13
    LOST = 14
    POISONED = 15

    @property
    def terminal(self) -> bool:
        """Whether nothing can follow."""
        return self >= TaskState.SUCCEEDED


class EndpointState(State):
    """An endpoint as the hub sees it."""

    ENROLLED = 1
    ONLINE = 2
    UNREACHABLE = 3
    OFFLINE = 4
    DELETED = 10


class BlockState(State):
    """One batch job or pod."""

    SUBMITTING = 1
    PENDING = 2
    STARTING = 3
    RUNNING = 4
    DRAINING = 5
    ENDED = 10
    FAILED = 11


class ContainerState(State):
    """A running instance of an environment: its zygote."""

    STARTING = 1
    WARM = 2
    BUSY = 3
    STOPPING = 4
    STOPPED = 10
    FAILED = 11


class WorkerState(State):
    """One worker process."""

    STARTING = 1
    IDLE = 2
    BUSY = 3
    STOPPING = 4
    EXITED = 10
    CRASHED = 11


class SessionState(State):
    """A remote session: the lease that ties one worker to one notebook kernel."""

    REQUESTED = 1
    OPENING = 2
    OPEN = 3
    CLOSING = 4
    CLOSED = 10
    LOST = 11


S = TypeVar("S", bound=State)


class Transition(NamedTuple):
    """One row of a table."""

    source: State | None
    target: State
    mover: str
    guard: str


class InvalidTransition(LocalProtocolError):
    """The table has no such transition."""


_T = TaskState
_UNDONE_BY_ENDPOINT = (_T.LEASED, _T.ACCEPTED, _T.RUNNING)

TASK: Final[tuple[Transition, ...]] = (
    Transition(None, _T.WAITING, "hub", "committed; some input (future, ref) is not there yet"),
    Transition(None, _T.QUEUED, "hub", "committed and fsynced, then acknowledged; inputs exist"),
    Transition(_T.WAITING, _T.QUEUED, "hub", "all inputs exist"),
    Transition(
        _T.WAITING,
        _T.FAILED,
        "hub",
        "an input failed: DependencyFailed naming the root; or its session cannot be had: UsageError",
    ),
    Transition(_T.QUEUED, _T.FAILED, "hub", "its session cannot be had as it was asked for: UsageError"),
    Transition(_T.QUEUED, _T.LEASED, "hub", "fence += 1; credit for its shape; lease committed first unless pinned"),
    Transition(_T.LEASED, _T.QUEUED, "hub", "endpoint NACK, or a trustworthy inventory says never journaled"),
    Transition(_T.LEASED, _T.ACCEPTED, "endpoint", "its journal write done"),
    Transition(_T.ACCEPTED, _T.RUNNING, "endpoint", "START journaled before the manager starts it"),
    Transition(_T.ACCEPTED, _T.QUEUED, "endpoint", "drain, walltime, or its manager lost before START"),
    Transition(_T.RUNNING, _T.QUEUED, "endpoint", "given back: START was written ahead and it was not begun"),
    Transition(_T.RUNNING, _T.SUCCEEDED, "endpoint", "result journaled, sent, committed, acknowledged"),
    Transition(_T.RUNNING, _T.FAILED, "endpoint", "the code raised; refused before start (mismatch); or TaskTimeout"),
    Transition(_T.LEASED, _T.FAILED, "endpoint", "refused before start with a reason that no other try can cure"),
    Transition(_T.ACCEPTED, _T.FAILED, "endpoint", "refused before start with a reason that no other try can cure"),
    Transition(_T.RUNNING, _T.QUEUED, "hub", "attested loss and attempts left"),
    Transition(_T.RUNNING, _T.LOST, "hub", "attested loss and none left; or a trustworthy inventory lacks it"),
    Transition(_T.LEASED, _T.LOST, "hub", "inventory unsure and its managers attested dead"),
    Transition(_T.ACCEPTED, _T.LOST, "hub", "inventory unsure and its managers attested dead"),
    Transition(_T.RUNNING, _T.POISONED, "hub", "with retries: it killed its worker 3 times"),
    *(Transition(s, _T.EXPIRED, "hub", "`expires` over") for s in (_T.WAITING, _T.QUEUED, _T.LEASED, _T.ACCEPTED)),
    *(
        Transition(s, _T.CANCELLED, "hub", "at once; also when its endpoint is deleted or its session is gone")
        for s in (_T.WAITING, _T.QUEUED)
    ),
    *(Transition(s, _T.CANCELLED, "endpoint", "confirmed: never started, or stopped") for s in _UNDONE_BY_ENDPOINT),
)

_E = EndpointState
ENDPOINT: Final[tuple[Transition, ...]] = (
    Transition(None, _E.ENROLLED, "hub", "a one-use enrolment code was redeemed"),
    Transition(_E.ENROLLED, _E.ONLINE, "endpoint", "its agent connected and sent its inventory"),
    Transition(_E.ONLINE, _E.UNREACHABLE, "hub", "nothing heard for 30 s, or the link broke"),
    Transition(_E.UNREACHABLE, _E.ONLINE, "endpoint", "the agent is back"),
    Transition(_E.ONLINE, _E.OFFLINE, "endpoint", "the agent said goodbye"),
    Transition(_E.UNREACHABLE, _E.OFFLINE, "hub", "every block of it is attested dead"),
    Transition(_E.OFFLINE, _E.ONLINE, "endpoint", "its agent connected and sent its inventory"),
    *(Transition(s, _E.DELETED, "hub", "its owner deleted it") for s in _E if s != _E.DELETED),
)

_B = BlockState
BLOCK: Final[tuple[Transition, ...]] = (
    Transition(None, _B.SUBMITTING, "agent", "scaling wants it; its intent is journaled"),
    Transition(_B.SUBMITTING, _B.PENDING, "provider", "the scheduler gave a job id"),
    Transition(_B.SUBMITTING, _B.FAILED, "provider", "the scheduler refused"),
    Transition(_B.PENDING, _B.STARTING, "provider", "the job runs"),
    Transition(_B.PENDING, _B.RUNNING, "manager", "its first manager enrolled"),
    Transition(_B.STARTING, _B.RUNNING, "manager", "its first manager enrolled"),
    Transition(_B.RUNNING, _B.DRAINING, "agent", "scale-in, walltime near, or stop"),
    *(Transition(s, _B.ENDED, "provider", "the job ended") for s in (_B.PENDING, _B.STARTING, _B.RUNNING, _B.DRAINING)),
    *(Transition(s, _B.FAILED, "provider", "the job failed") for s in (_B.PENDING, _B.STARTING, _B.RUNNING)),
)

_C = ContainerState
CONTAINER: Final[tuple[Transition, ...]] = (
    Transition(None, _C.STARTING, "manager", "a task or session needs its environment"),
    Transition(_C.STARTING, _C.WARM, "zygote", "said ready"),
    Transition(_C.STARTING, _C.FAILED, "manager", "ended or was silent before ready"),
    Transition(_C.WARM, _C.BUSY, "manager", "a worker of it runs something"),
    Transition(_C.BUSY, _C.WARM, "manager", "all its workers are idle"),
    Transition(_C.WARM, _C.STOPPING, "manager", "resources are short or its idle time is over"),
    Transition(_C.BUSY, _C.STOPPING, "manager", "the manager ends"),
    Transition(_C.STOPPING, _C.STOPPED, "manager", "its processes are gone"),
    *(Transition(s, _C.FAILED, "manager", "its zygote died") for s in (_C.WARM, _C.BUSY)),
)

_W = WorkerState
WORKER: Final[tuple[Transition, ...]] = (
    Transition(None, _W.STARTING, "manager", "asked the zygote to fork"),
    Transition(_W.STARTING, _W.IDLE, "worker", "said up"),
    Transition(_W.IDLE, _W.BUSY, "manager", "gave it work"),
    Transition(_W.BUSY, _W.IDLE, "worker", "its last task is done"),
    *(Transition(s, _W.STOPPING, "manager", "not needed, or to be killed") for s in (_W.STARTING, _W.IDLE, _W.BUSY)),
    Transition(_W.STOPPING, _W.EXITED, "zygote", "reaped"),
    *(Transition(s, _W.CRASHED, "zygote", "reaped, unasked") for s in (_W.STARTING, _W.IDLE, _W.BUSY)),
)

_S = SessionState
SESSION: Final[tuple[Transition, ...]] = (
    Transition(None, _S.REQUESTED, "client", "the first cell of a kernel (kernel_id, epoch)"),
    Transition(_S.REQUESTED, _S.OPENING, "endpoint", "a slot is leased; the worker is being started"),
    Transition(_S.OPENING, _S.OPEN, "endpoint", "its worker said up"),
    Transition(_S.REQUESTED, _S.CLOSED, "hub", "closed before it was opened"),
    *(Transition(s, _S.CLOSING, "hub", "closed by its user, its kernel ended, or idle") for s in (_S.OPENING, _S.OPEN)),
    Transition(_S.CLOSING, _S.CLOSED, "endpoint", "its worker is gone"),
    Transition(_S.REQUESTED, _S.LOST, "endpoint", "it cannot be had as asked for, or its endpoint is attested dead"),
    *(
        Transition(s, _S.LOST, "endpoint", "its worker died, or its endpoint is attested dead")
        for s in (_S.OPENING, _S.OPEN, _S.CLOSING)
    ),
)

MACHINES: Final[dict[str, tuple[Transition, ...]]] = {
    "task": TASK,
    "endpoint": ENDPOINT,
    "block": BLOCK,
    "container": CONTAINER,
    "worker": WORKER,
    "session": SESSION,
}
# IntEnum members of different machines compare equal by number, so the legal pairs are kept per machine.
_BY_ENUM: Final[dict[type[State], frozenset[tuple[int | None, int]]]] = {
    type(table[0].target): frozenset((None if r.source is None else int(r.source), int(r.target)) for r in table)
    for table in MACHINES.values()
}
TERMINAL: Final[frozenset[TaskState]] = frozenset(s for s in TaskState if s.terminal)


def move(source: S | None, target: S, story: object = "") -> S:
    """Return `target` if the table of its machine allows to go there from `source`, else raise InvalidTransition.

    `story` (any object with a readable str) is put into the error, so that a bug report can be replayed.
    """
    if (source, target) in _BY_ENUM[type(target)]:
        return target
    came = "nothing" if source is None else source.name
    raise InvalidTransition(f"{type(target).__name__}: no transition from {came} to {target.name}; story: {story}")
