"""A hub that leases what a test gives it to one real agent process, over a Unix socket. It remembers everything that
it is told.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from jupyter_fx.endpoint import identity
from jupyter_fx.ids import new_id
from jupyter_fx.protocol.messages import (
    AgentStatus,
    BlobData,
    BlobPut,
    BlobStored,
    CancelTasks,
    Credit,
    Demand,
    DemandItem,
    Dispatch,
    EventKind,
    Function,
    Functions,
    Hello,
    Inventory,
    LeasedTask,
    Nack,
    Output,
    Outputs,
    Request,
    Resources,
    Result,
    Results,
    SessionClosed,
    SessionEvent,
    SessionLease,
    SessionSpec,
    TaskOptions,
    Update,
    Updates,
    Welcome,
)
from jupyter_fx.transport import Served, unix
from jupyter_fx_worker import envelope

OWNER = "me"


def pack(value: Any, kind: str, **extra: Any) -> bytes:
    return b"".join(bytes(piece) for piece in envelope.dumps(value, kind, **extra))


def unpack(payload: bytes) -> Any:
    return envelope.loads(payload)[1]


def args(*values: Any, **named: Any) -> bytes:
    return pack((values, named), "args")


class Hub:
    """See the module. `acking`: whether kept messages of the agent are acknowledged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = f"unix:{folder}/hub.sock"
        self.link: Served | None = None
        self.acking = True
        self.results: dict[str, Result] = {}
        self.order: list[tuple[str, Any]] = []
        self.outputs: list[Output] = []
        self.updates: list[Update] = []
        self.nacks: list[Nack] = []
        self.inventories: list[Inventory] = []
        self.credits: list[Credit] = []
        self.statuses: list[AgentStatus] = []
        self.sessions: list[SessionEvent | SessionClosed] = []
        self.blobs: dict[str, bytearray] = {}
        self.changed = asyncio.Event()
        self.opened = asyncio.Event()
        self._fence = 0
        self._server: Any = None

    async def start(self) -> None:
        self._server = await unix.serve(self.folder / "hub.sock", self._connected)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    def _connected(self, channel: Any) -> None:
        served: list[Served] = []

        def on_hello(hello: Hello, _served: Served) -> Welcome:
            return Welcome(1, 1, OWNER, 0)

        def on_open(hello: Hello) -> None:
            if hello.role == "endpoint" and not hello.info.get("enrol"):
                self.link = served[0]
                self.opened.set()

        def on_message(message: Any, number: int) -> None:
            self._take(served[0], message)
            if number and self.acking:
                served[0].acknowledge(number)
            self.changed.set()

        def on_request(request: Request) -> Any:
            if request.op == "endpoints.enrol":
                assert request.args["code"] == "jfxc-good"
                return {"endpoint_id": "e" * 32, "credential": "credential", "name": request.args["name"]}
            return {}

        served.append(Served(channel, on_hello=on_hello, on_message=on_message, on_open=on_open, on_request=on_request))

    def _take(self, link: Served, message: Any) -> None:
        match message:
            case Results():
                for result in message.results:
                    self.results[result.task_id] = result
                    self.order.append(("result", result))
            case Outputs():
                self.outputs += message.outputs
                self.order += [("output", output) for output in message.outputs]
            case Updates():
                self.updates += message.updates
            case Nack():
                self.nacks.append(message)
            case Inventory():
                self.inventories.append(message)
            case Credit():
                self.credits.append(message)
            case AgentStatus():
                self.statuses.append(message)
            case SessionEvent() | SessionClosed():
                self.sessions.append(message)
            case BlobPut():
                self.blobs[message.digest] = bytearray()
                link.send(BlobStored(message.digest, 0, message.size))
            case BlobData():
                self.blobs[message.digest] += message.data
                link.send(BlobStored(message.digest, len(self.blobs[message.digest]), message.size))

    # What tests do.

    def send(self, message: Any) -> None:
        assert self.link is not None
        self.link.send(message)

    def function(self, function: Callable[..., Any]) -> str:
        payload = pack(function, "fn", name=function.__name__)
        name = function.__name__ + "-" + new_id()[-8:]
        self.send(Functions([Function(name, payload, function.__name__)]))
        return name

    def task(
        self, function: str, payload: bytes, kind: int = 0, session: str = "", attempt: int = 1, **options: Any
    ) -> LeasedTask:
        self._fence += 1
        return LeasedTask(
            new_id(),
            OWNER,
            attempt,
            (1, self._fence),
            kind,
            function,
            payload,
            session,
            TaskOptions(**options) if options else None,
        )

    def again(self, task: LeasedTask, attempt: int) -> None:
        """Lease it once more."""
        self._fence += 1
        self.lease(msgspec.structs.replace(task, attempt=attempt, fence=(1, self._fence)))

    def lease(self, *tasks: LeasedTask) -> list[str]:
        self.send(Dispatch(list(tasks)))
        return [task.task_id for task in tasks]

    def cancel(self, task_id: str, mode: int = 0) -> None:
        self.send(CancelTasks([(task_id, 1)], mode))

    async def wait(self, true: Callable[[], Any], seconds: float = 60.0) -> Any:
        async with asyncio.timeout(seconds):
            while not (found := true()):
                self.changed.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.changed.wait(), 0.5)
        return found

    async def result(self, task_id: str, seconds: float = 60.0) -> Result:
        found: Result = await self.wait(lambda: self.results.get(task_id), seconds)
        return found

    async def call(self, function: Callable[..., Any], *values: Any, **options: Any) -> Result:
        (task_id,) = self.lease(self.task(self.function(function), args(*values), **options))
        return await self.result(task_id)

    def text(self, task_id: str, kind: int = EventKind.STDOUT) -> bytes:
        return b"".join(one.data for one in self.outputs if one.task_id == task_id and one.kind == kind)

    def ask_session(self, cwd: str = "", environment: str = "", **resources: Any) -> str:
        needs = Resources(environment=environment, **resources)
        spec = SessionSpec(new_id(), "local", "kernel", "epoch", cwd=cwd, resources=needs)
        self.send(SessionLease(spec, OWNER))
        self.send(Demand([DemandItem("s:" + spec.session_id, 1, needs, spec, OWNER)]))
        return spec.session_id

    async def session(self, cwd: str = "", environment: str = "", **resources: Any) -> str:
        session = self.ask_session(cwd, environment, **resources)
        await self.wait(
            lambda: any(isinstance(s, SessionEvent) and s.state == 3 and s.session_id == session for s in self.sessions)
        )
        return session

    def cell(self, session: str, source: str, names: dict[str, Any] | None = None) -> str:
        payload = pack(
            names or {}, "cell", source=source, filename="<fx-cell:test>", count=1, want=[], home_limit=1 << 20
        )
        return self.lease(self.task("", payload, kind=2, session=session))[0]


class AgentProcess:
    """`python -m jupyter_fx.endpoint.main` in directories of its own."""

    def __init__(self, folder: Path, hub: Hub) -> None:
        self.folder = folder
        self.hub = hub
        self.process: asyncio.subprocess.Process | None = None
        self.home = folder / "state" / "endpoints" / "local"

    async def start(self, *, enrolled: bool = True, config: str = "", **env: str) -> None:
        self.hub.opened.clear()
        self.environ = environ = {
            **os.environ,
            "JUPYTER_FX_STATE_DIR": str(self.folder / "state"),
            "JUPYTER_FX_CONFIG_DIR": str(self.folder / "config"),
            "JUPYTER_FX_RUNTIME_DIR": str(self.folder / "run"),
            **env,
        }
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        if enrolled and identity.load(self.home) is None:
            identity.save(self.home, identity.Identity("local", "e" * 32, "credential", self.hub.address))
        if config:
            path = self.folder / "config" / "endpoints" / "local" / "config.py"
            path.parent.mkdir(parents=True, mode=0o700)
            path.write_text(config)
        command = [sys.executable, "-m", "jupyter_fx.endpoint.main", "local", "--workers", "2"]
        if not enrolled:
            command += ["--hub", self.hub.address, "--code-stdin"]
        with open(self.folder / "agent.log", "ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command, env=environ, stdin=asyncio.subprocess.PIPE, stdout=log, stderr=log
            )
        assert self.process.stdin is not None
        self.process.stdin.write(b"jfxc-good\n")
        self.process.stdin.close()
        await asyncio.wait_for(self.hub.opened.wait(), 20)

    @property
    def log(self) -> str:
        return (self.folder / "agent.log").read_text()

    async def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self.process.wait(), 25)
            except TimeoutError:
                await self.kill()
        return self.process.returncode or 0


@asynccontextmanager
async def endpoint(**how: Any) -> AsyncIterator[tuple[Hub, AgentProcess]]:
    """A hub with an agent that is linked to it; both end with the test."""
    with tempfile.TemporaryDirectory(prefix="fx") as folder:
        path = Path(folder)
        path.chmod(0o700)
        hub = Hub(path)
        await hub.start()
        agent = AgentProcess(path, hub)
        try:
            await agent.start(**how)
            yield hub, agent
        finally:
            if agent.process is not None:
                await agent.stop()
            if sys.exc_info()[0] is not None:
                sys.stderr.write(agent.log[-6000:])
            hub.close()


__all__ = ["AgentProcess", "Hub", "args", "endpoint", "msgspec", "pack", "unpack"]
