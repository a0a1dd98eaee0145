"""The worker processes of one manager: who is free, who must be forked, who is gone. They live in containers (`warm`),
of which the host's own Python is one.

A slot is `worker_cores` cores. A task of width w takes w slots; idle workers take none. Sessions' workers are beyond
the pool: an idle notebook must not block anybody (docs/wire-protocol.md, Sessions).
"""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from jupyter_fx.endpoint import reap
from jupyter_fx.endpoint.containers import Container
from jupyter_fx.endpoint.share import Share
from jupyter_fx.endpoint.tallies import counts
from jupyter_fx.endpoint.warm import Warm
from jupyter_fx.endpoint.worker_proc import WorkerOwner, WorkerProc
from jupyter_fx.protocol.lifecycle import WorkerState

if TYPE_CHECKING:
    from jupyter_fx.endpoint.managerspec import ManagerSpec

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

    def environment_failed(self, environment: str, why: str) -> None:
        """Nothing of this environment can be run."""


class Pool:
    """See the module. It is the owner of the containers."""

    def __init__(self, spec: ManagerSpec, owner: PoolOwner, loop: asyncio.AbstractEventLoop) -> None:
        self.slots = spec.slots
        self.sessions: dict[str, WorkerProc] = {}
        self.ready = False
        self.why = "the endpoint's Python is starting"
        self._spec = spec
        self._owner = owner
        self._loop = loop
        self._folder = Path(spec.folder)
        self._pids = reap.PidFile(self._folder / "pids")
        self.warm = Warm(spec, self, self._pids, loop)
        self._workers: dict[str, WorkerProc] = {}
        self._idle: dict[tuple[str, int, int], list[WorkerProc]] = {}
        self._used = 0
        self._share = Share(spec.gpus, spec.pin)
        self._counter = 0
        self._failures = 0
        self._stillborn = 0
        self._patient_until = 0.0
        self._asked_close: dict[str, str] = {}
        self.not_up: set[str] = set()
        """Sessions that end because their container did not come up."""
        self._waiting: dict[str, list[tuple[WorkerProc, dict[str, Any]]]] = {}
        """Workers whose container is on its way, by its key."""
        self._closed = False

    # Containers.

    def start(self) -> None:
        """End what an earlier manager left behind; start the host's zygote."""
        left = self._pids.kill_left() + self.warm.clear()
        if left:
            log.warning("ended %d processes that an earlier manager left", left)
        self.warm.want("")

    def container_started(self, container: Container) -> None:
        """See ContainerOwner."""
        self.warm.started(container)

    def container_ready(self, container: Container) -> None:
        """See ContainerOwner."""
        self.warm.started(container)
        for worker, told in self._waiting.pop(container.key, ()):
            self._fork(worker, told)
        if not container.environment:
            self.ready, self.why = True, ""
            self._failures = 0
            if self._spec.keep_warm and not self._workers:
                for _ in range(self.slots):
                    self._spawn("", 1)
        self._owner.capacity_changed()
        self._owner.schedule()

    def container_stopping(self, container: Container) -> None:
        """See ContainerOwner."""
        for worker in [one for one in self._workers.values() if one.container is container]:
            if self.is_free(worker) and not worker.session:
                self._idle[worker.lane].remove(worker)
            if worker.state is not WorkerState.STOPPING:
                worker.become(WorkerState.STOPPING)
            self._gone(worker, None, 0, 0.0)

    def container_ended(self, container: Container, why: str, *, came_up: bool) -> None:
        """See ContainerOwner."""
        if self._closed:
            return
        self.warm.ended(container, why, came_up=came_up)
        host = not container.environment
        if host:
            self.ready, self.why = False, why
        self._waiting.pop(container.key, None)
        if not host and not came_up:
            self._owner.environment_failed(container.environment, why)
        for worker in [one for one in self._workers.values() if one.container is container]:
            if worker.session and not came_up and worker.session not in self._asked_close:
                self._asked_close[worker.session] = why
                self.not_up.add(worker.session)
            self._gone(worker, None, 0, 0.0, counts=host)
        self._owner.capacity_changed()
        if not host:
            self._owner.schedule()
            return
        self._failures += 1
        if self._failures <= RESTARTS:
            self._loop.call_later(min(30.0, 0.2 * 2**self._failures), self._restart)

    def _restart(self) -> None:
        if not self._closed and self.warm.get("") is None:
            self.warm.want("")

    def worker_forked(self, worker: str, pid: int) -> None:
        """See ContainerOwner."""
        found = self._workers.get(worker)
        if found is not None and pid:
            found.pid = pid
            self._pids.add(pid)

    def worker_exited(self, worker: str, frame: dict[str, Any]) -> None:
        """See ContainerOwner."""
        found = self._workers.get(worker)
        if found is None:
            return
        if frame["op"] == "failed":
            log.error("%s", frame.get("why"))
            self._gone(found, None, 0, 0.0)
            return
        self._gone(found, frame["status"], frame["maxrss"] * 1024, frame["cpu"])

    def refusal(self, environment: str) -> str:
        """Why nothing of this environment can be run now; empty when it can be tried."""
        return self.warm.refusal(environment) if environment else ""

    # Workers begin.

    def _spawn(
        self, environment: str, width: int, session: str = "", cwd: str = "", *, gpus: int = 0, memory: int = 0
    ) -> WorkerProc:
        self._counter += 1
        container = self.warm.want(environment)
        worker = WorkerProc(
            f"w{self._counter}", width, session, self._owner, self._loop, container, self._share.take_gpus(gpus), memory
        )
        container.workers += 1
        container.starting += 1
        self._workers[worker.name] = worker
        if session:
            container.took()
        told = {
            "worker": worker.name,
            "cores": width * self._spec.worker_cores,
            "gpus": ",".join(worker.devices),
            "cwd": cwd,
            "env": {},
            "session": session or None,
        }
        if container.up:
            self._fork(worker, told)
        else:
            self._waiting.setdefault(container.key, []).append((worker, told))
        return worker

    def _fork(self, worker: WorkerProc, told: dict[str, Any]) -> None:
        container = worker.container
        if worker.session:
            # Only a container that is there knows which of its directories is which.
            if not told["cwd"]:
                told["cwd"] = container.session_folder(worker.session)
            told["cwd"] = container.inside(told["cwd"])
            told["env"] = container.session_environment(worker.session)
        try:
            container.fork(told, worker.fds())
        except OSError as error:
            log.error("a worker cannot be started: %s", error)
        worker.handed_over()

    def up(self, worker: WorkerProc) -> None:
        """It said that it is up: it is free, unless work was reserved for it already."""
        if self._stillborn:
            self._stillborn, self.why = 0, ""
            self._owner.capacity_changed()
        worker.container.starting -= 1
        if worker.state is WorkerState.STARTING:
            worker.become(WorkerState.IDLE)
            if not worker.session:
                self._idle.setdefault(worker.lane, []).append(worker)
            else:
                self._pin(worker)

    def _pin(self, worker: WorkerProc) -> None:
        """To cores of its own, where the node's are ours: a task's while it runs, a session's while it lives."""
        if self._spec.pin and not worker.cores:
            worker.cores = self._share.take_cores(worker.width * self._spec.worker_cores, worker.pid)

    # Who is free.

    @staticmethod
    def is_free(worker: WorkerProc) -> bool:
        """Whether it may be given something now."""
        return worker.state is WorkerState.IDLE and not worker.gone

    def pick(self, lane: tuple[str, int, int], refill_below: int, waiting: int) -> WorkerProc | None:
        """A worker for a task of `lane` (environment, width in slots, GPUs), one of `waiting` such: an idle one, else
        (short tasks) the busy one that runs out first.
        """
        width = lane[1]
        if self._used + width <= self.slots:
            idle = self._idle.get(lane)
            if idle:
                return idle[-1]
            self._grow(lane, waiting)
        if refill_below:
            best: WorkerProc | None = None
            least = refill_below
            for worker in self._workers.values():
                have = len(worker.in_hand) + worker.asked
                if have < least and worker.state is WorkerState.BUSY and worker.lane == lane:
                    if worker.session or worker.container.single:
                        continue
                    best, least = worker, have
            return best
        return None

    def is_up(self, environment: str) -> bool:
        """Whether workers of this environment can be had as soon as there are slots."""
        container = self.warm.get(environment)
        return container is not None and container.up

    def _grow(self, lane: tuple[str, int, int], waiting: int) -> None:
        """Fork a worker if too few of this lane are on their way and there is room; idle ones of another lane make
        it.
        """
        environment, width, gpus = lane
        if self._loop.time() < self._patient_until or not (environment or self.ready or self.warm.get("")):
            return
        pool = [worker for worker in self._workers.values() if not worker.session]
        starting = [w for w in pool if w.state is WorkerState.STARTING and w.lane == lane]
        if len(starting) >= waiting or (starting and self._used + width * (len(starting) + 1) > self.slots):
            return
        # An idle worker costs little memory and its successor a fork: where environments alternate, more may idle.
        most = self.slots if len(self.warm.all()) < 2 else 4 * self.slots
        if len(pool) >= most:
            other = next((w for w in pool if self.is_free(w) and w.lane != lane), None)
            if other is not None:
                self._dismiss(other)
        # A worker that waits for its container is no process yet, and must not keep others from their slots.
        there = sum(1 for worker in pool if worker.pid or worker.lane == lane)
        if there < most + 2 and self._have_gpus(gpus):
            self._spawn(environment, width, gpus=gpus)

    def _have_gpus(self, count: int) -> bool:
        """Whether so many devices are free; if not, idle workers that have some are asked to leave."""
        if self._share.gpus >= count:
            return True
        missing = count - self._share.gpus
        for worker in [w for w in self._workers.values() if w.devices and not w.session and self.is_free(w)]:
            if missing > 0:
                missing -= len(worker.devices)
                self._dismiss(worker)
        return False

    def busy(self, worker: WorkerProc) -> None:
        """Work is reserved for it."""
        if worker.state is WorkerState.IDLE:
            worker.become(WorkerState.BUSY)
            if not worker.session:
                self._idle[worker.lane].remove(worker)
                self._used += worker.width
                worker.container.took()
                self._pin(worker)

    def idle(self, worker: WorkerProc) -> None:
        """It has nothing more."""
        if worker.state is WorkerState.BUSY:
            worker.become(WorkerState.IDLE)
            worker.idle_since = self._loop.time()
            if not worker.session:
                self._idle.setdefault(worker.lane, []).append(worker)
                self._used -= worker.width
                worker.container.gave()
                self._share.give_cores(worker.cores)
                if worker.container.single:
                    self._dismiss(worker)

    def _dismiss(self, worker: WorkerProc) -> None:
        self._idle[worker.lane].remove(worker)
        worker.become(WorkerState.STOPPING)
        worker.leave()

    # Workers end.

    def reap(self, worker: WorkerProc) -> None:
        """Whatever the worker started goes with it."""
        if worker.pid:
            reap.kill_tree(worker.pid)

    def _gone(self, worker: WorkerProc, status: int | None, rss: int, cpu: float, *, counts: bool = True) -> None:
        if worker.gone:
            return
        worker.drain()
        container = worker.container
        if worker.session:
            container.gave()
        elif worker.state is WorkerState.BUSY:
            self._used -= worker.width
            container.gave()
        elif worker.state is WorkerState.IDLE:
            self._idle[worker.lane].remove(worker)
        if worker.state is WorkerState.STARTING and counts:
            self._born_dead(worker)
        worker.become(WorkerState.EXITED if worker.state is WorkerState.STOPPING else WorkerState.CRASHED)
        worker.gone = True
        if worker.pid:
            reap.kill_session(worker.pid)
            self._pids.remove(worker.pid)
        del self._workers[worker.name]
        self._share.give_cores(worker.cores)
        self._share.give_gpus(worker.devices)
        container.workers -= 1
        container.starting -= not worker.info
        self._owner.worker_gone(worker, status, rss, cpu)
        worker.close()
        if container.single and not container.workers:
            self.warm.stop(container)
        self._refill(worker)

    def _refill(self, worker: WorkerProc) -> None:
        """One that crashed is replaced, so that the next task need not wait for a fork."""
        if worker.container.environment or worker.devices or not self._spec.keep_warm or not self.ready or self._closed:
            return
        if worker.state is WorkerState.CRASHED and not self._stillborn:
            pool = sum(1 for w in self._workers.values() if not w.session)
            if pool < self.slots:
                self._spawn("", 1)

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

    def open_session(
        self, session: str, environment: str, cwd: str, width: int, *, gpus: int = 0, memory: int = 0
    ) -> bool:
        """Start a worker for a session; False when its GPUs are not free yet: try again when a worker has gone.

        `cwd`: where it starts if that is a directory; else in one of its own.
        """
        if not self._have_gpus(gpus):
            return False
        if environment or (cwd and not Path(cwd).is_dir()):
            cwd = ""
        self.sessions[session] = self._spawn(environment, width, session, cwd, gpus=gpus, memory=memory)
        return True

    def session_info(self, worker: WorkerProc) -> dict[str, Any]:
        """What its user may want to know."""
        container = worker.container
        told = container.info
        found = {
            "pid": worker.pid,
            "python": told.get("python"),
            "ipython": told.get("ipython"),
            "packages": told.get("packages", {}),
            "cwd": worker.info.get("cwd", ""),
            "warm": True,
        }
        if container.environment:
            found |= {"image": container.environment, "digest": container.digest}
        if worker.devices:
            found["gpus"] = list(worker.devices)
        return found

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
                    self._idle[worker.lane].remove(worker)
                elif worker.state is WorkerState.BUSY and not worker.session:
                    self._used -= worker.width
                    worker.container.gave()
                worker.become(WorkerState.STOPPING)
            self._kill(worker)

    def describe(self) -> dict[str, Any]:
        """For AgentStatus."""
        host = self.warm.get("")
        zygote = host.info if host is not None else {}
        return {
            "slots": self.slots,
            "worker_cores": self._spec.worker_cores,
            **counts(self.warm.all(), self.workers()),
            "sessions": len(self.sessions),
            "python": zygote.get("python"),
            "ipython": zygote.get("ipython"),
            "packages": zygote.get("packages", {}),
            "warnings": zygote.get("warnings", []),
            "forkable": zygote.get("forkable"),
            "containers": self.warm.describe(),
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
        self.warm.close()
        self._pids.clear()
