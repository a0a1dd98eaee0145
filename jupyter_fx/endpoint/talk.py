"""What an agent and a manager say to each other, whichever carrier takes it (inline: the objects; ZeroMQ: msgpack).

agent → manager: `Code Place Go CancelWork OpenWorker CloseWorker Ask Drain Halt`; manager → agent: `Want Back Done Said
SessionUp SessionGone Answer Capacity`. A manager starts nothing without a `Go` for its `Want`: the agent journals START
in between.
"""

from __future__ import annotations

from typing import Any

import msgspec

from jupyter_fx.protocol.messages import ErrorInfo

__all__ = [
    "Answer",
    "Ask",
    "Back",
    "CancelWork",
    "Capacity",
    "CloseWorker",
    "Code",
    "Done",
    "Drain",
    "Ended",
    "FromManager",
    "Go",
    "Halt",
    "OpenWorker",
    "Place",
    "Report",
    "Said",
    "SessionGone",
    "SessionUp",
    "ToManager",
    "Want",
    "Work",
]


class Work(msgspec.Struct, array_like=True, gc=False):
    """One task as a manager sees it. `path`: the payload is in this file instead. `cores`: slots that it takes;
    `memory`: bytes that its worker may have, 0: as many as there are; `gpus`: devices that are its alone.

    `timeout`: seconds that it may run, 0 for ever. `items`: items of a map chunk. `parts`: files of the
    buffers that the payload leaves out.
    """

    task_id: str
    kind: int
    function: str
    payload: bytes
    session: str = ""
    path: str = ""
    cores: int = 1
    timeout: float = 0.0
    items: int = 0
    attempt: int = 1
    memory: int = 0
    gpus: int = 0
    parts: list[str] = []
    environment: str = ""
    """The image that it wants; empty: the host's own Python."""


class Code(msgspec.Struct, array_like=True, tag=1):
    """A function's envelope, sent before the first work that names its digest."""

    digest: str
    payload: bytes


class Place(msgspec.Struct, array_like=True, tag=2):
    """Work to do, in this order."""

    work: list[Work]


class Go(msgspec.Struct, array_like=True, tag=3):
    """START of these tasks of a `Want` is journaled; those of the ticket that are not named must not start."""

    ticket: int
    tasks: list[str]


class CancelWork(msgspec.Struct, array_like=True, tag=4):
    """Stop one task; `mode` is a CancelMode. Answered by its `Done`."""

    task_id: str
    mode: int


class OpenWorker(msgspec.Struct, array_like=True, tag=5):
    """Lease a worker to a session."""

    session_id: str
    cwd: str
    cores: int = 1
    memory: int = 0
    gpus: int = 0
    environment: str = ""


class CloseWorker(msgspec.Struct, array_like=True, tag=6):
    """End a session's worker; its work that has not started is answered as cancelled."""

    session_id: str
    reason: str
    kill: bool = False


class Drain(msgspec.Struct, array_like=True, tag=7):
    """Give back what has not started (`Back` with `home`), start nothing more."""

    reason: str


class Halt(msgspec.Struct, array_like=True, tag=8):
    """Kill what runs (answered as lost with this reason) and end every process."""

    reason: str


class Ask(msgspec.Struct, array_like=True, tag=9):
    """A question about a session's variables (docs/worker-protocol.md, Questions), for its worker while it is idle.
    Answered by `Answer`, at once when it is not.
    """

    n: int
    session_id: str
    what: str
    args: dict[str, Any]


class Want(msgspec.Struct, array_like=True, tag=16):
    """These tasks are about to be handed to one worker: journal START and say `Go`."""

    ticket: int
    tasks: list[str]


class Back(msgspec.Struct, array_like=True, tag=17):
    """These did not start after all. With `home` they leave the manager, else it keeps them and will ask again."""

    tasks: list[str]
    home: bool = False
    reason: str = ""


class Ended(msgspec.Struct, array_like=True, gc=False):
    """How a task ended: `outcome` is `ok`, `error`, `cancelled`, `timeout` or `lost`.

    `t0`, `t1`: seconds since the epoch, 0.0 when it never started. `path`: the result is in this file of `size` bytes.
    """

    task_id: str
    outcome: str
    payload: bytes = b""
    t0: float = 0.0
    t1: float = 0.0
    path: str = ""
    size: int = 0
    error: ErrorInfo | None = None
    usage: dict[str, Any] | None = None


class Done(msgspec.Struct, array_like=True, tag=18):
    """Ended tasks."""

    results: list[Ended]


class Said(msgspec.Struct, array_like=True, tag=19):
    """Pieces of stories, in order per task: [[task_id, EventKind, t, data, k], …]. `k` counts the pieces of a task from
    0: a manager that outlives its agent may tell the last ones twice.
    """

    pieces: list[tuple[str, int, float, Any, int]]


class SessionUp(msgspec.Struct, array_like=True, tag=20):
    """A session's worker said that it is up."""

    session_id: str
    info: dict[str, Any]


class SessionGone(msgspec.Struct, array_like=True, tag=21):
    """A session's worker is gone; `lost` when nobody asked for it; `refused`: there was none, for the `reason` is what
    was asked for.
    """

    session_id: str
    reason: str
    lost: bool
    info: dict[str, Any] = {}
    refused: bool = False


class Capacity(msgspec.Struct, array_like=True, tag=22):
    """What the manager has: cores in all, and what a person wants to know (workers, environments, why it is not
    ready).
    """

    cores: int
    ready: bool
    info: dict[str, Any]


class Report(msgspec.Struct, array_like=True, tag=23):
    """All that the manager holds: tasks that have not ended, sessions. It speaks to an agent that starts anew, of what
    that one's predecessor gave. With `gone` the manager is dead and holds nothing at all."""

    tasks: list[str]
    sessions: list[str]
    gone: bool = False
    to: str = ""
    """The agent (its mailbox's process) that it was made for. A later one may get it all the same, too old by then."""
    why: str = ""
    """Of what it died."""


class Answer(msgspec.Struct, array_like=True, tag=24):
    """What a session's worker answered: JSON. Without it `busy` names the task that it is at, or `error` says why."""

    n: int
    data: bytes = b""
    busy: str = ""
    error: str = ""


ToManager = Code | Place | Go | CancelWork | OpenWorker | CloseWorker | Ask | Drain | Halt
FromManager = Want | Back | Done | Said | SessionUp | SessionGone | Answer | Capacity | Report
