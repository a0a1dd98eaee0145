"""The one thread that writes: it takes ops off a queue, puts many into one transaction, and says when they are on disk.

* **Group commit.** Whatever waits goes into one transaction, up to `BATCH` ops; while it is synced, the next ones
  gather.
* **Reads** stand in the same queue and run on the same connection: they see everything that was written before them.
* **A full disk** loses nothing: the batch is rolled back, the ballast is given up, and the same batch is tried again
  until it lands. Until then reads are answered from what is committed.
* **An op that cannot be stored** (a number too large …) is found by applying the batch op by op, refused as
  `invalid`, and logged.
"""

from __future__ import annotations

import logging
import math
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from jupyter_fx_hub.store.apply import Applier
from jupyter_fx_hub.store.ops import Op, Problem
from jupyter_fx_hub.store.sqlite import is_full, is_transient
from jupyter_fx_hub.store.streams import Streams

__all__ = ["BATCH", "Read", "Writer"]

log = logging.getLogger(__name__)

BATCH: Final = 1000
"""Ops in one transaction: those of about 500 tasks."""
LEISURE: Final = 0.5
_RETRY_FIRST, _RETRY_LAST = 0.05, 1.0


class Read:
    """A question in the queue; `answer(value, error)` is called in the writer thread."""

    __slots__ = ("answer", "ask")

    def __init__(self, ask: Callable[[], Any], answer: Callable[[Any, BaseException | None], None]) -> None:
        self.ask = ask
        self.answer = answer

    def run(self) -> None:
        """Ask and answer."""
        try:
            value = self.ask()
        except Exception as error:  # noqa: BLE001 -- it is the asker's
            self.answer(None, error)
        else:
            self.answer(value, None)


class Ballast(Protocol):
    """What the writer asks of `space.Space`."""

    def release(self) -> bool:
        """Give the ballast up; whether there was any."""

    def note_full(self) -> None:
        """A write found the disk full."""

    def tend(self) -> None:
        """Take ballast in again when there is room."""


class Writer:
    """The thread. `committed(position, problems)` and `failed(error)` are called in it; so is `at_leisure()`, whenever
    there was nothing to do for LEISURE seconds, until it answers False.
    """

    def __init__(
        self,
        cursor: sqlite3.Cursor,
        applier: Applier,
        streams: Streams,
        space: Ballast,
        *,
        committed: Callable[[int, list[Problem]], None],
        failed: Callable[[BaseException], None],
        at_leisure: Callable[[], bool] | None = None,
        batch: int = BATCH,
    ) -> None:
        self._cursor = cursor
        self._applier = applier
        self._streams = streams
        self._space = space
        self._committed = committed
        self._failed = failed
        self._at_leisure = at_leisure
        self._batch = batch
        self._queue: queue.SimpleQueue[list[Op] | Read | None] = queue.SimpleQueue()
        self._later: deque[list[Op] | Read | None] = deque()
        self._position = 0
        self._give_up = math.inf
        self._asked: Read | None = None
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="fx-hub-store", daemon=True)
        self.put: Callable[[list[Op] | Read | None], None] = self._queue.put
        """Queue ops, a read, or None: the end."""
        self.commits = 0
        """Transactions so far."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self, patience: float) -> None:
        """Write what is queued and end; what a full disk has not taken after `patience` seconds stays untold."""
        self._give_up = time.monotonic() + patience
        self.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._step():
                pass
        except BaseException as error:
            log.critical("the fx hub's store has failed: %s", error, exc_info=error)
            self._failed(error)
            self._refuse_reads(error)

    def _refuse_reads(self, error: BaseException) -> None:
        """Nothing is written any more; who asks is told so until the end."""
        if self._asked is not None:
            self._asked.answer(None, error)
        while not self._ending:
            item = self._take(wait=True)
            if isinstance(item, Read):
                item.answer(None, error)
            self._ending = item is None

    def _take(self, *, wait: bool) -> list[Op] | Read | None:
        """The next item; raises queue.Empty when there is none, unless it is to be waited for."""
        if self._later:
            return self._later.popleft()
        while wait and self._at_leisure is not None:
            try:
                return self._queue.get(timeout=LEISURE)
            except queue.Empty:
                if not self._at_leisure():
                    self._at_leisure = None
        return self._queue.get(wait)

    def _step(self) -> bool:
        """One transaction and what ended it; False at the end."""
        ops, after = self._gather()
        self._asked = after if isinstance(after, Read) else None
        self._ending = after is _END
        if ops:
            problems = self._commit(ops)
            self._position += len(ops)
            self._committed(self._position, problems)
        self._answer()
        return not self._ending

    def _answer(self) -> None:
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.run()

    def _gather(self) -> tuple[list[Op], Read | object]:
        """Ops for one transaction, and the read or end (or nothing) that stands behind them."""
        ops: list[Op] = []
        while True:
            try:
                item = self._take(wait=not ops)
            except queue.Empty:
                return ops, _NOTHING
            if item is None:
                return ops, _END
            if isinstance(item, Read):
                return ops, item
            ops += item
            if len(ops) > self._batch:
                self._later.appendleft(ops[self._batch :])
                return ops[: self._batch], _NOTHING

    # --- committing ---

    def _commit(self, ops: list[Op]) -> list[Problem]:
        """Bring `ops` to the disk, however often it takes."""
        wait = _RETRY_FIRST
        told = False
        while True:
            try:
                problems = self._transact(ops)
            except Exception as error:
                if not is_transient(error):
                    if _is_broken(error):
                        raise
                    return self._one_by_one(ops, error)
                if is_full(error):
                    self._space.note_full()
                if time.monotonic() > self._give_up:
                    raise
                if not told:
                    log.error("the fx hub cannot write its database (%s); it tries again until it can", error)
                    told = True
                if not (is_full(error) and self._space.release()):
                    self._reads_meanwhile(wait)
                    wait = min(wait * 2, _RETRY_LAST)
            else:
                if told:
                    log.warning("the fx hub can write its database again; nothing was lost")
                return problems

    def _transact(self, ops: list[Op]) -> list[Problem]:
        cursor = self._cursor
        try:
            cursor.execute("BEGIN IMMEDIATE")
            problems = self._applier.apply(ops)
            cursor.execute("COMMIT")
        except BaseException:
            self._streams.rolled_back()
            if cursor.connection.in_transaction:
                cursor.execute("ROLLBACK")
            raise
        self.commits += 1
        self._streams.committed()
        self._space.tend()
        return problems

    def _one_by_one(self, ops: list[Op], error: Exception) -> list[Problem]:
        """Some op of these cannot be stored: store the others."""
        if len(ops) == 1:
            name = type(ops[0]).__name__
            log.error("an op of the fx hub could not be stored: %s", name, exc_info=error)
            return [Problem(_id_of(ops[0]), "invalid", name)]
        problems: list[Problem] = []
        half = len(ops) // 2
        for part in (ops[:half], ops[half:]):
            problems += self._commit(part)
        return problems

    def _reads_meanwhile(self, seconds: float) -> None:
        """Wait, but answer who only asks."""
        self._answer()
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                item = self._queue.get(timeout=left)
            except queue.Empty:
                return
            if isinstance(item, Read):
                item.run()
            else:
                self._later.append(item)


_NOTHING: Final = object()
_END: Final = object()


def _is_broken(error: BaseException) -> bool:
    """Whether the database itself is damaged."""
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_READONLY,
    }


def _id_of(op: Op) -> str:
    for name in ("task_id", "endpoint_id", "session_id", "token_id"):
        found = getattr(op, name, None)
        if isinstance(found, str):
            return found
    return ""
