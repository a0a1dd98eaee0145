"""The store as the service sees it: `open`, `write`, `read`, `committed`, `close`. Belongs to one event loop."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from sqlalchemy import create_engine
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import StaticPool

from jupyter_fx.errors import HubUnavailable, UsageError
from jupyter_fx_hub.store import queries
from jupyter_fx_hub.store.apply import Applier
from jupyter_fx_hub.store.gather import HOLD, Gatherer
from jupyter_fx_hub.store.guard import HubLock, check_file_system
from jupyter_fx_hub.store.migrate import upgrade
from jupyter_fx_hub.store.ops import DeleteFinished, Op, Problem
from jupyter_fx_hub.store.runway import Runway
from jupyter_fx_hub.store.space import Space
from jupyter_fx_hub.store.sqlite import connect, is_locked
from jupyter_fx_hub.store.streams import Streams
from jupyter_fx_hub.store.writer import BATCH, Read, Writer

__all__ = ["RETENTION", "Store"]

log = logging.getLogger(__name__)

RETENTION: Final = 14 * 86400.0
"""Seconds that a result is kept after its task's end."""
OnCommit = Callable[[int, list[Problem]], None]


class Store:
    """One database with its streams. Made by `Store.open`; every method is called on the event loop's thread."""

    def __init__(
        self,
        path: Path,
        *,
        loop: asyncio.AbstractEventLoop,
        on_commit: OnCommit,
        on_failure: Callable[[BaseException], None] | None,
        retention: float,
        space: Space,
        hold: float,
        batch: int,
    ) -> None:
        self.path = path
        self.space = space
        self.committed = 0
        """Everything up to this position is on disk, and `on_commit` has said so."""
        self.failure: BaseException | None = None
        """Why the writer has ended, if it has: the database is damaged or unreadable."""
        self.retention = retention
        self._loop = loop
        self._on_commit = on_commit
        self._on_failure = on_failure
        self._written = 0
        self._done: deque[tuple[int, list[Problem]]] = deque()
        self._closed = False
        self._lock = HubLock(path)
        self._lock.take()
        try:
            self._raw, self._engine, self._connection = _open_database(path)
            self.hub_boot = _next_boot(self._connection)
            """The number of this start; it grows by one with each."""
            # Closed one by one: a statement that one of them still holds would keep the database locked.
            self._cursors = [self._raw.cursor() for _ in range(3)]
            self.streams = Streams(path.parent / "streams", self._cursors[0])
        except BaseException:
            self._lock.give_back()
            raise
        self.streams.sweep()
        self.space.restore()
        runway = Runway(path)
        runway.grow()
        self._writer = Writer(
            self._cursors[2],
            Applier(self._cursors[1], self.streams, self.hub_boot),
            self.streams,
            self.space,
            committed=self._in_writer_committed,
            failed=self._in_writer_failed,
            at_leisure=runway.grow,
            batch=batch,
        )
        self._gatherer = Gatherer(loop, self._writer.put, hold)
        self._writer.start()

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        loop: asyncio.AbstractEventLoop,
        on_commit: OnCommit,
        on_failure: Callable[[BaseException], None] | None = None,
        allow_network_fs: bool = False,
        retention: float = RETENTION,
        space: Space | None = None,
        hold: float = HOLD,
        batch: int = BATCH,
    ) -> Store:
        """Open (or make) the database at `path`, brought to this version's schema; take the next `hub_boot`.

        `on_commit(position, problems)` is called on `loop`. Streams, lock and ballast lie beside the database.
        Raises UsageError: on a network file system, held by another hub, of a newer version, or no database at all.
        """
        path = Path(path).absolute()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not allow_network_fs:
            check_file_system(path)
        return cls(
            path,
            loop=loop,
            on_commit=on_commit,
            on_failure=on_failure,
            retention=retention,
            space=space or Space(path.parent),
            hold=hold,
            batch=batch,
        )

    # --- what the service does ---

    def write(self, op: Op) -> int:
        """Queue an op; its position. It is on disk once `committed` has reached that."""
        return self.write_all([op])

    def write_all(self, ops: list[Op]) -> int:
        """Queue ops, in order; the position of the last one."""
        if self.failure is not None or self._closed:
            raise HubUnavailable(
                f"the fx hub's database {self.path} takes nothing any more: {self.failure or 'it is closed'}"
            )
        self._written += len(ops)
        self._gatherer.add(ops)
        return self._written

    def read(self, name: str, /, *args: Any, **more: Any) -> asyncio.Future[Any]:
        """Call `queries.<name>(reader, *args, **more)` in the writer thread, after all that was written before."""
        function = queries.READS[name]
        future: asyncio.Future[Any] = self._loop.create_future()
        if self.failure is not None or self._closed:
            future.set_exception(
                HubUnavailable(f"the fx hub's database {self.path} answers no more: {self.failure or 'it is closed'}")
            )
            return future
        reader = queries.Reader(self._connection, self.streams)

        def answer(value: Any, error: BaseException | None) -> None:
            self._call(_settle, future, value, error)

        self._gatherer.release()
        self._writer.put(Read(lambda: function(reader, *args, **more), answer))
        return future

    def delete_expired(self, now: float, limit: int = 500) -> int:
        """Queue the deletion of up to `limit` tasks that ended more than `retention` before `now`."""
        return self.write(DeleteFinished(now - self.retention, limit))

    @property
    def storage_full(self) -> bool:
        """Whether new tasks have to be refused for want of room."""
        return self.space.full

    @property
    def queued(self) -> int:
        """Ops that are not on disk yet."""
        return self._written - self.committed

    def close(self, patience: float = 10.0) -> None:
        """Bring everything to the disk, tell it, and let go of the database. Blocks; may be called twice.

        On a disk that is still full after `patience` seconds it ends all the same: what was not told is not there.
        """
        if self._closed:
            return
        self._closed = True
        self._gatherer.release()
        self._writer.end(patience)
        self._deliver()
        self.streams.close()
        for cursor in self._cursors:
            cursor.close()
        self._connection.close()
        self._engine.dispose()
        self._raw.close()
        self._lock.give_back()

    # --- from the writer thread ---

    def _in_writer_committed(self, position: int, problems: list[Problem]) -> None:
        self._done.append((position, problems))
        self._call(self._deliver)

    def _in_writer_failed(self, error: BaseException) -> None:
        self.failure = error
        if self._on_failure is not None:
            self._call(self._on_failure, error)

    def _call(self, function: Callable[..., None], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            log.debug("the event loop is closed; nobody is left to tell")

    def _deliver(self) -> None:
        while self._done:
            position, problems = self._done.popleft()
            self.committed = position
            self._on_commit(position, problems)


def _settle(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(value)


def _open_database(path: Path) -> tuple[Any, Engine, Connection]:
    old = os.umask(0o077) if os.name == "posix" else 0
    try:
        raw = connect(path)
    except Exception as error:
        if is_locked(error):
            raise UsageError(
                f"the database {path} is held by another process: stop the fx hub that has it, or name another one"
            ) from error
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            f"{path} cannot be opened as the fx hub's database ({error}): move it away or name another"
        ) from error
    finally:
        if os.name == "posix":
            os.umask(old)
    engine = create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool, isolation_level="AUTOCOMMIT")
    connection = engine.connect()
    try:
        raw.execute("BEGIN IMMEDIATE")
        upgrade(connection, path)
        raw.execute("COMMIT")
    except BaseException:
        if raw.in_transaction:
            raw.execute("ROLLBACK")
        connection.close()
        raw.close()
        raise
    return raw, engine, connection


def _next_boot(connection: Connection) -> int:
    raw = connection.connection.dbapi_connection
    assert raw is not None
    cursor = raw.cursor()
    cursor.execute("INSERT INTO meta (key, value) VALUES ('created', ?) ON CONFLICT DO NOTHING", (repr(time.time()),))
    cursor.execute(
        "INSERT INTO meta (key, value) VALUES ('hub_boot', '1')"
        " ON CONFLICT (key) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT)"
    )
    cursor.execute("SELECT value FROM meta WHERE key='hub_boot'")
    found = cursor.fetchone()
    assert found is not None
    return int(found[0])
