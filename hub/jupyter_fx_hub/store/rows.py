"""What questions to the store are answered with."""

from __future__ import annotations

from typing import Any

import msgspec

from jupyter_fx.protocol.messages import BlobRef, ErrorInfo, Resources

__all__ = ["EndpointRow", "FunctionRow", "SessionRow", "TaskRow", "TokenRow", "UnfinishedTask"]


class TaskRow(msgspec.Struct):
    """A task without its payloads. `number` grows in the order of submission; `fence` is (hub boot, counter)."""

    number: int
    task_id: str
    owner: str
    kind: int
    state: int
    attempt: int
    fence: tuple[int, int]
    endpoint_id: str
    session_id: str
    function: str
    name: str
    group: str
    submitted: float
    started: float
    finished: float
    expires_at: float
    history: list[tuple[int, int, float, str]]
    error: ErrorInfo | None = None
    usage: dict[str, Any] | None = None


class UnfinishedTask(msgspec.Struct):
    """What the hub needs to take a task up again after a restart."""

    row: TaskRow
    hash: bytes
    spec: bytes


class EndpointRow(msgspec.Struct):
    """An endpoint."""

    endpoint_id: str
    owner: str
    name: str
    state: int
    info: dict[str, Any]
    created: float
    seen: float


class SessionRow(msgspec.Struct):
    """A session."""

    session_id: str
    owner: str
    endpoint_id: str
    state: int
    kernel_id: str
    epoch: str
    opened: float
    changed: float
    reason: str
    info: dict[str, Any]
    resources: Resources
    spec: bytes


class FunctionRow(msgspec.Struct):
    """A function: its envelope, or the blob that holds it."""

    digest: str
    name: str
    created: float
    payload: bytes
    blob: BlobRef | None


class TokenRow(msgspec.Struct):
    """A token without its secret. `expires` and `revoked` are 0 where they never happen."""

    token_id: str
    owner: str
    scopes: list[str]
    note: str
    created: float
    expires: float
    revoked: float
