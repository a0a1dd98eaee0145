"""What is stored: the tables of the fx hub. `REVISION` is the revision of `migrations/` that makes exactly these.

Task ids are 16 bytes here and 32 hexadecimal digits everywhere else. A task's row is inserted with a number of our
own (`pk`, in order of submission), so that its events need no look-up; ids are made by clients and are never an
order. Columns that listings do not read (`spec`, `payload`) stand last, where SQLite's overflow pages begin. A `spec`
above `SPEC_INLINE` stands in `bodies`, because an UPDATE writes its whole row again.

`Integer` is 64 bits wide in SQLite; the types say BigInteger where another database would need it.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

__all__ = [
    "REVISION",
    "SPEC_INLINE",
    "blobs",
    "bodies",
    "codes",
    "endpoints",
    "events",
    "functions",
    "grants",
    "inputs",
    "meta",
    "metadata",
    "segments",
    "sessions",
    "streams",
    "tasks",
    "tokens",
    "users",
    "uses",
]

REVISION: Final = "0002"
"""The newest revision in migrations/versions."""
SPEC_INLINE: Final = 4096
"""Bytes of an encoded TaskSpec that stay in the task's row."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
# SQLite calls a column the row's number only if its type is INTEGER to the letter.
_Row = BigInteger().with_variant(Integer(), "sqlite")

meta = Table("meta", metadata, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))

users = Table(
    "users",
    metadata,
    Column("name", Text, primary_key=True),
    Column("created", Float, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("token_id", Text, primary_key=True),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("owner", Text, nullable=False, index=True),
    Column("scopes", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("revoked", Float, nullable=False),
)

codes = Table(
    "codes",
    metadata,
    Column("hash", LargeBinary, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("used", Float, nullable=False),
)

functions = Table(
    "functions",
    metadata,
    Column("owner", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("blob", Text, nullable=False),
    Column("blob_size", BigInteger, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    PrimaryKeyConstraint("owner", "digest"),
)

endpoints = Table(
    "endpoints",
    metadata,
    Column("endpoint_id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("state", Integer, nullable=False),
    Column("info", LargeBinary, nullable=False),
    Column("created", Float, nullable=False),
    Column("seen", Float, nullable=False),
    Column("credential_hash", LargeBinary, nullable=False),
)
# A name is free again once its endpoint is deleted.
Index(
    "uq_endpoints_owner_name",
    endpoints.c.owner,
    endpoints.c.name,
    unique=True,
    sqlite_where=text("state < 10"),
    postgresql_where=text("state < 10"),
)
Index("ix_endpoints_credential_hash", endpoints.c.credential_hash)

sessions = Table(
    "sessions",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("owner", Text, nullable=False, index=True),
    Column("endpoint_id", Text, nullable=False, index=True),
    Column("state", Integer, nullable=False),
    Column("kernel_id", Text, nullable=False),
    Column("epoch", Text, nullable=False),
    Column("opened", Float, nullable=False),
    Column("changed", Float, nullable=False),
    Column("reason", Text, nullable=False),
    Column("info", LargeBinary, nullable=False),
    Column("resources", LargeBinary, nullable=False),
    Column("spec", LargeBinary, nullable=False),
)

tasks = Table(
    "tasks",
    metadata,
    Column("pk", _Row, primary_key=True, autoincrement=False),
    Column("task_id", LargeBinary(16), nullable=False),
    Column("owner", Text, nullable=False),
    Column("kind", Integer, nullable=False),
    Column("state", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("boot", Integer, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("endpoint_id", Text, nullable=False),
    Column("session_id", Text, nullable=False),
    Column("function", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("grp", Text, nullable=False),
    Column("submitted", Float, nullable=False),
    Column("started", Float, nullable=False),
    Column("finished", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("history", LargeBinary, nullable=False),
    Column("outcome", LargeBinary),
    Column("spec", LargeBinary),
    Column("payload", LargeBinary),
    UniqueConstraint("task_id"),
    Index("ix_tasks_owner", "owner"),
)
for _name, _columns, _where in (
    ("ix_tasks_unfinished", ("endpoint_id", "pk"), "state < 10"),
    ("ix_tasks_session", ("owner", "session_id"), "session_id <> ''"),
    ("ix_tasks_group", ("owner", "grp"), "grp <> ''"),
    ("ix_tasks_name", ("owner", "name"), "name <> ''"),
):
    Index(_name, *(tasks.c[c] for c in _columns), sqlite_where=text(_where), postgresql_where=text(_where))

leases = Table(
    "leases",
    metadata,
    Column("lease", _Row, primary_key=True, autoincrement=False),
    Column("endpoint_id", Text, nullable=False, index=True),
    Column("boot", Integer, nullable=False),
    Column("at", Float, nullable=False),
    Column("tasks", LargeBinary, nullable=False),
)

bodies = Table(
    "bodies",
    metadata,
    Column("task", _Row, primary_key=True, autoincrement=False),
    Column("spec", LargeBinary, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("task", BigInteger, nullable=False),
    Column("n", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("k", Integer, nullable=False),
    Column("kind", Integer, nullable=False),
    Column("t", Float, nullable=False),
    Column("segment", BigInteger, nullable=False),
    Column("place", Integer, nullable=False),
    Column("length", Integer, nullable=False),
    Column("data", LargeBinary),
    PrimaryKeyConstraint("task", "n"),
    sqlite_with_rowid=False,
)

streams = Table(
    "streams",
    metadata,
    Column("task", _Row, primary_key=True, autoincrement=False),
    Column("bytes", BigInteger, nullable=False),
    Column("dropped", BigInteger, nullable=False),
    Column("dropped_lines", BigInteger, nullable=False),
    Column("gap_first", Integer, nullable=False),
    Column("gap_last", Integer, nullable=False),
)

segments = Table(
    "segments",
    metadata,
    Column("segment", _Row, primary_key=True, autoincrement=False),
    Column("task", BigInteger, nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("head", Integer, nullable=False),
    Column("size", Integer, nullable=False),
    Column("lines", Integer, nullable=False),
    Column("first_n", Integer, nullable=False),
    Column("last_n", Integer, nullable=False),
)

blobs = Table(
    "blobs",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("used", Float, nullable=False, index=True),
)

grants = Table(
    "grants",
    metadata,
    Column("owner", Text, nullable=False),
    Column("digest", Text, nullable=False),
    PrimaryKeyConstraint("owner", "digest"),
    ForeignKeyConstraint(["digest"], ["blobs.digest"], ondelete="CASCADE"),
    Index("ix_grants_digest", "digest"),
    sqlite_with_rowid=False,
)

uses = Table(
    "uses",
    metadata,
    Column("task", BigInteger, nullable=False),
    Column("digest", Text, nullable=False),
    PrimaryKeyConstraint("task", "digest"),
    Index("ix_uses_digest", "digest"),
    sqlite_with_rowid=False,
)

inputs = Table(
    "inputs",
    metadata,
    Column("task", BigInteger, nullable=False),
    Column("input", LargeBinary(16), nullable=False),
    PrimaryKeyConstraint("task", "input"),
    sqlite_with_rowid=False,
)
