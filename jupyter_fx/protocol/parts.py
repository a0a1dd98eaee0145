"""What messages are made of: tasks, functions, sessions, values, errors. Whoever uses one takes it from `messages`.

How they are encoded, in which units, and what may be changed: `messages`.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec

__all__ = [
    "BlobRef",
    "CancelMode",
    "ErrorInfo",
    "EventKind",
    "Function",
    "Kind",
    "Part",
    "RefInfo",
    "Resources",
    "SessionSpec",
    "TaskOptions",
    "TaskSpec",
    "Watch",
]


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


class Part(msgspec.Struct, array_like=True, gc=False):
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


class RefInfo(Part):
    """A value that stayed where it was made."""

    ref_id: str
    endpoint_id: str
    size: int
    summary: dict[str, Any]
    session_id: str = ""


class ErrorInfo(Part):
    """An error in plain words; `etype` is a class of jupyter_fx.errors or of the user's code.

    `details` is JSON-like (signal, rss, last_lines, remote_traceback, module …).
    """

    etype: str
    message: str
    details: dict[str, Any] = {}


class TaskOptions(Part):
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


class TaskSpec(Part):
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


class Function(Part):
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
