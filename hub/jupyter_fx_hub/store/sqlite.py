"""Everything that is SQLite's own: opening, pragmas, hot statements as text, what its errors mean.

Another database would get a module like this one. The rest of the store speaks SQLAlchemy Core, or calls what is
named here.

Rows are written by statements that take many at once (`VALUES (…), (…)`): sqlite3 gives up the interpreter's lock at
every step of a statement, and beside a busy event loop each return costs up to a switch interval. Blobs are given as
bytearrays and numbers as plain ints: for every bytes, None and enum sqlite3 looks for an adapter, which takes five
times as long as to bind it.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from jupyter_fx.errors import UsageError

__all__ = [
    "EVENT_COLUMNS",
    "MOVE_COLUMNS",
    "NEW_COLUMNS",
    "TASK_COLUMNS",
    "UPDATE_COLUMNS",
    "connect",
    "insert_sql",
    "is_full",
    "is_locked",
    "is_transient",
    "update_tasks_sql",
    "write_rows",
]

_OLDEST: Final = (3, 33, 0)  # UPDATE … FROM
_CHUNKS: Final = (256, 32, 4, 1)
_PAGE: Final = 8192
_CACHE_KIB: Final = 32 * 1024
_WAL_LIMIT: Final = 64 * 1024 * 1024
_CHECKPOINT_PAGES: Final = 4000

TASK_COLUMNS: Final = (
    *("pk", "task_id", "owner", "kind", "state", "attempt", "boot", "fence", "revision", "endpoint_id", "session_id"),
    *("function", "name", "grp", "submitted", "started", "finished", "expires_at", "hash", "history", "outcome"),
    *("spec", "payload"),
)
NEW_COLUMNS: Final = tuple(column for column in TASK_COLUMNS if column not in {"outcome", "payload"})
"""Of a task that has not ended."""
MOVE_COLUMNS: Final = (
    *("task_id", "owner", "state", "attempt", "boot", "fence", "revision", "endpoint_id", "history", "started"),
)
UPDATE_COLUMNS: Final = (*MOVE_COLUMNS, "finished", "outcome", "payload")
EVENT_COLUMNS: Final = ("task", "n", "attempt", "k", "kind", "t", "segment", "place", "length", "data")


def connect(path: Path) -> sqlite3.Connection:
    """A connection that holds the database alone, durable at every commit; usable from any one thread at a time."""
    if sqlite3.sqlite_version_info < _OLDEST:
        raise UsageError(
            f"this Python's SQLite is {sqlite3.sqlite_version}, the fx hub needs 3.33 or newer: use a newer Python"
        )
    raw = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256, timeout=0.2)
    try:
        # EXCLUSIVE before anything is read: then WAL needs no shared memory, and no second process gets in.
        raw.execute("PRAGMA locking_mode=EXCLUSIVE")
        raw.execute(f"PRAGMA page_size={_PAGE}")
        raw.execute("PRAGMA journal_mode=WAL")
        raw.execute("PRAGMA synchronous=FULL")
        raw.execute("PRAGMA foreign_keys=ON")
        raw.execute("PRAGMA temp_store=MEMORY")
        raw.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        raw.execute(f"PRAGMA journal_size_limit={_WAL_LIMIT}")
        raw.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        raw.execute("BEGIN IMMEDIATE")
        raw.execute("COMMIT")
    except BaseException:
        raw.close()
        raise
    return raw


@cache
def insert_sql(table: str, columns: tuple[str, ...], rows: int) -> str:
    """INSERT of `rows` rows; one whose key is there already is left out and not counted."""
    row = "(" + ",".join("?" * len(columns)) + ")"
    return f"INSERT INTO {table} ({','.join(columns)}) VALUES {','.join([row] * rows)} ON CONFLICT DO NOTHING"  # noqa: S608 -- our own names


@cache
def update_tasks_sql(_table: str, columns: tuple[str, ...], rows: int) -> str:
    """UPDATE of up to `rows` tasks by these columns. Terminal ones and those of another owner are not counted."""
    row = "(" + ",".join("?" * len(columns)) + ")"
    at = {name: f"v.column{i}" for i, name in enumerate(columns, 1)}
    plain = ", ".join(f"{name}={at[name]}" for name in columns[2:] if name != "started")
    return (
        f"UPDATE tasks SET {plain}, started=CASE WHEN {at['started']}>0 THEN {at['started']} ELSE tasks.started END "  # noqa: S608 -- our own names
        f"FROM (VALUES {','.join([row] * rows)}) AS v "
        f"WHERE tasks.task_id={at['task_id']} AND tasks.state<10 AND ({at['owner']}='' OR tasks.owner={at['owner']})"
    )


def write_rows(
    cursor: sqlite3.Cursor,
    statement: Any,
    table: str,
    columns: tuple[str, ...],
    rows: Sequence[Iterable[Any]],
) -> int:
    """Run `statement` (`insert_sql` or `update_tasks_sql`) over all rows; how many it changed."""
    changed = at = 0
    left = len(rows)
    for size in _CHUNKS:
        while left >= size:
            flat: list[Any] = []
            for row in rows[at : at + size]:
                flat.extend(row)
            cursor.execute(statement(table, columns, size), flat)
            changed += cursor.rowcount
            at += size
            left -= size
    return changed


def is_full(error: BaseException) -> bool:
    """Whether the disk (or a quota) is full."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def is_transient(error: BaseException) -> bool:
    """Whether the same again may succeed once somebody has looked after the disk."""
    if is_full(error):
        return True
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        return code in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_CANTOPEN}
    return isinstance(error, OSError)


def is_locked(error: BaseException) -> bool:
    """Whether another process holds the database."""
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
    }
