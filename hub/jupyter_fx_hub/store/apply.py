"""Ops into SQL, inside a transaction that the writer opened. Called in the writer thread only."""

from __future__ import annotations

import sqlite3
from typing import Any, Final, NamedTuple

import msgspec

from jupyter_fx.protocol.messages import TaskSpec
from jupyter_fx_hub.store import registry
from jupyter_fx_hub.store.leases import Leases
from jupyter_fx_hub.store.merge import Group, Pending, grouped
from jupyter_fx_hub.store.ops import AddEvents, DeleteFinished, DeleteTasks, FinishTask, InsertTask, Op, Problem
from jupyter_fx_hub.store.schema import SPEC_INLINE
from jupyter_fx_hub.store.sqlite import (
    EVENT_COLUMNS,
    MOVE_COLUMNS,
    NEW_COLUMNS,
    TASK_COLUMNS,
    UPDATE_COLUMNS,
    insert_sql,
    update_tasks_sql,
    write_rows,
)
from jupyter_fx_hub.store.streams import Streams

__all__ = ["Applier", "encode_outcome"]

_PACK: Final = msgspec.msgpack.Encoder()
_SPEC: Final = msgspec.msgpack.Decoder(TaskSpec)
_OF_A_TASK: Final = (("events", "task"), ("bodies", "task"), ("uses", "task"), ("inputs", "task"), ("tasks", "pk"))
_SEGMENT: Final = EVENT_COLUMNS.index("segment")


def encode_outcome(op: FinishTask) -> bytearray:
    """What the column `outcome` holds: [error, blob, ref, times, usage]; `queries.decode_outcome` reads it."""
    return bytearray(_PACK.encode((op.error, op.blob, op.ref, op.times, op.usage)))


class _Needs(NamedTuple):
    """What a task reaches: digests of blobs, and keys of the tasks whose results it takes."""

    digests: list[str]
    inputs: list[bytes]


_NOTHING: Final = _Needs([], [])


def _needs(op: InsertTask) -> _Needs | None:
    """What a new task reaches; None for nothing, as most do."""
    if op.plain:
        return None
    try:
        options = _SPEC.decode(op.spec).options
    except msgspec.MsgspecError:
        options = None
    if options is None or not (options.blob or options.inputs or options.parts):
        return _Needs(op.blobs, []) if op.blobs else None
    digests = [*op.blobs, options.blob.digest] if options.blob else op.blobs
    if options.parts:
        digests = list(dict.fromkeys([*digests, *(part.digest for part in options.parts)]))
    return _Needs(digests, [bytes.fromhex(task_id) for task_id in options.inputs])


class Applier:
    """Applies lists of ops through one cursor and says which of them changed nothing."""

    def __init__(self, cursor: sqlite3.Cursor, streams: Streams, boot: int) -> None:
        self._cursor = cursor
        self._streams = streams
        # Every statement over tasks stamps its rows with a number of its own: so a row that it left alone can be told.
        self._revision = boot << 32
        self._next_pk = int(cursor.execute("SELECT coalesce(max(pk), 0) FROM tasks").fetchone()[0]) + 1
        self.problems: list[Problem] = []
        self._leases = Leases(cursor)

    def apply(self, ops: list[Op]) -> list[Problem]:
        """Apply all of `ops` as if one after another."""
        self.problems = []
        for group in grouped(ops):
            self._tasks(group)
            self._leases.apply(group)
            if group.events:
                self._events(group)
            for op in group.others:
                self._other(op)
        self._streams.flush()
        return self.problems

    # --- tasks ---

    def _tasks(self, group: Group) -> None:
        updates: list[tuple[str, Pending]] = []
        inserts: list[tuple[str, Pending]] = []
        for item in group.tasks.items():
            (updates if item[1].insert is None else inserts).append(item)
        if inserts:
            updates += self._insert(inserts)
        if updates:
            self._update(updates)

    def _insert(self, items: list[tuple[str, Pending]]) -> list[tuple[str, Pending]]:
        """INSERT them. Answers those that exist already and were moved in the same group: they remain to be updated."""
        self._revision += 1
        revision, pk = self._revision, self._next_pk
        rows: list[tuple[Any, ...]] = []
        ended: list[tuple[Any, ...]] = []
        bodies: list[tuple[int, bytes]] = []
        linked: list[tuple[Pending, _Needs]] = []
        for task_id, entry in items:
            op, end = entry.insert, entry.finish
            assert op is not None
            entry.pk = pk
            spec: bytearray | None = bytearray(op.spec)
            if len(op.spec) > SPEC_INLINE:
                bodies.append((pk, op.spec))
                spec = None
            needs = _needs(op)
            if needs is not None or (end is not None and end.blob is not None):
                linked.append((entry, needs or _NOTHING))
            boot, fence = entry.fence
            new = (
                *(pk, bytearray.fromhex(task_id), op.owner, op.kind, int(entry.state), entry.attempt, boot, fence),
                *(revision, entry.endpoint_id, op.session_id, op.function, op.name, op.group, op.submitted),
                *(entry.started, end.finished if end else 0.0, op.expires_at, bytearray(op.hash)),
                bytearray(entry.history),
            )
            if end is None:
                rows.append((*new, spec))
            else:
                ended.append((*new, encode_outcome(end), spec, bytearray(end.payload)))
            pk += 1
        self._next_pk = pk
        moved: list[tuple[str, Pending]] = []
        refused: set[int] = set()
        changed = write_rows(self._cursor, insert_sql, "tasks", NEW_COLUMNS, rows)
        changed += write_rows(self._cursor, insert_sql, "tasks", TASK_COLUMNS, ended)
        if changed != len(items):
            moved, refused = self._refused_inserts(items)
        for body in bodies:
            if body[0] not in refused:
                self._cursor.execute("INSERT INTO bodies (task, spec) VALUES (?, ?)", body)
        for entry, needs in linked:
            if entry.pk not in refused:
                self._link(entry, needs)
        return moved

    def _refused_inserts(self, items: list[tuple[str, Pending]]) -> tuple[list[tuple[str, Pending]], set[int]]:
        moved: list[tuple[str, Pending]] = []
        refused: set[int] = set()
        for task_id, entry in items:
            op = entry.insert
            assert op is not None
            found = self._cursor.execute(
                "SELECT pk, owner, hash FROM tasks WHERE task_id=?", (bytes.fromhex(task_id),)
            ).fetchone()
            if found[0] == entry.pk:
                continue
            refused.add(entry.pk)
            entry.pk = found[0]
            if found[1] == op.owner and found[2] == op.hash:
                self.problems.append(Problem(task_id, "exists", "InsertTask"))
                if entry.names:
                    moved.append((task_id, entry))
            else:
                self.problems.append(Problem(task_id, "conflict", "InsertTask"))
                # The row belongs to another submission: what was said of this one must not touch it.
                self.problems += [Problem(task_id, "conflict", name) for name in entry.names]
                entry.pk = -1
        return moved, refused

    def _update(self, items: list[tuple[str, Pending]]) -> None:
        self._revision += 1
        revision = self._revision
        moves: list[tuple[Any, ...]] = []
        ends: list[tuple[Any, ...]] = []
        linked: list[tuple[str, Pending]] = []
        told = self._leases.told
        for task_id, entry in items:
            told(task_id)
            end = entry.finish
            boot, fence = entry.fence
            move = (
                *(bytearray.fromhex(task_id), entry.owner, int(entry.state), entry.attempt, boot, fence, revision),
                *(entry.endpoint_id, bytearray(entry.history), entry.started),
            )
            if end is None:
                # Not the columns of an end: each that is named costs, changed or not.
                moves.append(move)
                continue
            ends.append((*move, end.finished, encode_outcome(end), bytearray(end.payload)))
            if end.blob is not None:
                linked.append((task_id, entry))
        changed = write_rows(self._cursor, update_tasks_sql, "tasks", MOVE_COLUMNS, moves)
        changed += write_rows(self._cursor, update_tasks_sql, "tasks", UPDATE_COLUMNS, ends)
        if changed != len(items):
            self._refused_updates(items, revision)
        for task_id, entry in linked:
            self._find(task_id, entry)
            if entry.pk > 0:
                self._link(entry, _NOTHING)

    def _refused_updates(self, items: list[tuple[str, Pending]], revision: int) -> None:
        for task_id, entry in items:
            found = self._cursor.execute(
                "SELECT owner, revision FROM tasks WHERE task_id=?", (bytes.fromhex(task_id),)
            ).fetchone()
            if found is not None and found[1] == revision:
                continue
            entry.pk = -1
            kind = "missing" if found is None or (entry.owner and found[0] != entry.owner) else "terminal"
            self.problems += [Problem(task_id, kind, name) for name in entry.names]

    def _find(self, task_id: str, entry: Pending) -> None:
        if entry.pk == 0:
            found = self._cursor.execute(
                "SELECT pk, owner FROM tasks WHERE task_id=?", (bytes.fromhex(task_id),)
            ).fetchone()
            entry.pk, entry.owner = found or (-1, "")

    def _link(self, entry: Pending, needs: _Needs) -> None:
        """Note the blobs that a task reaches. Its owner may read its result if its maker has proved to hold it."""
        end = entry.finish
        digests = needs.digests
        if end is not None and end.blob is not None:
            digests = [*digests, end.blob.digest]
            self._cursor.execute(
                "INSERT INTO grants (owner, digest) SELECT ?, digest FROM grants WHERE digest=? AND owner=?"
                " ON CONFLICT DO NOTHING",
                (entry.owner, end.blob.digest, f"endpoint:{end.endpoint_id}"),
            )
        for task_id in needs.inputs:
            self._cursor.execute(
                "INSERT INTO inputs (task, input) VALUES (?, ?) ON CONFLICT DO NOTHING", (entry.pk, task_id)
            )
        for digest in digests:
            self._cursor.execute(
                "INSERT INTO uses (task, digest) VALUES (?, ?) ON CONFLICT DO NOTHING", (entry.pk, digest)
            )

    # --- events ---

    def _events(self, group: Group) -> None:
        rows: list[tuple[Any, ...]] = []
        for op in group.events:
            pk = self._task_of(group, op)
            if pk > 0:
                rows += self._streams.add(pk, op.events)
        kept = [row for row in rows if not self._streams.has_rolled(row[_SEGMENT])]
        write_rows(self._cursor, insert_sql, "events", EVENT_COLUMNS, kept)

    def _task_of(self, group: Group, op: AddEvents) -> int:
        entry = group.tasks.get(op.task_id)
        if entry is not None and entry.pk and (not op.owner or entry.owner == op.owner):
            if entry.pk < 0 and entry.insert is not None:
                self.problems.append(Problem(op.task_id, "conflict", "AddEvents"))
                return -1
            if entry.pk > 0:
                return entry.pk
        found = self._cursor.execute(
            "SELECT pk, owner FROM tasks WHERE task_id=?", (bytes.fromhex(op.task_id),)
        ).fetchone()
        if found is None or (op.owner and found[1] != op.owner):
            self.problems.append(Problem(op.task_id, "missing", "AddEvents"))
            return -1
        return int(found[0])

    # --- the rest ---

    def _other(self, op: Op) -> None:
        if type(op) is DeleteTasks:
            for task_id in op.task_ids:
                found = self._cursor.execute(
                    "SELECT pk, state FROM tasks WHERE task_id=? AND owner=?", (bytes.fromhex(task_id), op.owner)
                ).fetchone()
                if found is None or found[1] < 10:
                    self.problems.append(Problem(task_id, "missing" if found is None else "unfinished", "DeleteTasks"))
                else:
                    self._delete([found[0]])
        elif type(op) is DeleteFinished:
            # Tasks are numbered in the order of submission and end after it: so the old ones stand in front.
            found = self._cursor.execute(
                "SELECT pk FROM tasks"
                " WHERE pk < coalesce((SELECT pk FROM tasks WHERE submitted >= ? ORDER BY pk LIMIT 1), ?)"
                " AND state >= 10 AND finished < ? ORDER BY pk LIMIT ?",
                (op.before, self._next_pk, op.before, op.limit),
            ).fetchall()
            self._delete([pk for (pk,) in found])
        else:
            problem = registry.apply(self._cursor, op)
            if problem is not None:
                self.problems.append(problem)

    def _delete(self, pks: list[int]) -> None:
        self._streams.forget(pks)
        for pk in pks:
            for table, column in _OF_A_TASK:
                self._cursor.execute(f"DELETE FROM {table} WHERE {column}=?", (pk,))  # noqa: S608 -- our own names
