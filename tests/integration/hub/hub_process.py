"""A real hub process, and clients and agents that only remember what they are told."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from jupyter_fx.errors import AuthError
from jupyter_fx.ids import new_id
from jupyter_fx.protocol.messages import (
    AgentStatus,
    CancelTasks,
    Credit,
    Dispatch,
    ErrorInfo,
    Events,
    Function,
    Functions,
    Hello,
    Inventory,
    Outcomes,
    Output,
    Outputs,
    Rejected,
    Result,
    Results,
    Submit,
    TaskSpec,
)
from jupyter_fx.transport import Peer

FUNCTION = "f" * 64


class HubProcess:
    """`python -m jupyter_fx_hub` in a short directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {
            **os.environ,
            "JUPYTER_FX_RUNTIME_DIR": str(folder / "r"),
            "JUPYTER_FX_STATE_DIR": str(folder / "s"),
        }
        self.env["JUPYTER_FX_CONFIG_DIR"] = str(folder / "c")
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "log"
        self.told: dict[str, Any] = {}

    def start(self, *options: str) -> HubProcess:
        command = [
            sys.executable,
            "-m",
            "jupyter_fx_hub",
            "--HubApp.min_free=1",
            "--HubApp.min_free_fraction=0.0",
            *options,
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*command, "--HubApp.ballast=4096"], env=self.env, stderr=log, stdout=log)
        file = self.folder / "r" / "hub.json"
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(self.log.read_text())
            try:
                told = json.loads(file.read_text())
            except (OSError, ValueError):
                told = {}
            if told.get("pid") == self.process.pid:
                self.told = told
                return self
            time.sleep(0.02)
        raise AssertionError("no hub.json: " + self.log.read_text())

    @property
    def address(self) -> str:
        return f"unix:{self.told['socket']}"

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(15)

    def rest(self, method: str, path: str, body: Any = None, token: str | None = "", **headers: str) -> tuple[int, Any]:
        request = urllib.request.Request(self.told["url"] + path, method=method, headers=headers)
        if token is not None:
            request.add_header("Authorization", f"Bearer {token or self.told['token']}")
        if body is not None:
            request.data = json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                status, data = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, data = error.code, error.read()
        try:
            return status, json.loads(data)
        except ValueError:
            return status, data.decode()


class FakeClient:
    """A client that keeps what it is told."""

    def __init__(self, address: str, **more: Any) -> None:
        self.outcomes: dict[str, Any] = {}
        self.events: list[Any] = []
        self.rejected: dict[str, ErrorInfo] = {}
        self.twice: list[str] = []
        self.opened = 0
        self.peer = Peer(
            address,
            Hello(1, 1, "client", new_id(), token=more.pop("token", "")),
            on_message=self._told,
            on_open=self._opened,
        )
        self.peer.start()

    def _opened(self, welcome: Any) -> None:
        self.opened += 1

    def _told(self, message: Any, number: int) -> None:
        if isinstance(message, Outcomes):
            for outcome in message.outcomes:
                old = self.outcomes.get(outcome.task_id)
                if old is not None and old.payload != outcome.payload:
                    self.twice.append(outcome.task_id)
                self.outcomes[outcome.task_id] = outcome
        elif isinstance(message, Events):
            self.events += message.events
        elif isinstance(message, Rejected):
            self.rejected |= dict.fromkeys(message.tasks, message.error)

    def functions(self) -> None:
        self.peer.send(Functions([Function(FUNCTION, b"code", "f")]), keep=True)

    def submit(self, count: int = 1, endpoint: str = "local", **more: Any) -> list[str]:
        specs = [TaskSpec(new_id(), 0, FUNCTION, b"%d" % n, endpoint, **more) for n in range(count)]
        self.peer.send(Submit(specs), keep=True)
        return [s.task_id for s in specs]

    async def wait(self, task_ids: list[str], timeout: float = 60.0) -> None:
        await until(lambda: all(t in self.outcomes or t in self.rejected for t in task_ids), timeout)


class FakeAgent:
    """An agent whose tasks are their own results; `silent` ones are never answered. It remembers what it started."""

    def __init__(self, address: str, credential: str) -> None:
        self.started: dict[str, int] = {}
        self.leased: dict[str, Any] = {}
        self.silent = False
        self.cancels: list[Any] = []
        self.seen = self.opened = 0
        self.peer = Peer(
            address, Hello(1, 1, "endpoint", new_id(), token=credential, info={"pid": 4711, "host": "here"}),
            on_message=self._told, on_open=self._opened, on_request=lambda request: {"stopped": request.op},
        )  # fmt: skip
        self.peer.start()

    def _opened(self, welcome: Any) -> None:
        from jupyter_fx.protocol.messages import Held

        self.seen = 0
        self.opened += 1
        held = [Held(t.task_id, t.owner, t.attempt, t.fence, "started") for t in self.leased.values()]
        self.peer.send(Inventory("g", "b", True, held))
        self.peer.send(AgentStatus({"workers": 2}))
        self.peer.send(Credit(0, [("", 1000)]))

    def _told(self, message: Any, number: int) -> None:
        if isinstance(message, Dispatch):
            self.seen += len(message.tasks)
            for task in message.tasks:
                self.started[task.task_id] = self.started.get(task.task_id, 0) + 1
                self.leased[task.task_id] = task
            if not self.silent:
                self.finish([t.task_id for t in message.tasks])
            self.peer.send(Credit(self.seen, [("", 1000)]))
        elif isinstance(message, CancelTasks):
            self.cancels += message.tasks
            self.finish([t for t, _ in message.tasks if t in self.leased], 12)

    def output(self, task_id: str, k: int, text: bytes) -> None:
        task = self.leased[task_id]
        self.peer.send(Outputs([Output(task_id, task.attempt, k, 1, time.time(), text)]), keep=True)

    def finish(self, task_ids: list[str], state: int = 10) -> None:
        now = time.time()
        found = [self.leased.pop(t) for t in task_ids]
        results = [Result(t.task_id, t.attempt, t.fence, state, t.payload, times=[now, now, now]) for t in found]
        self.peer.send(Results(results), keep=True)


async def until(true: Any, timeout: float = 60.0) -> None:
    end = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.01)


async def another(hub: HubProcess, *those: FakeClient | FakeAgent) -> None:
    """Kill the hub, start one in its place, wait until they are linked to that."""
    # Until the loop has run, a link to the dead one still counts as open.
    before = {one: one.opened for one in those}
    hub.kill()
    hub.start()
    for one in those:
        one.peer.retry_now()
    await until(lambda: all(one.opened > before[one] for one in those))


async def enrol(hub: HubProcess, client: FakeClient, name: str = "local") -> str:
    code = (await client.peer.request("endpoints.code", {"name": name}))["code"]
    guest = Peer(hub.address, Hello(1, 1, "endpoint", new_id()), on_message=lambda *_: None).start()
    try:
        answer = await guest.request("endpoints.enrol", {"code": code, "name": name, "info": {}})
        with pytest.raises(AuthError):
            await guest.request("endpoints.enrol", {"code": code, "name": name, "info": {}})
    finally:
        guest.close()
    return str(answer["credential"])
