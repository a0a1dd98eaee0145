"""The worker processes of one manager: who is free, who must be forked, who is gone.

A slot is `worker_cores` cores. A task of width w takes w slots; idle workers take none. Sessions' workers are beyond
the pool: an idle notebook must not block anybody (docs/wire-protocol.md, Sessions).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from jupyter_fx.endpoint import reap
from jupyter_fx.endpoint.worker_proc import WorkerOwner, WorkerProc
from jupyter_fx.endpoint.zygote_proc import ZygoteProc
from jupyter_fx.protocol.lifecycle import WorkerState

if TYPE_CHECKING:
    from jupyter_fx.endpoint.manager import ManagerSpec

__all__ = ["Pool", "PoolOwner"]

log = logging.getLogger(__name__)

STILLBORN: Final = 4
"""Workers that may end before they are up, one after another, before tries are PATIENCE seconds apart."""
PATIENCE: Final = 2.0
RESTARTS: Final = 5
"""Zygotes that may end one after another before they were ready."""


class PoolOwner(WorkerOwner, Protocol):
    """What a pool asks of its manager, beside what its workers do."""

    def worker_gone(self, worker: WorkerProc, status: int | None, rss: int, cpu: float) -> None:
        """A worker ended."""

    def schedule(self) -> None:
        """Something became free."""

    def capacity_changed(self) -> None:
        """The zygote is ready, or is not any more."""


class Pool:
    """See the module."""

    def __init__(self, spec: ManagerSpec, owner: PoolOwner, loop: asyncio.AbstractEventLoop) -> None:
        self.slots = spec.slots
        self.sessions: dict[str, WorkerProc] = {}
        self.ready = False
        self.why = "its zygote is starting"
        self._spec = spec
        self._owner = owner
        self._loop = loop
        self._folder = Path(spec.folder)
        self._pids = reap.PidFile(self._folder / "pids")
        self._zygote: ZygoteProc | None = None
        self._workers: dict[str, WorkerProc] = {}
        self._idle: dict[int, list[WorkerProc]] = {}
        self._used = 0
        self._counter = 0
        self._failures = 0
        self._stillborn = 0
        self._patient_until = 0.0
        self._asked_close: dict[str, str] = {}
        self._waiting: list[tuple[WorkerProc, dict[str, Any]]] = []
        self._closed = False
        self._retire: asyncio.TimerHandle | None = None

    # The zygote.

    def start(self) -> None:
        """End what an earlier manager left behind; start the zygote."""
        left = self._pids.kill_left()
        if left:
            log.warning("ended %d processes that an earlier manager left", left)
        self._start_zygote()

    def _start_zygote(self) -> None:
        spec = self._spec
        scratch = self._folder / "scratch"
        scratch.mkdir(mode=0o700, exist_ok=True)
        hello = {
            "preload": spec.preload,
            "cores": spec.worker_cores,
            "scratch": str(scratch),
            "env": {},
            "die_with_parent": spec.die_with_parent,
            "umask": spec.umask,
        }
        try:
            self._zygote = ZygoteProc(
                spec.python or sys.executable,
                env=spec.env,
                hello=hello,
                log=self._folder / "zygote.log",
                scratch=scratch,
                loop=self._loop,
                on_ready=self._zygote_ready,
                on_forked=self._forked,
                on_exited=self._exited,
                on_dead=self._zygote_dead,
            )
        except OSError as error:
            self.why = f"{spec.python or sys.executable} cannot be started: {error.strerror}"
            log.error("%s", self.why)
            self._owner.capacity_changed()
            return
        self._pids.add(self._zygote.pid)

    def _zygote_ready(self, info: dict[str, Any]) -> None:
        self.ready, self.why = True, ""
        self._failures = 0
        for warning in info.get("warnings", ()):
            log.warning("zygote: %s", warning)
        if not info.get("forkable", True):
            log.warning("workers are started plainly, not forked: %s", info.get("why"))
        waiting, self._waiting = self._waiting, []
        for worker, told in waiting:
            self._fork(worker, told)
        if self._spec.keep_warm and not self._workers:
            for _ in range(self.slots):
                self._spawn(1)
        self._owner.capacity_changed()
        self._owner.schedule()

    def _zygote_dead(self, reason: str) -> None:
        if self._closed:
            return
        log.error("%s", reason)
        self.ready, self.why = False, reason
        self._zygote = None
        for worker in list(self._workers.values()):
            self._gone(worker, None, 0, 0.0)
        self._failures += 1
        self._owner.capacity_changed()
        if self._failures <= RESTARTS:
            self._loop.call_later(min(30.0, 0.2 * 2**self._failures), self._restart)

    def _restart(self) -> None:
        if not self._closed and self._zygote is None:
            self._start_zygote()

    # Workers begin.

    def _spawn(self, width: int, session: str = "", cwd: str = "") -> WorkerProc:
        self._counter += 1
        worker = WorkerProc(f"w{self._counter}", width, session, self._owner, self._loop)
        self._workers[worker.name] = worker
        told = {
            "worker": worker.name,
            "cores": width * self._spec.worker_cores,
            "gpus": "",
            "cwd": cwd,
            "env": {},
            "session": session or None,
        }
        if self.ready:
            self._fork(worker, told)
        else:
            self._waiting.append((worker, told))
        return worker

    def _fork(self, worker: WorkerProc, told: dict[str, Any]) -> None:
        if self._zygote is None:
            self._waiting.append((worker, told))
            return
        try:
            self._zygote.fork(told, worker.fds())
        except OSError as error:
            log.error("a worker cannot be started: %s", error)
        worker.handed_over()

    def _forked(self, name: str, pid: int) -> None:
        worker = self._workers.get(name)
        if worker is not None:
            worker.pid = pid
            self._pids.add(pid)

    def up(self, worker: WorkerProc) -> None:
        """It said that it is up: it is free, unless work was reserved for it already."""
        if self._stillborn:
            self._stillborn, self.why = 0, ""
            self._owner.capacity_changed()
        if worker.state is WorkerState.STARTING:
            worker.become(WorkerState.IDLE)
            if not worker.session:
                self._idle.setdefault(worker.width, []).append(worker)

    # Who is free.

    @staticmethod
    def is_free(worker: WorkerProc) -> bool:
        """Whether it may be given something now."""
        return worker.state is WorkerState.IDLE and not worker.gone

    def pick(self, width: int, refill_below: int) -> WorkerProc | None:
        """A worker for a task of `width` slots: an idle one, else (short tasks) the busy one that runs out first."""
        if self._used + width <= self.slots:
            idle = self._idle.get(width)
            if idle:
                return idle[-1]
            self._grow(width)
        if refill_below:
            best: WorkerProc | None = None
            least = refill_below
            for worker in self._workers.values():
                have = len(worker.in_hand) + worker.asked
                if have < least and worker.state is WorkerState.BUSY and worker.width == width and not worker.session:
                    best, least = worker, have
            return best
        return None

    def _grow(self, width: int) -> None:
        """Fork a worker if none of this width is on its way and there is room; idle ones of another width make it."""
        if self._loop.time() < self._patient_until:
            return
        pool = [worker for worker in self._workers.values() if not worker.session]
        starting = [w for w in pool if w.state is WorkerState.STARTING and w.width == width]
        if starting and self._used + width * (len(starting) + 1) > self.slots:
            return
        if len(pool) >= self.slots:
            other = next((w for w in pool if self.is_free(w) and w.width != width), None)
            if other is not None:
                self._dismiss(other)
        if len(pool) < self.slots + 2:
            self._spawn(width)

    def busy(self, worker: WorkerProc) -> None:
        """Work is reserved for it."""
        if worker.state is WorkerState.IDLE:
            worker.become(WorkerState.BUSY)
            if not worker.session:
                self._idle[worker.width].remove(worker)
                self._used += worker.width

    def idle(self, worker: WorkerProc) -> None:
        """It has nothing more."""
        if worker.state is WorkerState.BUSY:
            worker.become(WorkerState.IDLE)
            worker.idle_since = self._loop.time()
            if not worker.session:
                self._idle.setdefault(worker.width, []).append(worker)
                self._used -= worker.width

    def _dismiss(self, worker: WorkerProc) -> None:
        self._idle[worker.width].remove(worker)
        worker.become(WorkerState.STOPPING)
        worker.leave()

    # Workers end.

    def reap(self, worker: WorkerProc) -> None:
        """Whatever the worker started goes with it."""
        if worker.pid:
            reap.kill_tree(worker.pid)

    def _exited(self, name: str, frame: dict[str, Any]) -> None:
        worker = self._workers.get(name)
        if worker is None:
            return
        if frame["op"] == "failed":
            log.error("%s", frame.get("why"))
            self._gone(worker, None, 0, 0.0)
            return
        self._gone(worker, frame["status"], frame["maxrss"] * 1024, frame["cpu"])

    def _gone(self, worker: WorkerProc, status: int | None, rss: int, cpu: float) -> None:
        worker.drain()
        if worker.state is WorkerState.BUSY and not worker.session:
            self._used -= worker.width
        elif worker.state is WorkerState.IDLE and not worker.session:
            self._idle[worker.width].remove(worker)
        if worker.state is WorkerState.STARTING:
            self._born_dead(worker)
        worker.become(WorkerState.EXITED if worker.state is WorkerState.STOPPING else WorkerState.CRASHED)
        worker.gone = True
        if worker.pid:
            reap.kill_session(worker.pid)
            self._pids.remove(worker.pid)
        del self._workers[worker.name]
        self._owner.worker_gone(worker, status, rss, cpu)
        worker.close()
        if self._spec.keep_warm and self.ready and not self._closed and worker.state is WorkerState.CRASHED:
            pool = sum(1 for w in self._workers.values() if not w.session)
            if pool < self.slots and not self._stillborn:
                self._spawn(1)

    def _born_dead(self, worker: WorkerProc) -> None:
        """A worker ended before it was up: after a few, wait between tries and say why nothing runs."""
        self._stillborn += 1
        if self._stillborn >= STILLBORN:
            self._patient_until = self._loop.time() + PATIENCE
            self._loop.call_later(PATIENCE, self._owner.schedule)
            said = worker.last_words.decode(errors="replace").strip().splitlines()
            self.why = f"workers end before they are up{': ' + said[-1][:300] if said else ''}"
            log.error("%s", self.why)
            self._owner.capacity_changed()

    # Sessions.

    def open_session(self, session: str, cwd: str, width: int) -> None:
        """Fork a worker for a session."""
        if cwd and not Path(cwd).is_dir():
            cwd = ""
        if not cwd:
            own = (Path(self._spec.sessions) if self._spec.sessions else self._folder / "sessions") / session
            own.mkdir(mode=0o700, parents=True, exist_ok=True)
            cwd = str(own)
        self.sessions[session] = self._spawn(width, session, cwd)

    def session_info(self, worker: WorkerProc) -> dict[str, Any]:
        """What its user may want to know."""
        zygote = self._zygote.info if self._zygote is not None else {}
        return {
            "pid": worker.info.get("pid", 0),
            "python": zygote.get("python"),
            "ipython": zygote.get("ipython"),
            "packages": zygote.get("packages", {}),
            "cwd": worker.info.get("cwd", ""),
            "warm": True,
        }

    def close_session(self, session: str, reason: str, *, kill: bool) -> None:
        """End its worker: at once with `kill`, else when its cell is done, interrupted now, killed after 5 s."""
        worker = self.sessions.get(session)
        if worker is None:
            return
        self._asked_close[session] = reason
        if worker.state is not WorkerState.STOPPING:
            worker.become(WorkerState.STOPPING)
        if kill or not worker.pid:
            self._kill(worker)
            return
        worker.leave()
        if worker.current is not None:
            worker.signal(signal.SIGINT)
        self._loop.call_later(5.0, self._kill, worker)

    def _kill(self, worker: WorkerProc) -> None:
        if worker.gone:
            return
        if worker.pid:
            worker.signal(signal.SIGKILL)
            self.reap(worker)
        else:
            self._gone(worker, None, 0, 0.0)

    def forget_session(self, session: str) -> str | None:
        """Its worker is gone; the reason of who asked for that, None when nobody did."""
        self.sessions.pop(session, None)
        return self._asked_close.pop(session, None)

    # All of them.

    def workers(self) -> list[WorkerProc]:
        """Those that live."""
        return list(self._workers.values())

    def kill_all(self, reason: str) -> None:
        """SIGKILL to every worker; their ends are told as usual."""
        log.info("ending %d workers: %s", len(self._workers), reason)
        for session in self.sessions:
            self._asked_close.setdefault(session, reason)
        self._spec.keep_warm = False
        for worker in self.workers():
            if worker.state is not WorkerState.STOPPING:
                if worker.state is WorkerState.IDLE and not worker.session:
                    self._idle[worker.width].remove(worker)
                elif worker.state is WorkerState.BUSY and not worker.session:
                    self._used -= worker.width
                worker.become(WorkerState.STOPPING)
            self._kill(worker)

    def describe(self) -> dict[str, Any]:
        """For AgentStatus."""
        zygote = self._zygote.info if self._zygote is not None else {}
        states: dict[str, int] = {}
        for worker in self._workers.values():
            states[worker.state.name.lower()] = states.get(worker.state.name.lower(), 0) + 1
        return {
            "slots": self.slots,
            "worker_cores": self._spec.worker_cores,
            "workers": states,
            "sessions": len(self.sessions),
            "python": zygote.get("python"),
            "ipython": zygote.get("ipython"),
            "packages": zygote.get("packages", {}),
            "warnings": zygote.get("warnings", []),
            "forkable": zygote.get("forkable"),
            "why": self.why,
        }

    def close(self) -> None:
        """SIGKILL and reap everything."""
        self._closed = True
        for worker in self.workers():
            if worker.pid:
                worker.signal(signal.SIGKILL)
                reap.kill_tree(worker.pid)
            worker.gone = True
            worker.close()
        self._workers.clear()
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None
        self._pids.clear()


def host_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
