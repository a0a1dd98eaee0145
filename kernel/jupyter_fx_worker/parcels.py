"""Calls and map chunks in a process that is not ours: a worker of Parsl or Dask runs *parcels* of them.

Whoever makes a parcel's file in its fence (a directory that agent and workers share) has the parcel: the worker, to run
it, or the agent, to revoke it. So nothing starts twice, whatever the engine repeats, and a revoked parcel never starts.
What happens is written to that file as frames, `start`, `text`, `items`, `done`, and is what `run` returns, too: what
a worker has finished is not lost with its engine.
"""

from __future__ import annotations

import io
import os
import socket
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from jupyter_fx_worker import calls, envelope, errors, frames, usermodules
from jupyter_fx_worker.files import MAX_INLINE, shown, spill

__all__ = ["run"]

_MAX_FUNCTIONS = 512
_TEXT_MAX = 1 << 20
_MODULES = usermodules.__name__.encode()
"""Stands near the beginning of arguments that bring modules."""
_CUT = b"\n[output beyond 1 MiB is not kept]\n"

_functions: OrderedDict[str, tuple[Any, usermodules.World | None]] = OrderedDict()
_opening = threading.RLock()
"""What a function or its arguments bring of their own modules is one for the whole process."""
_local = threading.local()


class _Log:
    """The parcel's file and its copy that goes home."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.parts: list[frames.Buffer] = []

    def add(self, header: dict[str, Any], body: Sequence[frames.Buffer] = ()) -> None:
        """One frame more; it is in the file when this returns. Raises OSError when the disk is full."""
        data = b"".join(bytes(piece) for piece in frames.pack(header, body))
        left = memoryview(data)
        while left:
            left = left[os.write(self._fd, left) :]
        self.parts.append(data)


class _Interrupts:
    """Nobody interrupts a task of an engine."""

    live = False


class _Task:
    """What `calls` asks of a worker, for one task."""

    def __init__(self, log: _Log, at: int, folder: str, most: int) -> None:
        self.pid = os.getpid()
        self.interrupts = _Interrupts()
        self.cells = [0] * 8
        self.channel = self
        self.texts: list[tuple[int, bytes]] = []
        self.written = 0
        self._log, self._at = log, at
        self._opts = {"spill": folder, "max_inline": most}

    def send(self, header: dict[str, Any], parts: Sequence[frames.Buffer] = ()) -> None:
        """Results of some items of a map."""
        self.told()
        self._log.add({**header, "no": self._at}, parts)

    def spill(self, parts: Sequence[envelope.Buffer], _opts: dict[str, Any]) -> dict[str, Any] | None:
        """What is too large for a frame goes to a file."""
        return spill(parts, self._opts)

    def told(self) -> None:
        """What was printed since."""
        texts, self.texts = self.texts, []
        for stream, text in texts:
            self._log.add({"op": "text", "no": self._at, "stream": stream}, [text])

    def write(self, stream: int, text: str) -> None:
        """Something was printed."""
        data = text.encode("utf-8", "replace")
        room = _TEXT_MAX - self.written
        if room <= 0:
            return
        self.written += len(data)
        if len(data) > room:
            data = data[:room] + _CUT
        if self.texts and self.texts[-1][0] == stream:
            self.texts[-1] = (stream, self.texts[-1][1] + data)
        else:
            self.texts.append((stream, data))


class _Tee(io.TextIOBase):
    """Standard output or error: what the thread of a task writes belongs to the task, the rest goes on as before."""

    encoding = "utf-8"

    def __init__(self, stream: int, before: Any) -> None:
        self._stream, self.before = stream, before

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        task = getattr(_local, "task", None)
        if task is None:
            return int(self.before.write(text)) if self.before is not None else len(text)
        task.write(self._stream, text)
        return len(text)

    def flush(self) -> None:
        if self.before is not None and getattr(_local, "task", None) is None:
            self.before.flush()

    def fileno(self) -> int:
        if self.before is None:
            raise io.UnsupportedOperation("fileno")
        return int(self.before.fileno())

    def isatty(self) -> bool:
        return False


def _listen() -> None:
    if not isinstance(sys.stdout, _Tee):
        sys.stdout = _Tee(1, sys.stdout)
    if not isinstance(sys.stderr, _Tee):
        sys.stderr = _Tee(2, sys.stderr)


def _lock(fd: int) -> bool:
    """Hold a lock for as long as this process lives or has the file open: whether it does is seen by it."""
    try:
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_EX)
    except (ImportError, OSError):
        return False
    return True


def _refused(word: str, said: str = "") -> dict[str, Any]:
    return {"refused": word, "said": said, "host": socket.gethostname()}


def run(parcel: dict[str, Any]) -> dict[str, Any]:
    """Run a parcel: `fence`, `name`, `functions` {digest: envelope}, `tasks` [{verb, fn, payload | path, parts}],
    `spill`, `max_inline`.

    Returns `log`, the bytes of its frames, and `host`; or `refused`: `unseen` (the fence is not there: it is not
    shared with this host, or whoever made the parcel is gone), `taken`, `disk`.
    """
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
    if len(parcel["tasks"]) > 1:
        # Which of several have started must be true after the end of the node, too.
        flags |= os.O_DSYNC
    try:
        fd = os.open(os.path.join(parcel["fence"], parcel["name"]), flags, 0o600)
    except FileNotFoundError:
        return _refused("unseen")
    except FileExistsError:
        return _refused("taken")
    except OSError as error:
        return _refused("disk", str(error))
    log = _Log(fd)
    try:
        _listen()
        tasks = [task["id"] for task in parcel["tasks"]]
        log.add({"op": "parcel", "tasks": tasks, "host": socket.gethostname(), "locked": _lock(fd)})
        for at, task in enumerate(parcel["tasks"]):
            _run_one(log, at, task, parcel)
    finally:
        os.close(fd)
    return {"log": b"".join(bytes(part) for part in log.parts), "host": socket.gethostname()}


def _run_one(log: _Log, at: int, told: dict[str, Any], parcel: dict[str, Any]) -> None:
    begun = time.time()
    log.add({"op": "start", "no": at, "t": begun})
    task = _Task(log, at, parcel["spill"], parcel.get("max_inline", MAX_INLINE))
    _local.task = task
    try:
        outcome, parts, info = _call(task, at, told, parcel["functions"])
    finally:
        _local.task = None
    task.told()
    if not (spilled := task.spill(parts, {})):
        spilled = {}
    else:
        parts = ()
    log.add({"op": "done", "no": at, "outcome": outcome, "t0": begun, "t1": time.time(), **info, **spilled}, parts)


def _call(task: Any, at: int, told: dict[str, Any], functions: dict[str, bytes]) -> calls.Outcome:
    try:
        payload: envelope.Buffer = shown(told["path"]) if told.get("path") else bytearray(told["payload"])
        apart = [shown(part) if isinstance(part, str) else bytearray(part) for part in told.get("parts") or ()]
    except OSError as error:
        lacks = errors.PayloadError(f"the arguments are in a file that {socket.gethostname()} cannot read: {error}")
        return "error", errors.dumps_error(lacks), {}
    with _opening:
        function, world = _function(told["fn"], functions)
        if world is not None or _MODULES in bytes(payload[:65536]):
            # Modules of its own while it runs: no other task of this process may have others meanwhile.
            usermodules.activate(world)
            try:
                return _verb(task, at, told["verb"], function, payload, apart)
            finally:
                usermodules.activate(None)
    return _verb(task, at, told["verb"], function, payload, apart)


def _verb(
    task: Any, at: int, verb: str, function: Any, payload: envelope.Buffer, apart: Sequence[envelope.Buffer]
) -> calls.Outcome:
    if verb == "map":
        return calls.run_map(task, at, function, payload, {}, apart)
    return calls.run_call(task, function, payload, apart)


def _function(digest: str, functions: dict[str, bytes]) -> tuple[Any, usermodules.World | None]:
    known = _functions.get(digest)
    if known is not None:
        _functions.move_to_end(digest)
        return known
    world = usermodules.World()
    usermodules.activate(world)
    try:
        function = envelope.loads(bytearray(functions[digest]))[1]
    except (Exception, SystemExit) as error:  # of a module that it is from
        function = calls.Broken(error)
    usermodules.activate(None)
    _functions[digest] = found = (function, world if world.entries else None)
    while len(_functions) > _MAX_FUNCTIONS:
        _functions.popitem(last=False)
    return found
