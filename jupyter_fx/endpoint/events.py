"""What the shell tells the agent's state, and what the state asks the shell to do. Pure.

Events are also the hub's messages (`Dispatch`, `CancelTasks`, `Demand`, `SessionLease`, `CloseSession`, `Functions`)
and the manager's (`talk`), as they are.
"""

from __future__ import annotations

from typing import Any

import msgspec

from jupyter_fx.protocol.messages import BlobRef, ErrorInfo, RefInfo

__all__ = [
    "Acked",
    "Assemble",
    "Assembled",
    "Away",
    "BlockDrains",
    "Came",
    "DiskState",
    "Draining",
    "Fetch",
    "Fetched",
    "FindRef",
    "From",
    "Instruction",
    "KeepFunction",
    "KeepRef",
    "LoadFunction",
    "Opened",
    "Patience",
    "Provisioned",
    "Record",
    "RefKept",
    "Remove",
    "Replayed",
    "RoundTrip",
    "Send",
    "Tell",
    "Upload",
    "Uploaded",
    "Write",
    "WriteFailed",
]


class Opened(msgspec.Struct, frozen=True):
    """The link to the hub is open. `user`: whose endpoint this is, as the hub says."""

    user: str


class Acked(msgspec.Struct, frozen=True):
    """The hub holds all kept messages up to this number."""

    number: int


class Fetched(msgspec.Struct, frozen=True):
    """Bytes that were asked for are in `path`, or there is an `error`."""

    digest: str
    path: str = ""
    error: ErrorInfo | None = None


class Uploaded(msgspec.Struct, frozen=True):
    """A file has become a blob at the hub, or there is an `error`. `key` is that of the `Upload`."""

    key: str
    blob: BlobRef | None = None
    error: ErrorInfo | None = None


class RefKept(msgspec.Struct, frozen=True):
    """A result stays here as a ref, or cannot: `error`. `key` is the `ref_id` of its `KeepRef`."""

    key: str
    error: ErrorInfo | None = None


class WriteFailed(msgspec.Struct, frozen=True):
    """The journal did not take a record; what should have followed it was not done."""

    record: Record
    why: str
    then: list[Any] = []


class DiskState(msgspec.Struct, frozen=True):
    """Whether the disk is nearly full (a sentence), or not (empty)."""

    why: str


class Draining(msgspec.Struct, frozen=True):
    """Take nothing more; give back what has not started."""

    reason: str


class RoundTrip(msgspec.Struct, frozen=True):
    """Seconds that a question to the hub took."""

    seconds: float


class Replayed(msgspec.Struct, frozen=True):
    """What the journal held when the agent started: its records, oldest first."""

    records: list[Record]
    adopting: bool = False
    """A manager that outlived the agent will report: wait for that before judging what had started."""
    managers: list[str] = []
    """Those that will, where there may be many."""


class Record(msgspec.Struct, array_like=True):
    """One record of the journal. `kind` is one of `journal_kinds`; `data` belongs to it."""

    kind: int
    data: Any


class Send(msgspec.Struct):
    """Send to the hub. A kept one is followed by `AgentState.sent(number, marks)`."""

    message: Any
    keep: bool = False
    marks: list[str] = []
    """Task ids whose journal entries end with the ack of this message."""


class Tell(msgspec.Struct):
    """Tell the manager; `to`: which one, where there are many ("": the only one, "*": each)."""

    message: Any
    to: str = ""


class From(msgspec.Struct, frozen=True):
    """What one of many managers says (`talk`)."""

    manager: str
    message: Any


class Came(msgspec.Struct, frozen=True):
    """A manager of a block is linked. `seconds`: for how long its block still lasts, infinity when nobody knows."""

    manager: str
    block: str
    seconds: float = float("inf")
    host: str = ""
    allocation: str = ""


class Away(msgspec.Struct, frozen=True):
    """The link to a manager is broken: it may live, and is given nothing."""

    manager: str


class Patience(msgspec.Struct, frozen=True):
    """Managers of an earlier agent have been waited for long enough, as far as nothing had started."""


class BlockDrains(msgspec.Struct, frozen=True):
    """The managers of a block get nothing more; `back`: what has not started there comes back, too."""

    block: str
    back: bool = False
    reason: str = ""


class Assembled(msgspec.Struct, frozen=True):
    """The payload of this work is in its file."""

    work: Any


class Provisioned(msgspec.Struct, frozen=True):
    """What is to be told of blocks: `info` for AgentStatus, `why` there is no room (empty: nothing is amiss)."""

    info: dict[str, Any]
    why: str = ""


class Write(msgspec.Struct):
    """Append to the journal, then do what follows; if the journal does not take it, do not, but say `WriteFailed`."""

    record: Record
    then: list[Any]


class KeepFunction(msgspec.Struct):
    """Store a function's envelope by its digest."""

    digest: str
    payload: bytes


class LoadFunction(msgspec.Struct):
    """A function's envelope is in this file: store it by its digest and tell the manager."""

    digest: str
    path: str


class Fetch(msgspec.Struct):
    """Get a blob of the hub into a file that is known as `key`; answered by `Fetched(key)`."""

    blob: BlobRef
    key: str


class FindRef(msgspec.Struct):
    """Say where the file of a result ref is; answered by `Fetched` with `ref:` and its id for a digest."""

    ref: RefInfo


class Assemble(msgspec.Struct):
    """Make the payload of this work from `parts` (bytes, or paths of files) in a file of the agent's, then tell the
    manager.
    """

    work: Any
    parts: list[bytes | str]


class Upload(msgspec.Struct):
    """Make a blob at the hub of the file at `path`; answered by `Uploaded(key)`."""

    key: str
    path: str


class KeepRef(msgspec.Struct):
    """Move the file at `path` into the store as result ref `ref_id`; answered by `RefKept`."""

    ref_id: str
    path: str


class Remove(msgspec.Struct):
    """Delete a file of the agent's own."""

    path: str


Instruction = Send | Tell | Write | KeepFunction | LoadFunction | Fetch | FindRef | Assemble | Upload | KeepRef | Remove
