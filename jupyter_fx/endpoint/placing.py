"""Brings tasks to the manager once all their bytes are here: functions, payloads and inputs that are blobs. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any

from jupyter_fx.endpoint.books import Books
from jupyter_fx.endpoint.entry import ACCEPTED, Entry
from jupyter_fx.endpoint.events import Assemble, Assembled, Fetch, Fetched, FindRef, KeepFunction, LoadFunction, Tell
from jupyter_fx.endpoint.fleet import Fleet
from jupyter_fx.endpoint.need import Need
from jupyter_fx.endpoint.talk import Code, Place, Work
from jupyter_fx.protocol.messages import BlobRef, Functions, Input, LeasedTask, RefInfo

__all__ = ["Placing"]

_FUNCTION_BLOB = "fn:"
_REF = "ref:"


class Placing:
    """`tasks` are the state's; `functions`: digests of those that the manager has; `fleet`: the managers, if many."""

    def __init__(self, tasks: dict[str, Entry], books: Books, functions: set[str], fleet: Fleet | None = None) -> None:
        self._tasks = tasks
        self._fleet = fleet
        self._books = books
        self._functions = functions
        self._fetching: dict[str, list[str]] = {}
        self._files: dict[str, str] = {}
        self._cells: dict[str, list[str]] = {}
        """By session, its cells that are not placed yet, in order."""
        self._lately: set[str] = set()
        """Files that were used since somebody asked."""
        self._shown: dict[str, set[str]] = {}
        """Files of parts by the session whose variables may be in their memory."""
        self._blobs_of: dict[str, BlobRef] = {}
        """The blobs of functions that came as one: asked for again when a fetch has failed."""

    def lacks(self, task: LeasedTask) -> bool:
        """Whether the function of a task is not here, so that only another lease can bring it."""
        return bool(task.function) and task.function not in self._functions

    def waiting(self, digest: str) -> list[str]:
        """The tasks that wait for bytes that will not come; they are forgotten here."""
        found: list[str] = []
        for one in self._fetching.pop(digest, ()):
            if one.startswith(_FUNCTION_BLOB):
                found += self._fetching.pop(one.removeprefix(_FUNCTION_BLOB), ())
            else:
                found.append(one)
        return found

    def fetched(self, event: Fetched) -> list[Any]:
        """A file came."""
        self._files[event.digest] = event.path
        out: list[Any] = []
        for one in self._fetching.get(event.digest, ()):
            if one.startswith(_FUNCTION_BLOB):
                digest = one.removeprefix(_FUNCTION_BLOB)
                self._functions.add(digest)
                out += [LoadFunction(digest, event.path), *self.arrived(digest)]
        if event.digest.startswith(_REF):
            # A ref may be dropped between two tasks: each asks anew, once.
            del self._files[event.digest]
            for one in self._fetching.get(event.digest, ()):
                if (entry := self._tasks.get(one)) is not None:
                    entry.files[event.digest] = event.path
        return out + self.arrived(event.digest)

    def wait(self, entry: Entry, key: str) -> None:
        """It must not be placed before `key` has arrived."""
        if entry.task.session:
            self._turn(entry)
        entry.needs.add(key)
        self._fetching.setdefault(key, []).append(entry.task.task_id)

    def place(self, entries: list[Entry]) -> list[Any]:
        """Give to the manager what has all its bytes; ask for the rest."""
        out: list[Any] = []
        work: list[Work] = []
        for entry in entries:
            task = entry.task
            turn = not task.session or self._turn(entry)
            if (
                turn
                and task.options is None
                and not task.inputs
                and (not task.function or task.function in self._functions)
            ):
                entry.placed = True
                work.append(
                    Work(task.task_id, task.kind, task.function, task.payload, task.session, attempt=task.attempt)
                )
                if task.session:
                    self._passed(task)
                continue
            for key, source in dict(self._sources(task)).items():
                if key not in self._files and key not in entry.files:
                    entry.needs.add(key)
                    waiting = self._fetching.setdefault(key, [])
                    if not waiting:
                        out.append(Fetch(source, key) if isinstance(source, BlobRef) else FindRef(source))
                    waiting.append(task.task_id)
            if task.function and task.function not in self._functions:
                entry.needs.add(task.function)
                self._fetching.setdefault(task.function, []).append(task.task_id)
                out += self._fetch_function(task.function)
            if entry.needs or not turn:
                continue
            placed = self._assembled(entry)
            if isinstance(placed, Work):
                work.append(placed)
            else:
                # Put together at once, and so before what is given only in the end.
                out += self._given(work) if work else []
                out.append(placed)
                work = []
            if task.session and (isinstance(placed, Work) or self._fleet is None):
                self._passed(task)
        out += self._given(work) if work else []
        return out + self.release() if self._cells else out

    # A session's cells are placed in the order in which they came, whichever of them has to wait for its bytes.

    def _turn(self, entry: Entry) -> bool:
        """Whether no earlier cell of its session waits; it has its place among them from now on."""
        waiting = self._cells.setdefault(entry.task.session, [])
        if entry.task.task_id not in waiting:
            waiting.append(entry.task.task_id)
        return waiting[0] == entry.task.task_id

    def _passed(self, task: LeasedTask) -> None:
        waiting = self._cells[task.session]
        waiting.remove(task.task_id)
        if not waiting:
            del self._cells[task.session]

    @property
    def held_back(self) -> bool:
        """Whether a cell waits for its turn or for its bytes."""
        return bool(self._cells)

    def release(self) -> list[Any]:
        """Place the cells whose turn has come: what was before them has been placed, or has ended without that."""
        out: list[Any] = []
        for session in list(self._cells):
            while waiting := self._cells.get(session):
                entry = self._tasks.get(waiting[0])
                if entry is None or entry.phase != ACCEPTED:
                    del waiting[0]
                elif entry.needs or entry.placed:
                    break
                else:
                    out += self.place([entry])
            else:
                self._cells.pop(session, None)
        return out

    def _given(self, work: list[Work]) -> list[Any]:
        """To the manager; where there are many, a session's cells to its own, the rest to whoever has room."""
        if self._fleet is None:
            return [Tell(Place(work))]
        tasks, fleet = self._tasks, self._fleet
        cells: dict[str, list[Work]] = {}
        for one in work:
            if one.session:
                cells.setdefault(tasks[one.task_id].manager, []).append(one)
            else:
                entry = tasks[one.task_id]
                entry.manager = ""
                fleet.queue([(entry, one, self._need(entry.task))])
        return [Tell(Place(those), manager) for manager, those in cells.items()]

    def _need(self, task: LeasedTask) -> Need:
        return self._books.need(task.options.resources) if task.options is not None else Need()

    def assembled(self, event: Assembled) -> list[Any]:
        """A payload is in its file now."""
        entry = self._tasks.get(event.work.task_id)
        if entry is None or not entry.placed or entry.phase != ACCEPTED:
            return []
        out = self._given([event.work])
        if entry.task.session in self._cells:
            self._passed(entry.task)
        return out + self.release()

    @staticmethod
    def _sources(task: LeasedTask) -> list[tuple[str, BlobRef | RefInfo]]:
        """What is not in the task itself, by the key of its file."""
        found: list[tuple[str, BlobRef | RefInfo]] = []
        options = task.options
        if options is not None:
            if options.blob is not None:
                found.append((_file(options.blob, task), options.blob))
            found += [(_file(part, task), part) for part in options.parts]
        for one in task.inputs:
            source = one.blob or one.ref
            if source is not None:
                found.append((_key(one, task), source))
        return found

    def in_use(self, open_sessions: Collection[str]) -> set[str]:
        """The files that must stay: tasks that have not ended need them, or open sessions show their memory."""
        for session in set(self._shown) - set(open_sessions):
            del self._shown[session]
        found = set().union(*self._shown.values())
        for entry in self._tasks.values():
            if entry.task.options is not None or entry.task.inputs:
                found.update(key for key, _source in self._sources(entry.task))
                found.add(f"joined-{entry.task.task_id}")
        found |= self._lately
        self._lately = set()
        return found

    def forget(self, keys: Collection[str]) -> None:
        """These files are gone: who needs one asks for it again."""
        for key in keys:
            self._files.pop(key, None)

    def _assembled(self, entry: Entry) -> Work | Assemble:
        """The work of a task whose bytes are all here."""
        task = entry.task
        entry.placed = True
        options = task.options
        work = Work(task.task_id, task.kind, task.function, task.payload, task.session, attempt=task.attempt)
        if options is not None:
            work.timeout, work.items = options.timeout, options.items
            work.cores = self._books.width(options.resources)
            work.memory, work.gpus = options.resources.memory, options.resources.gpus
            work.environment = options.resources.environment
            if options.parts:
                keys = [_file(part, task) for part in options.parts]
                work.parts = [self._files[key] for key in keys]
                self._lately.update(keys)
                if task.session:
                    self._shown.setdefault(task.session, set()).update(keys)
        blob = options.blob if options is not None else None
        if blob is None and not task.inputs:
            return work
        self._lately.update(key for key, _source in self._sources(task))
        parts: list[bytes | str] = [self._files[_file(blob, task)] if blob is not None else task.payload]
        parts += [
            (entry.files.get(key) or self._files[key]) if (key := _key(one, task)) else one.payload
            for one in task.inputs
        ]
        if len(parts) == 1 and isinstance(parts[0], str):
            work.path, work.payload = parts[0], b""
            return work
        if all(isinstance(part, bytes) for part in parts):
            work.payload = b"".join(part for part in parts if isinstance(part, bytes))
            return work
        return Assemble(work, parts)

    def take_functions(self, message: Functions) -> list[Any]:
        """Functions came: keep those that are new."""
        out: list[Any] = []
        for function in message.functions:
            if function.digest in self._functions:
                continue
            if function.blob is not None:
                self._blobs_of[function.digest] = function.blob
                out += self._fetch_function(function.digest)
                continue
            out += self._have_function(function.digest, function.payload)
        return out

    def _fetch_function(self, digest: str) -> list[Any]:
        """Ask for a function that is a blob, unless that is under way."""
        blob = self._blobs_of.get(digest)
        if blob is None:
            return []
        waiting = self._fetching.setdefault(blob.digest, [])
        if _FUNCTION_BLOB + digest in waiting:
            return []
        waiting.append(_FUNCTION_BLOB + digest)
        return [Fetch(blob, blob.digest)]

    def _have_function(self, digest: str, payload: bytes) -> list[Any]:
        self._functions.add(digest)
        out: list[Any] = [KeepFunction(digest, payload), Tell(Code(digest, payload))]
        return out + self.arrived(digest)

    def arrived(self, digest: str) -> list[Any]:
        """Bytes (or whatever it was) came that tasks were waiting for."""
        ready = []
        for task_id in self._fetching.pop(digest, ()):
            entry = self._tasks.get(task_id)
            if entry is not None:
                entry.needs.discard(digest)
                if not entry.needs and not entry.placed and entry.phase == ACCEPTED:
                    ready.append(entry)
        return self.place(ready)


def _file(blob: BlobRef, task: LeasedTask) -> str:
    """The key of a blob's file. With its owner: who only knows a digest is not served from what another one sent."""
    return f"{blob.digest}-{hashlib.sha256(task.owner.encode()).hexdigest()[:12]}"


def _key(one: Input, task: LeasedTask) -> str:
    """Under which the file of an input is known here; empty when its bytes came with the lease."""
    if one.blob is not None:
        return _file(one.blob, task)
    return _REF + one.ref.ref_id if one.ref is not None else ""
