"""What goes into the state (events) and what comes out (instructions).

`link` numbers name client links; they are never used again. An instruction with `after=True` may be carried out only
once all `Writes` of the same answer are on disk. Instructions for one link or one endpoint keep their order.
"""

from __future__ import annotations

from typing import Any

import msgspec

from jupyter_fx.protocol.messages import ErrorInfo, Function, Outcome, SessionSpec, TaskSpec
from jupyter_fx_hub.store.ops import Op

__all__ = [
    "AgentDown",
    "AgentUp",
    "CloseAgent",
    "Confirmed",
    "DeleteEndpoint",
    "EndpointKnown",
    "FinishedTask",
    "Found",
    "FromAgent",
    "FromClient",
    "Instruction",
    "LinkGone",
    "LoadedTask",
    "Need",
    "Refused",
    "RenewSession",
    "Replay",
    "SessionKnown",
    "StateEvent",
    "Tick",
    "ToAgent",
    "ToClient",
    "ToOwner",
    "Writes",
]


class FromClient(msgspec.Struct, frozen=True):
    """A message of a client. `fresh`: its task ids were certainly never submitted before (not a redelivery)."""

    link: int
    owner: str
    message: Any
    fresh: bool = False
    looked: bool = False
    """What `Need` asked for has been looked up: what is unknown still does not exist."""
    local: bool = False
    """Of a message about a session: whether it came from this machine."""


class FromAgent(msgspec.Struct, frozen=True):
    """A message of an endpoint's agent."""

    endpoint_id: str
    message: Any
    looked: bool = False


class AgentUp(msgspec.Struct, frozen=True):
    """An agent was admitted: its inventory follows."""

    endpoint_id: str
    info: dict[str, Any] = {}
    incarnation: str = ""
    """Names the agent process: the same on its reconnects, another one after its restart."""


class AgentDown(msgspec.Struct, frozen=True):
    """Its link ended; `goodbye`: because it said so."""

    endpoint_id: str
    goodbye: bool = False


class LinkGone(msgspec.Struct, frozen=True):
    """A client's link ended. Its tasks go on. `silent`: because nothing was heard, so that its process may live."""

    link: int
    silent: bool = False


class Confirmed(msgspec.Struct, frozen=True):
    """These new tasks are on disk: they were unknown before."""

    task_ids: list[str]


class Refused(msgspec.Struct, frozen=True):
    """The store had this task already (`exists`) or another one under its id (`conflict`)."""

    task_id: str
    kind: str


class EndpointKnown(msgspec.Struct, frozen=True):
    """An endpoint from the store, or one that was enrolled now (`new`)."""

    endpoint_id: str
    owner: str
    name: str
    created: float
    state: int = 0
    seen: float = 0.0
    info: dict[str, Any] = {}
    credential_hash: bytes = b""
    new: bool = False


class SessionKnown(msgspec.Struct, frozen=True):
    """A session from the store that is not at its end."""

    spec: SessionSpec
    owner: str
    endpoint_id: str
    state: int
    opened: float
    info: dict[str, Any] = {}


class RenewSession(msgspec.Struct, frozen=True):
    """Its user wants to keep it."""

    session_id: str


class DeleteEndpoint(msgspec.Struct, frozen=True):
    """Its owner deletes it."""

    endpoint_id: str


class LoadedTask(msgspec.Struct):
    """A task from the store that is not at its end. `history` is decoded; `next_n`: number of its next event."""

    owner: str
    spec: TaskSpec
    hash: bytes
    state: int
    attempt: int
    fence: tuple[int, int]
    endpoint_id: str
    submitted: float
    history: list[tuple[int, int, float, str]]
    next_n: int
    out_attempt: int = 0
    out_k: int = -1
    started: float = 0.0
    expires_at: float = 0.0


class FinishedTask(msgspec.Struct):
    """A task from the store that is at its end."""

    owner: str
    hash: bytes
    outcome: Outcome


class Found(msgspec.Struct, frozen=True):
    """Rows from the store: a window at the start, or what `Need` asked for."""

    tasks: list[LoadedTask] = []
    finished: list[FinishedTask] = []
    functions: list[tuple[str, Function]] = []
    """(owner, function)"""


class Tick(msgspec.Struct, frozen=True):
    """Time has passed."""


StateEvent = (
    FromClient
    | FromAgent
    | AgentUp
    | AgentDown
    | LinkGone
    | Confirmed
    | Refused
    | EndpointKnown
    | SessionKnown
    | RenewSession
    | DeleteEndpoint
    | Found
    | Tick
)


class Writes(msgspec.Struct, frozen=True):
    """Write these, in this order. `confirm`: tasks whose insertion is to be answered with Confirmed or Refused."""

    ops: list[Op]
    confirm: list[str] = []


class ToAgent(msgspec.Struct, frozen=True):
    """Send to the agent of this endpoint, if it is connected (the same connection as now)."""

    endpoint_id: str
    message: Any
    after: bool = False


class ToClient(msgspec.Struct, frozen=True):
    """Send to this link, if it is there."""

    link: int
    message: Any
    after: bool = False


class ToOwner(msgspec.Struct, frozen=True):
    """Send to every link of this user."""

    owner: str
    message: Any


class Replay(msgspec.Struct, frozen=True):
    """Tell this link what the store has of the task: events from `start` (up to `upto`, -1: all), then its outcome if
    there is one.
    """

    link: int
    owner: str
    task_id: str
    start: int
    upto: int
    watch: int


class Need(msgspec.Struct, frozen=True):
    """Look these up, answer with Found, then hand in `event` (looked=True). Later messages of its sender wait."""

    task_ids: list[str]
    functions: list[tuple[str, str]]
    event: FromClient | FromAgent


class CloseAgent(msgspec.Struct, frozen=True):
    """Say Goodbye to the agent."""

    endpoint_id: str
    error: ErrorInfo
    retry: bool


Instruction = Writes | ToAgent | ToClient | ToOwner | Replay | Need | CloseAgent
