"""The agent: links the hub, the journal, the state and the manager. It carries out what the state says and tells it
what happens.

Everything is on one event loop. Messages of the hub are handled where they arrive; only blobs and timers are tasks.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from jupyter_fx import __version__
from jupyter_fx.client.blobs import Blobs
from jupyter_fx.endpoint import environments
from jupyter_fx.endpoint.cores import host_cores
from jupyter_fx.endpoint.engines.link import EngineLink, engine_spec
from jupyter_fx.endpoint.events import (
    Acked,
    Assemble,
    Assembled,
    DiskState,
    Draining,
    Fetch,
    FindRef,
    From,
    KeepFunction,
    KeepRef,
    LoadFunction,
    Opened,
    Remove,
    Replayed,
    RoundTrip,
    Send,
    Tell,
    Upload,
    Write,
    WriteFailed,
)
from jupyter_fx.endpoint.files import Files
from jupyter_fx.endpoint.fleet import Fleet
from jupyter_fx.endpoint.identity import Identity, boot_id
from jupyter_fx.endpoint.journal import Journal
from jupyter_fx.endpoint.launch import STOP_MARK, STOPPED
from jupyter_fx.endpoint.linknote import LinkNote
from jupyter_fx.endpoint.manager import Manager
from jupyter_fx.endpoint.managerspec import spec_of
from jupyter_fx.endpoint.nodes import Nodes
from jupyter_fx.endpoint.provisioning import Provision, on_nodes
from jupyter_fx.endpoint.questions import Questions
from jupyter_fx.endpoint.remote_manager import RemoteManager
from jupyter_fx.endpoint.routing import Routes
from jupyter_fx.endpoint.settings import Endpoint, config_path
from jupyter_fx.endpoint.state import AgentState
from jupyter_fx.endpoint.store import Store, free_space
from jupyter_fx.endpoint.talk import Answer, Ask, Code, Done, Ended, Halt, Place, Report
from jupyter_fx.errors import FxError, RefLost, UsageError
from jupyter_fx.ids import new_id
from jupyter_fx.protocol.messages import (
    OLDEST_VERSION,
    VERSION,
    Demand,
    ErrorInfo,
    Hello,
    Outputs,
    Request,
    Welcome,
)
from jupyter_fx.transport import Peer

__all__ = ["Agent"]

log = logging.getLogger(__name__)

DISK_EVERY: Final = 5.0
LINK_EVERY: Final = 2.0
SWEEP_EVERY: Final = 3600.0
ROUND_TRIP_EVERY: Final = 60.0


class Agent:
    """One endpoint's agent. `await run()` serves until it is told to stop; the exit status.

    `umask`: what user code starts with; -1: ours. `nodes`: where its nodes come from, if it does not run tasks itself.
    """

    def __init__(
        self, home: Path, identity: Identity, settings: Endpoint, *, umask: int = -1, nodes: Provision | None = None
    ) -> None:
        self.home = home
        self.identity = identity
        self.settings = settings
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._status = 0
        self._give_up_blocks = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = self._timer_fires = float("inf")
        self._used = time.monotonic()
        cores = host_cores()
        slots = settings.workers or cores
        worker_cores = max(1, cores // slots)
        if nodes is not None:
            slots, worker_cores = 0, nodes.node.worker_cores
        self.store = Store(home)
        expected = (home / "had-journal").exists()
        self.journal = Journal(home / "journal", boot_id=boot_id(), fresh_generation=new_id(), expected=expected)
        (home / "had-journal").touch(0o600)
        functions = self.store.functions()
        containers = settings.containers.spec()
        self.state = AgentState(
            endpoint_id=identity.endpoint_id,
            slots=slots,
            worker_cores=worker_cores,
            max_sessions=settings.max_sessions,
            wall=time.time() - time.monotonic(),
            generation=self.journal.generation,
            boot_id=self.journal.boot_id,
            sure=self.journal.sure,
            why=self.journal.why,
            use_cwd=settings.use_notebook_directory or identity.name == "local",
            functions=set(functions),
            fleet=Fleet(Routes(settings.routing, random.randrange)) if nodes is not None else None,
            most=nodes.node if nodes is not None else None,
            session_floor=nodes.settings.session_floor_seconds if nodes is not None else 0.0,
            refuses=functools.partial(environments.refusal, spec=containers),
            place_of=nodes.allocations.place if nodes is not None else None,
            engine=settings.engine,
        )
        spec = spec_of(home, settings, slots=slots, worker_cores=worker_cores, umask=umask)
        self.manager: Manager | RemoteManager | Nodes
        self.nodes: Nodes | None = None
        if nodes is not None:
            self.manager = self.nodes = Nodes(
                home,
                identity.endpoint_id,
                nodes.settings,
                nodes.provider,
                on_nodes(spec, settings, nodes.settings),
                nodes.allocations,
                event=self._told,
                loads=self.state.loads,
                loop=self._loop,
            )
        elif settings.engine:
            described = engine_spec(spec, settings, config_path(identity.name))
            self.manager = EngineLink(described, self._told, self._loop, self.state.tasks, self.state.held)
        elif settings.manager == "process":
            self.manager = RemoteManager(spec, self._told, self._loop, self.state.held)
        else:
            self.manager = Manager(spec, self._told, self._loop)
        self._questions = Questions(self._loop, self._ask)
        self.manager.logs.retention = settings.log_retention_days * 86400
        for name, payload in functions.items():
            self.manager.receive(Code(name, payload))
        address = settings.hub or identity.hub
        self.peer = Peer(
            address,
            self._hello("endpoint"),
            on_message=self._message,
            on_open=self._opened,
            on_lost=self._lost,
            on_acked=self._acked,
            on_refused=self._refused,
            on_request=self._request,
        )
        self._link_note = LinkNote(home)
        self._files = Files(
            self.store,
            Blobs(address, self._hello("blobs")),
            self.state,
            endpoint_id=identity.endpoint_id,
            cache=settings.cache_mb << 20,
            event=self._event,
            spawn=self._spawn,
            loop=self._loop,
        )
        self._performers: dict[type, Callable[[Any], None]] = {
            Send: self._send,
            Tell: self._tell,
            Write: self._write,
            KeepFunction: self._files.keep_function,
            LoadFunction: self._load_function,
            Fetch: self._files.fetch,
            FindRef: self._files.find_ref,
            Assemble: self._assemble,
            Upload: self._files.upload,
            KeepRef: self._files.keep_ref,
            Remove: self._files.remove,
        }

    def _hello(self, role: str) -> Hello:
        info = {
            "name": self.identity.name,
            "endpoint_id": self.identity.endpoint_id,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "python": list(sys.version_info[:3]),
        }
        software = f"jupyter-fx/{__version__}"
        return Hello(VERSION, OLDEST_VERSION, role, new_id(), software, self.identity.credential, info)

    # Running.

    async def run(self) -> int:
        """Serve until stopped (SIGTERM, `stop`, or a refusal of the hub)."""
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                self._loop.add_signal_handler(number, self.stop)
        self.manager.start()
        if self.nodes is not None:
            there = self.nodes.adopted
            self._event(Replayed(self.journal.records, bool(there), there))
        else:
            adopting = isinstance(self.manager, RemoteManager) and self.manager.adopted
            left = isinstance(self.manager, EngineLink) and not adopting
            self._event(Replayed(self.journal.records, adopting or left))
            if left:
                assert isinstance(self.manager, EngineLink)
                self.manager.settle()
                self._event(Report([], [], gone=True))
            self._event(self.manager.capacity())
        self.journal.records = []
        self.peer.start()
        self._every(DISK_EVERY, self._look_at_disk)
        self._every(LINK_EVERY, lambda: self._link_note.look(self.peer))
        self._every(SWEEP_EVERY, self._sweep)
        self._every(ROUND_TRIP_EVERY, self._measure)
        if self.settings.idle_stop_seconds:
            self._every(min(5.0, self.settings.idle_stop_seconds), self._stop_when_idle)
        try:
            await self._stop.wait()
            await self._wind_down()
        finally:
            self.close()
        return self._status

    def stop(self) -> None:
        """Begin to end."""
        self._stop.set()

    async def _wind_down(self) -> None:
        """Give back what has not started, wait shortly for what runs, end the rest, see that the hub hears of it."""
        if self.nodes is not None and not self._give_up():
            # Its blocks go on and hold what they have for the next agent.
            await self.nodes.stop(give_up=False)
            await self._until(lambda: not self.peer.link.unacked_count, 2.0 if self.peer.is_open else 0.0)
            return
        if self._status == 0:
            self._event(Draining("it is being stopped"))
            await self._until(lambda: not self.manager.busy, self.settings.drain_seconds)
            self.manager.receive(Halt("the endpoint was stopped while it ran"))
            await self._until(lambda: not self.manager.busy, 3.0)
            if self.nodes is not None:
                await self.nodes.stop(give_up=True)
            await self._until(lambda: not self.peer.link.unacked_count, 2.0 if self.peer.is_open else 0.0)

    def _give_up(self) -> bool:
        """Whether its owner stopped it for good (`launch.stop`), rather than somebody killed it."""
        asked = self.home / STOP_MARK
        there = asked.exists()
        asked.unlink(missing_ok=True)
        return self._give_up_blocks or (there and self._status == 0)

    def _ask(self, message: Ask) -> None:
        """A question about a session, to the manager that has it."""
        if self.nodes is None:
            self.manager.receive(message)
        elif to := self.state.sessions.manager_of(message.session_id):
            self.nodes.receive(message, to)
        else:
            self._questions.answered(Answer(message.n, error="this session is not open"))

    @staticmethod
    async def _until(true: Callable[[], bool], seconds: float) -> None:
        end = time.monotonic() + seconds
        # Looked at, not waited for: what is awaited are ends of other processes' work, once in an agent's life.
        while not true() and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    def close(self) -> None:
        """Let go of everything."""
        for task in self._tasks:
            task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._files.close()
        self.peer.close()
        self.manager.close()
        self.journal.close()

    def _every(self, seconds: float, what: Callable[[], None]) -> None:
        async def again() -> None:
            while True:
                what()
                await asyncio.sleep(seconds)

        self._spawn(again())

    def _spawn(self, coroutine: Any) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a part of the agent failed", exc_info=error)

    # Events.

    def _told(self, message: Any) -> None:
        """The manager says something."""
        if type(message) is Answer:
            self._questions.answered(message)
        elif type(message) is From and type(message.message) is Answer:
            self._questions.answered(message.message)
        else:
            self._event(message)

    def _event(self, event: Any) -> None:
        """Tell the state; do what it says."""
        self._perform(self.state.handle(event, time.monotonic()))
        due = self.state.next_timer()
        if due != self._timer_at:
            self._arm(due)

    def _perform(self, instructions: list[Any]) -> None:
        performers = self._performers
        for instruction in instructions:
            performers[type(instruction)](instruction)

    def _arm(self, due: float) -> None:
        # A timer that fires too early looks again: it is cheaper than moving it for every task.
        self._timer_at = due
        if due == float("inf"):
            return
        if self._timer is not None:
            if self._timer_fires <= due:
                return
            self._timer.cancel()
        self._timer_fires = due
        self._timer = self._loop.call_later(max(0.0, due - time.monotonic()), self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        self._perform(self.state.handle_timer(time.monotonic()))
        self._timer_at = float("inf")
        due = self.state.next_timer()
        if due != self._timer_at:
            self._arm(due)

    def _message(self, message: Any, number: int) -> None:
        self._used = time.monotonic()
        self._event(message)
        if type(message) is Demand and self.nodes is not None:
            self.nodes.wants()
        if number:
            self.peer.acknowledge(number)

    def _acked(self, number: int) -> None:
        self._event(Acked(number))
        if self.journal.wants_compaction:
            try:
                self.journal.compact(self.state.records())
            except OSError as error:
                log.warning("the journal cannot be compacted: %s", error)

    def _opened(self, welcome: Welcome) -> None:
        self._link_note.look(self.peer)
        self._event(Opened(welcome.user))
        self._measure()

    def _lost(self, _error: FxError) -> None:
        self._link_note.look(self.peer)
        self.state.closed()

    def _refused(self, error: FxError) -> None:
        if not self._stop.is_set():
            log.error("the hub refuses this endpoint: %s", error)
            self._status = 3
            self._stop.set()

    # Instructions.

    def _send(self, instruction: Send) -> None:
        message = instruction.message
        if type(message) is Outputs:
            self.state.congested = self.peer.congested
        number = self.peer.send(message, keep=instruction.keep)
        if instruction.marks:
            self.state.sent(number, instruction.marks)

    def _tell(self, instruction: Tell) -> None:
        if self.nodes is not None:
            self.nodes.receive(instruction.message, instruction.to)
        else:
            self.manager.receive(instruction.message)

    def _write(self, instruction: Write) -> None:
        try:
            self.journal.append(instruction.record)
        except OSError as error:
            self._event(WriteFailed(instruction.record, error.strerror or str(error), instruction.then))
            return
        self._perform(instruction.then)

    def _load_function(self, instruction: LoadFunction) -> None:
        payload = Path(instruction.path).read_bytes()
        self._files.keep_function(KeepFunction(instruction.digest, payload))
        self.manager.receive(Code(instruction.digest, payload))

    def _assemble(self, instruction: Assemble) -> None:
        work = instruction.work
        try:
            work.path, work.payload = self.store.join(work.task_id, instruction.parts), b""
        except OSError as error:
            why = f"the arguments of this task cannot be put together at its endpoint: {error}"
            ended = Ended(work.task_id, "error", error=ErrorInfo("StorageFull", why))
            self._loop.call_soon(self._event, Done([ended]))
            return
        if self.nodes is not None:
            self._loop.call_soon(self._event, Assembled(work))
        else:
            self.manager.receive(Place([work]))

    # Requests of the hub.

    def _request(self, request: Request) -> Any:
        args = request.args
        if request.op == "log.read":
            length = min(int(args.get("length", 65536)), 512 * 1024)
            data, size = self.manager.logs.read(
                str(args.get("task_id")),
                int(args.get("attempt", 1)),
                str(args.get("stream")),
                int(args.get("offset", 0)),
                length,
            )
            return {"data": data, "size": size}
        if request.op == "ref.upload":
            path = self.store.ref_path(str(args.get("ref_id")))
            if path is None:
                raise RefLost("its endpoint has this value no more: it was dropped, or kept for its time (14 days)")
            return self._files.put_ref(path)
        if request.op == "ref.drop":
            self.store.drop_ref(str(args.get("ref_id")))
            return {}
        if request.op == "session.ask":
            return self._questions.ask(args)
        if request.op == "agent.stop":
            self._give_up_blocks = True
            (self.home / STOPPED).touch(0o600)
            self._loop.call_later(0.05, self.stop)
            return {}
        raise UsageError(f"an endpoint has no operation {request.op!r}")

    # Now and then.

    def _look_at_disk(self) -> None:
        free, _total = free_space(self.home)
        reserve = self.settings.disk_reserve_mb << 20
        if free < reserve:
            why = f"the disk of the endpoint is nearly full ({free >> 20} MiB left in {self.home}): free space there"
            self._event(DiskState(why))
        elif self.state.disk_full:
            self._event(DiskState(""))
        if self.nodes is None:
            self._event(self.manager.capacity())

    def _sweep(self) -> None:
        self.manager.logs.sweep()
        self.store.sweep()
        self._files.make_room()

    def _measure(self) -> None:
        if self.peer.is_open:
            self._spawn(self._measuring())

    async def _measuring(self) -> None:
        begun = time.monotonic()
        with contextlib.suppress(FxError):
            await self.peer.request("whoami", {}, timeout=10.0)
            self._event(RoundTrip(time.monotonic() - begun))

    def _stop_when_idle(self) -> None:
        idle = not self.manager.busy and not self.state.sessions.open_ids() and not self.state.tasks
        if not idle:
            self._used = time.monotonic()
        elif time.monotonic() - self._used > self.settings.idle_stop_seconds:
            log.info("stopping: idle for %.0f s", self.settings.idle_stop_seconds)
            self.stop()
