"""Ops about all that is no task: users, tokens, codes, functions, endpoints, sessions, blobs. A row each, seldom."""

from __future__ import annotations

import sqlite3
from typing import Final

import msgspec

from jupyter_fx_hub.store.ops import (
    DropBlobs,
    GrantBlob,
    Op,
    Problem,
    PutCode,
    PutEndpoint,
    PutFunction,
    PutSession,
    PutToken,
    PutUser,
    RedeemCode,
    RevokeToken,
)

__all__ = ["REACHED", "apply"]

_PACK: Final = msgspec.msgpack.Encoder()
REACHED: Final = (
    "(EXISTS (SELECT 1 FROM uses WHERE uses.digest=blobs.digest)"
    " OR EXISTS (SELECT 1 FROM functions WHERE functions.blob=blobs.digest))"
)
"""Whether a task or function reaches a row of `blobs`."""


def apply(cursor: sqlite3.Cursor, op: Op) -> Problem | None:
    """Apply one op; the problem if it changed nothing that it should have."""
    if isinstance(op, PutFunction):
        blob, size = (op.blob.digest, op.blob.size) if op.blob else ("", 0)
        cursor.execute(
            "INSERT INTO functions (owner, digest, name, created, blob, blob_size, payload) VALUES (?,?,?,?,?,?,?)"
            " ON CONFLICT DO NOTHING",
            (op.owner, op.digest, op.name, op.created, blob, size, op.payload),
        )
    elif isinstance(op, PutEndpoint):
        return _endpoint(cursor, op, "PutEndpoint")
    elif isinstance(op, PutSession):
        return _session(cursor, op)
    elif isinstance(op, PutUser):
        cursor.execute("INSERT INTO users (name, created) VALUES (?,?) ON CONFLICT DO NOTHING", (op.name, op.created))
    elif isinstance(op, PutToken):
        cursor.execute(
            "INSERT INTO tokens (token_id, hash, owner, scopes, note, created, expires, revoked)"
            " VALUES (?,?,?,?,?,?,?,0)"
            " ON CONFLICT DO NOTHING",
            (op.token_id, op.hash, op.owner, " ".join(op.scopes), op.note, op.created, op.expires),
        )
        if not cursor.rowcount:
            return Problem(op.token_id, "exists", "PutToken")
    elif isinstance(op, RevokeToken):
        cursor.execute(
            "UPDATE tokens SET revoked=? WHERE token_id=? AND owner=? AND revoked=0",
            (op.revoked, op.token_id, op.owner),
        )
        if not cursor.rowcount:
            return Problem(op.token_id, "missing", "RevokeToken")
    elif isinstance(op, PutCode):
        cursor.execute("DELETE FROM codes WHERE expires < ?", (op.created,))
        cursor.execute(
            "INSERT INTO codes (hash, owner, name, created, expires, used) VALUES (?,?,?,?,?,0) ON CONFLICT DO NOTHING",
            (op.hash, op.owner, op.name, op.created, op.expires),
        )
    elif isinstance(op, RedeemCode):
        return _redeem(cursor, op)
    elif isinstance(op, GrantBlob):
        cursor.execute(
            "INSERT INTO blobs (digest, size, used) VALUES (?,?,?)"
            " ON CONFLICT (digest) DO UPDATE SET used=max(blobs.used, excluded.used)",
            (op.digest, op.size, op.used),
        )
        cursor.execute("INSERT INTO grants (owner, digest) VALUES (?,?) ON CONFLICT DO NOTHING", (op.owner, op.digest))
    elif isinstance(op, DropBlobs):
        for digest in op.digests:
            cursor.execute(f"DELETE FROM blobs WHERE digest=? AND used < ? AND NOT {REACHED}", (digest, op.before))  # noqa: S608 -- a constant
    else:
        raise TypeError(f"{type(op).__name__} is no op")
    return None


def _endpoint(cursor: sqlite3.Cursor, op: PutEndpoint, name: str) -> Problem | None:
    taken = cursor.execute(
        "SELECT 1 FROM endpoints WHERE owner=? AND name=? AND state<10 AND endpoint_id<>? AND ?<10",
        (op.owner, op.name, op.endpoint_id, op.state),
    ).fetchone()
    if taken:
        return Problem(op.endpoint_id, "conflict", name)
    cursor.execute(
        "INSERT INTO endpoints (endpoint_id, owner, name, state, info, created, seen, credential_hash)"
        " VALUES (?,?,?,?,?,?,?,?)"
        " ON CONFLICT (endpoint_id) DO UPDATE SET name=excluded.name, state=excluded.state, info=excluded.info,"
        " seen=excluded.seen,"
        " credential_hash=CASE WHEN length(excluded.credential_hash)>0 THEN excluded.credential_hash"
        " ELSE endpoints.credential_hash END WHERE endpoints.owner=excluded.owner",
        (op.endpoint_id, op.owner, op.name, op.state, _PACK.encode(op.info), op.created, op.seen, op.credential_hash),
    )
    return None if cursor.rowcount else Problem(op.endpoint_id, "conflict", name)


def _session(cursor: sqlite3.Cursor, op: PutSession) -> Problem | None:
    cursor.execute(
        "INSERT INTO sessions (session_id, owner, endpoint_id, state, kernel_id, epoch, opened, changed, reason, info,"
        " resources, spec) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)"
        " ON CONFLICT (session_id) DO UPDATE SET endpoint_id=excluded.endpoint_id, state=excluded.state,"
        " opened=excluded.opened,"
        " changed=excluded.changed, reason=excluded.reason, info=excluded.info WHERE sessions.owner=excluded.owner",
        (
            *(
                op.session_id,
                op.owner,
                op.endpoint_id,
                op.state,
                op.kernel_id,
                op.epoch,
                op.opened,
                op.changed,
                op.reason,
            ),
            *(_PACK.encode(op.info), _PACK.encode(op.resources), op.spec),
        ),
    )
    return None if cursor.rowcount else Problem(op.session_id, "conflict", "PutSession")


def _redeem(cursor: sqlite3.Cursor, op: RedeemCode) -> Problem | None:
    made = op.endpoint
    good = cursor.execute(
        "SELECT 1 FROM codes WHERE hash=? AND used=0 AND expires>? AND owner=? AND name=?",
        (op.hash, op.now, made.owner, made.name),
    ).fetchone()
    if not good:
        return Problem(made.endpoint_id, "code", "RedeemCode")
    # A name that was taken meanwhile leaves the code unused.
    problem = _endpoint(cursor, made, "RedeemCode")
    if problem is None:
        cursor.execute("UPDATE codes SET used=? WHERE hash=?", (op.now, op.hash))
    return problem
