"""The manager's side of one worker: its channel, its two pipes, its counters, and what it has in hand."""

from __future__ import annotations

import array
import asyncio
import fcntl
import logging
import os
import signal
import socket
import sys
import termios
from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Any, Final, Protocol

from jupyter_fx.endpoint.containers import Container
from jupyter_fx.endpoint.counters import Counters
from jupyter_fx.endpoint.crash import Dump
from jupyter_fx.endpoint.cutter import Cutter
from jupyter_fx.endpoint.job import VERBS, Job
from jupyter_fx.endpoint.wire import FrameSocket
from jupyter_fx.protocol.lifecycle import WorkerState, move
from jupyter_fx.protocol.messages import EventKind

__all__ = ["WorkerOwner", "WorkerProc"]

log = logging.getLogger(__name__)

_READ: Final = 1 << 16
_FUNCTIONS: Final = 400
"""Fewer than a worker keeps: what is here is there."""
_LAST_WORDS: Final = 4096
_STREAMS: Final = (int(EventKind.STDOUT), int(EventKind.STDERR))


def _row(told: list[Any]) -> tuple[int, str, int, dict[str, Any]]:
    """One of the results of `done`, whose usual form is short."""
    if type(told[1]) is int:
        no, size, t0, t1 = told
        return no, "ok", size, {"t0": t0, "t1": t1}
    no, outcome, size, info = told
    return no, outcome, size, info


class WorkerOwner(Protocol):
    """What a worker's pool is told."""

    def worker_up(self, worker: WorkerProc) -> None:
        """It may be given work."""

    def worker_done(self, worker: WorkerProc, results: list[tuple[Job, str, bytes, dict[str, Any]]]) -> None:
        """Jobs of it ended: (job, outcome, payload, info)."""

    def worker_text(self, job: Job | None, stream: int, text: bytes) -> None:
        """A job wrote; None when it cannot be said which."""

    def worker_told(self, job: Job, header: dict[str, Any], body: memoryview) -> None:
        """A `display`, `items` or `event` frame of a job."""

    def worker_dropped(self, worker: WorkerProc, jobs: list[Job]) -> None:
        """It has forgotten these and will not start them."""

    def worker_answered(self, n: int, data: bytes) -> None:
        """It answered question `n` with this JSON."""


class WorkerProc:
    """`in_hand` holds jobs in the order in which they are taken up; `reported` counts those whose end was told."""

    def __init__(
        self,
        name: str,
        width: int,
        session: str,
        owner: WorkerOwner,
        loop: asyncio.AbstractEventLoop,
        container: Container,
        devices: list[str] | None = None,
        memory: int = 0,
    ) -> None:
        self.name = name
        self.width = width
        self.container = container
        self.devices = devices or []
        """GPUs that are its alone for as long as it lives."""
        self.cores: list[int] = []
        """Processors that it is pinned to now."""
        self.memory = memory
        """Bytes that it may have, whatever it runs; 0: its tasks say it."""
        self.lane = (container.environment, width, len(self.devices))
        """What it can be given: tasks of one environment, width and number of GPUs."""
        self.session = session
        self.pid = 0
        self.info: dict[str, Any] = {}
        self.state: WorkerState = move(None, WorkerState.STARTING)
        self.in_hand: deque[Job] = deque()
        self.asked = 0
        """Jobs reserved for it whose START is being journaled."""
        self.reported = 0
        self.last_words = b""
        self.idle_since = 0.0
        self.gone = False
        self._owner = owner
        self._loop = loop
        self._known: OrderedDict[str, None] = OrderedDict()
        self._seen = [0, 0]
        self._text: tuple[deque[tuple[int, int, bytes]], deque[tuple[int, int, bytes]]] = (deque(), deque())
        """Of each stream what is not told yet: (marker that ends it or 0, number of the task that ran, text)."""
        self._waiting = array.array("i", [0])
        self._cutters = (Cutter(), Cutter())
        self._dump = Dump()
        self.counters = Counters()
        ours, theirs = socket.socketpair()
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        self._pipes = [out_read, err_read]
        self._theirs = [theirs.detach(), out_write, err_write]
        for fd in self._pipes:
            os.set_blocking(fd, False)
        self._wire = FrameSocket(ours, self._frame, self._closed, loop)
        loop.add_reader(out_read, self._readable, 0)
        loop.add_reader(err_read, self._readable, 1)

    # Starting and ending.

    def fds(self) -> list[int]:
        """The descriptors that go to the zygote."""
        return [*self._theirs, self.counters.fd]

    def handed_over(self) -> None:
        """The zygote has them."""
        for fd in self._theirs:
            os.close(fd)
        self._theirs = []
        self.counters.forked()

    def become(self, state: WorkerState) -> None:
        """Move along the lifecycle table."""
        self.state = move(self.state, state, self.name)

    def signal(self, number: int) -> None:
        """Send a signal to the worker's process group, if it lives."""
        if self.pid and not self.gone:
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                try:
                    os.kill(self.pid, number)
                except ProcessLookupError:
                    return

    def interrupt(self, job: Job) -> None:
        """SIGINT for this job and no other: it must be the one that runs."""
        self.counters.aim(job.no)
        self.signal(signal.SIGINT)

    def drain(self) -> None:
        """The process is gone: read what it said last."""
        self._wire.drain()
        job = self._by_number(self.counters.taken) or (self.in_hand[0] if self.in_hand else None)
        for stream in (0, 1):
            while self._read(stream):
                pass
            self._advance(stream, sys.maxsize, job)
            self._tell(stream, job, self._cutters[stream].rest())
        self._tell(1, job, self._dump.rest())

    def close(self) -> None:
        """Let go of everything."""
        if self._theirs:
            self.handed_over()
        self._wire.close()
        for stream in (0, 1):
            self._close_pipe(stream)
        self.counters.close()

    def _close_pipe(self, stream: int) -> None:
        fd = self._pipes[stream]
        if fd >= 0:
            self._loop.remove_reader(fd)
            os.close(fd)
            self._pipes[stream] = -1

    def _closed(self) -> None:
        """The channel ended; the zygote's word says how the process did."""

    # Work.

    # Which job runs is told by its number, not by counting: a worker that was asked to drop jobs may have done so
    # before its word of it is here.

    def _by_number(self, number: int) -> Job | None:
        return next((job for job in self.in_hand if job.no == number), None)

    def runs(self, job: Job) -> bool:
        """Whether `job` is what the worker is running now."""
        counters = self.counters
        return counters.taken == job.no and counters.started > counters.finished

    def not_taken_up(self) -> list[Job]:
        """The jobs that it has not started, as far as can be seen now."""
        taken, jobs = self.counters.taken, list(self.in_hand)
        for at, job in enumerate(jobs):
            if job.no == taken:
                return jobs[at + 1 :]
        return jobs

    @property
    def current(self) -> Job | None:
        """The job that the worker is running now."""
        counters = self.counters
        return self._by_number(counters.taken) if counters.started > counters.finished else None

    def knows(self, function: str) -> bool:
        """Whether the worker has the function."""
        return function in self._known

    def teach(self, function: str, payload: bytes) -> None:
        """Send a function."""
        self._known[function] = None
        if len(self._known) > _FUNCTIONS:
            self._known.popitem(last=False)
        self._wire.send({"op": "fn", "digest": function}, [payload])

    def forget(self, function: str) -> None:
        """The worker says that it has it not."""
        self._known.pop(function, None)

    def run(self, jobs: list[Job], short: bool, opts: Mapping[str, Any]) -> None:
        """Hand over jobs, in order."""
        tasks: list[list[Any]] = []
        parts: list[bytes] = []
        shared = {"short": True, **opts} if short else opts
        if self.container.environment:
            shared = {**shared, "spill": self.container.inside(opts["spill"])}
        first = jobs[0].work
        header: dict[str, Any] = {"op": "run", "tasks": tasks}
        if all(job.work.function == first.function and job.work.kind == first.kind for job in jobs) and not any(
            job.work.path or job.work.parts for job in jobs
        ):
            # What a batch has in common is said once: written and read per task it costs more than the rest.
            header |= {"verb": VERBS[first.kind], "fn": first.function, "opts": shared}
            for job in jobs:
                tasks.append([job.no, len(job.work.payload)])
                parts.append(job.work.payload)
        else:
            for job in jobs:
                work = job.work
                verb = VERBS[work.kind]
                inside = self.container.inside
                own = {**shared, "parts": [inside(part) for part in work.parts]} if work.parts else shared
                if work.path:
                    tasks.append([job.no, verb, work.function, 0, {**own, "path": inside(work.path)}])
                else:
                    tasks.append([job.no, verb, work.function, len(work.payload), own])
                    parts.append(work.payload)
        self.in_hand.extend(jobs)
        self._wire.send(header, parts)

    def drop(self, jobs: list[Job]) -> None:
        """Ask it to forget jobs that it has not started; answered by `worker_dropped`."""
        self.counters.mail()
        self._wire.send({"op": "drop", "tasks": [job.no for job in jobs]})

    def ask(self, n: int, what: str, args: Mapping[str, Any]) -> None:
        """Ask it about its variables; answered by `worker_answered` before it takes up what is handed over later."""
        self._wire.send({"op": "ask", "n": n, "what": what, "args": args})

    def leave(self) -> None:
        """Ask it to end when it is idle."""
        self._wire.send({"op": "exit"})

    # What comes.

    def _frame(self, header: dict[str, Any], body: memoryview) -> None:
        op = header["op"]
        if op == "done":
            self._done(header["results"], body)
        elif op == "up":
            self.pid = self.pid or self.container.pid_outside(header["pid"])
            for cutter in self._cutters:
                cutter.nonce(header["nonce"])
            self.info = header
            self._owner.worker_up(self)
        elif op == "dropped":
            numbers = set(header["tasks"])
            dropped = [job for job in self.in_hand if job.no in numbers]
            if dropped:
                self.in_hand = deque(job for job in self.in_hand if job.no not in numbers)
            self._owner.worker_dropped(self, dropped)
        elif op == "imported":
            self.container.imported(self.name, [str(one) for one in header["modules"]])
        elif op == "answer":
            self._owner.worker_answered(header["n"], bytes(body))
        else:
            job = next((job for job in self.in_hand if job.no == header.get("no")), None)
            if mark := header.get("mark", 0):
                self._cut(mark, job)
            if job is not None and self._ours(header):
                self._owner.worker_told(job, header, body)

    def _done(self, results: list[list[Any]], body: memoryview) -> None:
        ended: list[tuple[Job, str, bytes, dict[str, Any]]] = []
        at = 0
        in_hand = self.in_hand
        for no, outcome, size, info in map(_row, results):
            payload = bytes(body[at : at + size])
            at += size
            if not in_hand or in_hand[0].no != no or not self._ours(info):
                continue
            job = in_hand[0]
            if "m" in info:
                self._cut(info["m"], job)
                self.last_words = b""
            elif self._text[0] or self._text[1]:
                self._advance(0)
                self._advance(1)
            in_hand.popleft()
            self.reported += 1
            ended.append((job, outcome, payload, info))
        self._owner.worker_done(self, ended)

    def _ours(self, said: dict[str, Any]) -> bool:
        """Put the name that a result's file has here for the one that the worker knows; whether it may name it."""
        if not self.container.environment or "path" not in said:
            return True
        try:
            said["path"] = self.container.outside(said["path"])
        except (OSError, ValueError) as error:
            log.error("worker %s is ended: %s", self.name, error)
            self.signal(signal.SIGKILL)
            return False
        return True

    # Text. Whose it is follows from the order of three looks: how many bytes are in the pipe, which task runs, then
    # read just those bytes. All of them were written before the second look. A task that is over by then has left a
    # marker behind its bytes, because they were still in the pipe when it ended (docs/worker-protocol.md, Order). So
    # bytes without a marker are of the task that runs.

    def _readable(self, stream: int) -> None:
        if self._read(stream):
            self._advance(stream)

    def _read(self, stream: int) -> bool:
        """Read what is there; whether there was something."""
        fd = self._pipes[stream]
        if fd < 0:
            return False
        fcntl.ioctl(fd, termios.FIONREAD, self._waiting)
        owner = self.counters.taken
        try:
            data = os.read(fd, self._waiting[0] or _READ)
        except (BlockingIOError, InterruptedError):
            return False
        if not data:
            self._close_pipe(stream)
            return False
        if stream == 1:
            data = self._dump.feed(data)
        for text, mark in self._cutters[stream].feed(data):
            self._text[stream].append((mark, owner, text))
            if mark:
                self._seen[stream] = mark
        return True

    def _advance(self, stream: int, upto: int = 0, job: Job | None = None) -> None:
        """Tell text up to marker `upto`, which is `job`'s, and what follows as far as its task is known."""
        waiting = self._text[stream]
        while waiting:
            mark, owner, text = waiting[0]
            if mark > upto:
                return
            waiting.popleft()
            self._tell(stream, job if mark else self._by_number(owner), text)

    def _cut(self, mark: int, job: Job | None) -> None:
        """A frame names a marker: what stands before it belongs to the frame's job and goes first."""
        for stream in (0, 1):
            while self._seen[stream] < mark and self._read(stream):
                pass
            self._advance(stream, mark, job)

    def _tell(self, stream: int, job: Job | None, text: bytes) -> None:
        if text:
            self.last_words = (self.last_words + text)[-_LAST_WORDS:]
            self._owner.worker_text(job, _STREAMS[stream], text)
