"""Named questions to the store: `store.read("outcome", owner, task_id)`. They run in the writer thread.

Whatever belongs to a user is asked for with its `owner`; another user's ids answer exactly like missing ones. The few
questions without an owner are the hub's own, at its start and for its links; the docstring says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Integer, Select, Text, func, literal_column, select
from sqlalchemy.engine import Connection

from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import BlobRef, ErrorInfo, Outcome, RefInfo, Resources
from jupyter_fx_hub.store import schema
from jupyter_fx_hub.store.leases import Lease, decode_leases
from jupyter_fx_hub.store.rows import EndpointRow, FunctionRow, SessionRow, TaskRow, TokenRow, UnfinishedTask
from jupyter_fx_hub.store.streams import Streams

__all__ = ["READS", "Reader"]

_T = schema.tasks.c
# A parameter would hide from SQLite that a partial index may be used.
_TEN: Final[ColumnElement[int]] = literal_column("10", Integer)
_NO_TEXT: Final[ColumnElement[str]] = literal_column("''", Text)
_LIMIT: Final = 1000
_UNPACK: Final = msgspec.msgpack.Decoder()
_HISTORY: Final = msgspec.msgpack.Decoder(list[tuple[int, int, float, str]])
_OUTCOME: Final = msgspec.msgpack.Decoder(
    tuple[ErrorInfo | None, BlobRef | None, RefInfo | None, list[float], dict[str, Any] | None]
)
_RESOURCES: Final = msgspec.msgpack.Decoder(Resources)


class Reader(NamedTuple):
    """What a question may use."""

    connection: Connection
    streams: Streams


_ROW: Final = (
    *(_T.pk, _T.task_id, _T.owner, _T.kind, _T.state, _T.attempt, _T.boot, _T.fence, _T.endpoint_id, _T.session_id),
    *(_T.function, _T.name, _T.grp, _T.submitted, _T.started, _T.finished, _T.expires_at, _T.history, _T.outcome),
)


def _task_row(found: Any) -> TaskRow:
    row = tuple(found)
    outcome = _OUTCOME.decode(row[18]) if row[18] else (None,) * 5
    return TaskRow(
        *(row[0], row[1].hex(), row[2], row[3], row[4], row[5], (row[6], row[7]), row[8], row[9], row[10], row[11]),
        *(row[12], row[13], row[14], row[15], row[16], _HISTORY.decode(row[17]) if row[17] else []),
        outcome[0],
        outcome[4],
    )


def _owned(owner: str, task_id: str) -> ColumnElement[bool]:
    try:
        key = bytes.fromhex(task_id)
    except ValueError:
        key = b""
    return (_T.task_id == key) & (_T.owner == owner)


# --- tasks ---


def task(reader: Reader, owner: str, task_id: str) -> TaskRow | None:
    """The task with exactly this id."""
    found = reader.connection.execute(select(*_ROW).where(_owned(owner, task_id))).first()
    return _task_row(found) if found else None


def find_tasks(reader: Reader, owner: str, text: str, limit: int = 5) -> list[TaskRow]:
    """Tasks that a person may mean: by whole id, by the last six or more digits, else by name; the newest first."""
    low = text.lower()
    if len(low) == 32 and (exact := task(reader, owner, low)):
        return [exact]
    found: list[TaskRow] = []
    if 6 <= len(low) < 32 and all(c in "0123456789abcdef" for c in low):
        whole = bytes.fromhex(low[len(low) % 2 :])
        # `task_id` and `pk` stand together in the index of ids: the rows themselves are not read.
        candidates = reader.connection.execute(
            select(_T.pk).where(func.substr(_T.task_id, 17 - len(whole), len(whole)) == whole).limit(1000)
        ).scalars()
        rows = reader.connection.execute(
            select(*_ROW).where(_T.pk.in_(list(candidates)), _T.owner == owner).order_by(_T.pk.desc())
        )
        found = [row for row in map(_task_row, rows) if row.task_id.endswith(low)]
    if not found:
        query = (
            select(*_ROW)
            .where(_T.owner == owner, _T.name == text, _T.name != _NO_TEXT)
            .order_by(_T.pk.desc())
            .limit(limit)
        )
        found = [_task_row(row) for row in reader.connection.execute(query)]
    return found[:limit]


def tasks(
    reader: Reader,
    owner: str,
    *,
    states: list[int] | None = None,
    limit: int = 100,
    before: int | None = None,
    group: str | None = None,
    session: str | None = None,
    called: str | None = None,
    kernel: str | None = None,
) -> tuple[list[TaskRow], int | None]:
    """The owner's tasks, newest first, and the cursor to give as `before` for the next ones (None: that was all)."""
    limit = max(1, min(limit, _LIMIT))
    query = select(*_ROW).where(_T.owner == owner)
    if states is not None:
        query = query.where(_T.state.in_(states))
    if before is not None:
        query = query.where(_T.pk < before)
    if group:
        query = query.where(_T.grp == group, _T.grp != _NO_TEXT)
    if session:
        query = query.where(_T.session_id == session, _T.session_id != _NO_TEXT)
    if called:
        query = query.where(_T.name == called, _T.name != _NO_TEXT)
    if kernel:
        of_kernel = select(_S.session_id).where(_S.owner == owner, _S.kernel_id == kernel)
        query = query.where(_T.session_id.in_(of_kernel), _T.session_id != _NO_TEXT)
    rows = [_task_row(row) for row in reader.connection.execute(query.order_by(_T.pk.desc()).limit(limit))]
    return rows, rows[-1].number if len(rows) == limit else None


def task_hash(reader: Reader, owner: str, task_id: str) -> bytes | None:
    """The hash that the task was submitted with."""
    found: bytes | None = reader.connection.execute(select(_T.hash).where(_owned(owner, task_id))).scalar()
    return found


def task_spec(reader: Reader, owner: str, task_id: str) -> bytes | None:
    """The encoded TaskSpec."""
    found: bytes | None = reader.connection.execute(_with_spec(select(_SPEC)).where(_owned(owner, task_id))).scalar()
    return found


def outcome(reader: Reader, owner: str, task_id: str) -> Outcome | None:
    """How the task ended; None while it has not, or when there is no such task."""
    found = reader.connection.execute(
        select(_T.state, _T.payload, _T.outcome, _T.endpoint_id, _T.attempt).where(
            _owned(owner, task_id), _T.state >= 10
        )
    ).first()
    if found is None:
        return None
    error, blob, ref, times, usage = _OUTCOME.decode(found.outcome) if found.outcome else (None, None, None, [], None)
    return Outcome(
        task_id, found.state, found.payload or b"", error, blob, ref, times, usage, found.endpoint_id, found.attempt
    )


_SPEC: Final = func.coalesce(_T.spec, schema.bodies.c.spec)


def _with_spec(query: Select[Any]) -> Select[Any]:
    return query.select_from(schema.tasks.outerjoin(schema.bodies, schema.bodies.c.task == _T.pk))


def unfinished(reader: Reader, endpoint_id: str, after: int = 0, limit: int = _LIMIT) -> list[UnfinishedTask]:
    """The hub's own: a window of an endpoint's unfinished tasks, in order of submission (`""`: those that have none).

    Go on with `after` = the last row's number.
    """
    query = _with_spec(select(*_ROW, _T.hash, _SPEC)).where(
        _T.endpoint_id == endpoint_id, _T.state < _TEN, _T.pk > after
    )
    found = reader.connection.execute(query.order_by(_T.pk).limit(limit))
    rows = [UnfinishedTask(_task_row(row), row[-2], row[-1]) for row in found]
    if rows:
        leases = leased(reader, endpoint_id)
        for item in rows:
            _overlay(item.row, leases.get(item.row.task_id))
    return rows


def leased(reader: Reader, endpoint_id: str) -> dict[str, Lease]:
    """The hub's own: leases of an endpoint's tasks that stand in rows of their own; some may be worth nothing."""
    c = schema.leases.c
    query = select(c.boot, c.at, c.tasks).where(c.endpoint_id == endpoint_id)
    return decode_leases((row.boot, row.at, row.tasks) for row in reader.connection.execute(query))


def _overlay(row: TaskRow, lease: Lease | None) -> None:
    """Put a lease that its task's row does not tell of yet into it."""
    if lease is not None and row.attempt < lease.attempt:
        row.state, row.attempt, row.fence = TaskState.LEASED.value, lease.attempt, lease.fence
        row.history = [*row.history, (lease.n, row.state, lease.at, "")]


def unfinished_counts(reader: Reader) -> dict[str, int]:
    """The hub's own: how many unfinished tasks each endpoint has."""
    query = select(_T.endpoint_id, func.count()).where(_T.state < _TEN).group_by(_T.endpoint_id)
    return {row[0]: row[1] for row in reader.connection.execute(query)}


# --- events and text ---


def events(
    reader: Reader, owner: str, task_id: str, start: int = 0, limit: int = _LIMIT
) -> tuple[list[tuple[int, int, float, Any]], int | None]:
    """Events [n, kind, t, data] from number `start` on, and the number to go on from (None: that was all so far)."""
    from jupyter_fx_hub.store.story import read_events

    found = reader.connection.execute(select(_T.pk, _T.history).where(_owned(owner, task_id))).first()
    if found is None:
        return [], None
    return read_events(reader, found.pk, _HISTORY.decode(found.history) if found.history else [], start, limit)


def log_text(
    reader: Reader, owner: str, task_id: str, kind: int | None = None, offset: int = 0, limit: int = 256 * 1024
) -> dict[str, Any] | None:
    """Text that is kept of a task: see `story.read_log`. None when there is no such task."""
    from jupyter_fx_hub.store.story import read_log

    found = reader.connection.execute(select(_T.pk).where(_owned(owner, task_id))).scalar()
    return None if found is None else read_log(reader, found, kind, offset, limit)


def event_numbers(reader: Reader, task_id: str) -> tuple[int, dict[int, int]]:
    """The hub's own, to go on after a restart: the next `n` of a task, and per attempt the next `k`."""
    found = reader.connection.execute(select(_T.pk, _T.history).where(_T.task_id == bytes.fromhex(task_id))).first()
    if found is None:
        return 0, {}
    c = schema.events.c
    rows = reader.connection.execute(
        select(c.attempt, func.max(c.n), func.max(c.k)).where(c.task == found.pk).group_by(c.attempt)
    ).all()
    history = _HISTORY.decode(found.history) if found.history else []
    top = max([row[1] for row in rows] + [item[0] for item in history], default=-1)
    return top + 1, {row[0]: row[2] + 1 for row in rows}


# --- functions, endpoints, sessions ---


def function(reader: Reader, owner: str, digest: str) -> FunctionRow | None:
    """A function that the owner has registered."""
    c = schema.functions.c
    found = reader.connection.execute(
        select(c.digest, c.name, c.created, c.payload, c.blob, c.blob_size).where(c.owner == owner, c.digest == digest)
    ).first()
    if found is None:
        return None
    return FunctionRow(*found[:4], blob=BlobRef(found.blob, found.blob_size) if found.blob else None)


_E = schema.endpoints.c
_ENDPOINT: Final = (_E.endpoint_id, _E.owner, _E.name, _E.state, _E.info, _E.created, _E.seen)


def _endpoint_row(row: Any) -> EndpointRow:
    return EndpointRow(row[0], row[1], row[2], row[3], _UNPACK.decode(row[4]), row[5], row[6])


def endpoints(reader: Reader, owner: str) -> list[EndpointRow]:
    """The owner's endpoints that are not deleted, by name."""
    query = select(*_ENDPOINT).where(_E.owner == owner, _E.state < _TEN).order_by(_E.name)
    return [_endpoint_row(row) for row in reader.connection.execute(query)]


def all_endpoints(reader: Reader) -> list[EndpointRow]:
    """The hub's own, at its start: everybody's endpoints that are not deleted."""
    return [_endpoint_row(row) for row in reader.connection.execute(select(*_ENDPOINT).where(_E.state < _TEN))]


def endpoint(reader: Reader, owner: str, name_or_id: str) -> EndpointRow | None:
    """The endpoint with this id or name."""
    query = select(*_ENDPOINT).where(
        _E.owner == owner, _E.state < _TEN, (_E.endpoint_id == name_or_id) | (_E.name == name_or_id)
    )
    found = reader.connection.execute(query).first()
    return _endpoint_row(found) if found else None


def endpoint_by_credential(reader: Reader, credential_hash: bytes) -> EndpointRow | None:
    """The hub's own: whose credential this is the hash of."""
    if not credential_hash:
        return None
    query = select(*_ENDPOINT).where(_E.credential_hash == credential_hash, _E.state < _TEN)
    found = reader.connection.execute(query).first()
    return _endpoint_row(found) if found else None


_S = schema.sessions.c
_SESSION: Final = (
    *(_S.session_id, _S.owner, _S.endpoint_id, _S.state, _S.kernel_id, _S.epoch, _S.opened, _S.changed, _S.reason),
    *(_S.info, _S.resources, _S.spec),
)


def _session_row(row: Any) -> SessionRow:
    return SessionRow(
        *(row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7], row[8]),
        *(_UNPACK.decode(row[9]), _RESOURCES.decode(row[10]), row[11]),
    )


def sessions(reader: Reader, owner: str, kernel_id: str | None = None, *, live: bool = True) -> list[SessionRow]:
    """The owner's sessions, of one kernel if it is given; ended ones only with `live` False."""
    query = select(*_SESSION).where(_S.owner == owner)
    if kernel_id is not None:
        query = query.where(_S.kernel_id == kernel_id)
    if live:
        query = query.where(_S.state < _TEN)
    return [_session_row(row) for row in reader.connection.execute(query.order_by(_S.changed.desc()).limit(_LIMIT))]


def session(reader: Reader, owner: str, session_id: str) -> SessionRow | None:
    """One session."""
    found = reader.connection.execute(select(*_SESSION).where(_S.owner == owner, _S.session_id == session_id)).first()
    return _session_row(found) if found else None


def live_sessions(reader: Reader) -> list[SessionRow]:
    """The hub's own, at its start: everybody's sessions that have not ended."""
    return [_session_row(row) for row in reader.connection.execute(select(*_SESSION).where(_S.state < _TEN))]


# --- tokens and codes ---

_K = schema.tokens.c
_TOKEN: Final = (_K.token_id, _K.owner, _K.scopes, _K.note, _K.created, _K.expires, _K.revoked)


def _token_row(row: Any) -> TokenRow:
    return TokenRow(row[0], row[1], row[2].split(), *row[3:])


def token(reader: Reader, token_hash: bytes) -> TokenRow | None:
    """The hub's own: the token with this hash, revoked and expired ones too."""
    found = reader.connection.execute(select(*_TOKEN).where(_K.hash == token_hash)).first()
    return _token_row(found) if found else None


def tokens(reader: Reader, owner: str) -> list[TokenRow]:
    """The owner's tokens, newest first."""
    query = select(*_TOKEN).where(_K.owner == owner).order_by(_K.created.desc())
    return [_token_row(row) for row in reader.connection.execute(query)]


def code(reader: Reader, code_hash: bytes, now: float) -> tuple[str, str] | None:
    """The hub's own: (owner, endpoint name) of an enrolment code that is still good at `now`."""
    c = schema.codes.c
    query = select(c.owner, c.name).where(c.hash == code_hash, c.used == 0, c.expires > now)
    found = reader.connection.execute(query).first()
    return (found[0], found[1]) if found else None


# --- blobs ---


def blob_size(reader: Reader, owner: str, digest: str) -> int | None:
    """Bytes of a blob that the owner has a grant for."""
    b, g = schema.blobs.c, schema.grants.c
    query = select(b.size).join(schema.grants, g.digest == b.digest).where(g.owner == owner, b.digest == digest)
    found: int | None = reader.connection.execute(query).scalar()
    return found


def blob_for_endpoint(reader: Reader, endpoint_id: str, digest: str) -> int | None:
    """The hub's own: bytes of a blob that an endpoint may read: put by it, or needed by an unfinished task of it."""
    own = blob_size(reader, f"endpoint:{endpoint_id}", digest)
    if own is not None:
        return own
    b, u, f, g = schema.blobs.c, schema.uses.c, schema.functions.c, schema.grants.c
    held = (_T.endpoint_id == endpoint_id) & (_T.state < _TEN)
    # That the task's owner has the grant is asked, too: a task that names a digest by guessing opens nothing.
    granted = select(g.digest).where(g.digest == digest, g.owner == _T.owner).exists()
    by_task = select(_T.pk).join(schema.uses, u.task == _T.pk).where(held, u.digest == digest, granted)
    by_function = (
        select(_T.pk)
        .join(schema.functions, (f.digest == _T.function) & (f.owner == _T.owner))
        .where(held, f.blob == digest, granted)
    )
    # The result of a task that one of its tasks takes as an input.
    source, i = schema.tasks.alias("source"), schema.inputs.c
    by_input = (
        select(_T.pk)
        .join(schema.inputs, i.task == _T.pk)
        .join(source, (source.c.task_id == i.input) & (source.c.owner == _T.owner))
        .join(schema.uses, u.task == source.c.pk)
        .where(held, u.digest == digest, granted)
    )
    query = select(b.size).where(b.digest == digest, by_task.exists() | by_function.exists() | by_input.exists())
    found: int | None = reader.connection.execute(query).scalar()
    return found


def idle_blobs(reader: Reader, before: float, limit: int = _LIMIT) -> list[str]:
    """The hub's own: digests that nothing reaches and that nobody used since `before`."""
    b, u, f = schema.blobs.c, schema.uses.c, schema.functions.c
    query = (
        select(b.digest)
        .where(b.used < before)
        .where(~select(u.task).where(u.digest == b.digest).exists())
        .where(~select(f.digest).where(f.blob == b.digest).exists())
        .limit(limit)
    )
    return list(reader.connection.execute(query).scalars())


def known_blobs(reader: Reader, digests: list[str]) -> set[str]:
    """The hub's own: which of these have a row."""
    b = schema.blobs.c
    return set(reader.connection.execute(select(b.digest).where(b.digest.in_(digests))).scalars())


READS: Final[dict[str, Callable[..., Any]]] = {
    read.__name__: read
    for read in (
        *(task, find_tasks, tasks, task_hash, task_spec, outcome, unfinished, unfinished_counts),
        *(events, log_text, event_numbers, function, endpoints, all_endpoints, endpoint, endpoint_by_credential),
        *(sessions, session, live_sessions, token, tokens, code, blob_size, blob_for_endpoint, idle_blobs, known_blobs),
    )
}
"""Every question by its name."""
