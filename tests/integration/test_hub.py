"""A real hub process on a runtime directory of its own: links, REST, kill -9, clear refusals."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_fx.errors import AuthError, FxError, UsageError
from jupyter_fx.ids import new_id
from jupyter_fx.protocol.messages import (
    AgentStatus,
    Attach,
    Cancel,
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

pytestmark = pytest.mark.timeout(240)
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


@pytest.fixture
def hub() -> Iterator[HubProcess]:
    folder = Path(tempfile.mkdtemp(prefix="fxh", dir="/tmp"))
    process = HubProcess(folder)
    try:
        yield process.start()
    finally:
        if process.process is not None and process.process.poll() is None:
            process.process.kill()
            process.process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


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


def test_a_call_goes_there_and_its_result_comes_back(hub: HubProcess) -> None:
    async def story() -> None:
        client = FakeClient(hub.address)
        agent = FakeAgent(hub.address, await enrol(hub, client))
        client.functions()
        ids = client.submit(300)
        await client.wait(ids)
        assert [client.outcomes[t].payload for t in ids] == [b"%d" % n for n in range(300)]
        assert set(agent.started.values()) == {1}
        await until(lambda: client.peer.link.unacked_count == 0 and agent.peer.link.unacked_count == 0)
        info = await client.peer.request("tasks.get", {"task_id": ids[0][-12:]})
        assert (info["state"], info["endpoint"], info["why"]) == ("SUCCEEDED", "local", "")
        floating = client.submit(3, endpoint="")
        lost = client.submit(1, endpoint="polari")
        await client.wait(floating + lost)
        assert "nearest: local" in client.rejected[lost[0]].message
        client.peer.close()
        agent.peer.close()

    asyncio.run(story())
    assert hub.stop() == 0
    assert not (hub.folder / "r" / "hub.json").exists()
    assert not (hub.folder / "r" / "hub.sock").exists()


def test_kill_9_in_the_middle_loses_nothing_and_starts_nothing_twice(hub: HubProcess) -> None:
    async def story() -> None:
        client = FakeClient(hub.address)
        agent = FakeAgent(hub.address, await enrol(hub, client))
        client.functions()
        ids: list[str] = []
        for _ in range(3):
            for _ in range(10):
                ids += client.submit(50)
                await asyncio.sleep(0.002)
            await another(hub, client, agent)
            client.peer.send(Attach([(t, 0, 0) for t in ids if t not in client.outcomes]))
        await until(lambda: client.peer.link.unacked_count == 0)
        client.peer.send(Attach([(t, 0, 0) for t in ids if t not in client.outcomes]))
        await client.wait(ids, 30)
        assert not client.twice
        assert not client.rejected
        assert len(agent.started) == len(ids)
        client.peer.close()
        agent.peer.close()

    asyncio.run(story())


def test_a_story_is_replayed_from_any_number_and_goes_on_live(hub: HubProcess) -> None:
    async def story() -> None:
        first = FakeClient(hub.address)
        agent = FakeAgent(hub.address, await enrol(hub, first))
        agent.silent = True
        first.functions()
        (task_id,) = first.submit(watch=2)
        await until(lambda: task_id in agent.leased)
        agent.output(task_id, 0, b"one\n")
        agent.output(task_id, 1, b"two\n")
        await until(lambda: sum(e.kind == 1 for e in first.events) == 2)
        first.peer.close()
        await another(hub, agent)
        second = FakeClient(hub.address)
        await until(lambda: second.peer.is_open)
        second.peer.send(Attach([(task_id, 0, 2)]))
        await until(lambda: sum(e.kind == 1 for e in second.events) == 2)
        agent.output(task_id, 1, b"two\n")
        agent.output(task_id, 2, b"three\n")
        agent.finish([task_id])
        await second.wait([task_id])
        numbers = [e.n for e in second.events]
        assert numbers == sorted(set(numbers))
        assert b"".join(e.data for e in second.events if e.kind == 1) == b"one\ntwo\nthree\n"
        log = await second.peer.request("tasks.log", {"task_id": task_id})
        assert log["text"] == "one\ntwo\nthree\n"
        second.peer.close()
        agent.peer.close()

    asyncio.run(story())


def test_cancel_waits_for_the_endpoint_or_happens_at_once(hub: HubProcess) -> None:
    async def story() -> None:
        client = FakeClient(hub.address)
        credential = await enrol(hub, client)
        client.functions()
        (queued,) = client.submit()
        await until(lambda: client.peer.link.unacked_count == 0)
        info = await client.peer.request("tasks.get", {"task_id": queued})
        assert "has just enrolled" in info["why"]
        client.peer.send(Cancel([queued], 0, "not needed"), keep=True)
        await client.wait([queued])
        assert client.outcomes[queued].state == 12
        agent = FakeAgent(hub.address, credential)
        agent.silent = True
        (held,) = client.submit()
        await until(lambda: held in agent.leased)
        assert (await client.peer.request("tasks.cancel", {"task_ids": [held]})) == {"cancelled": 1}
        await client.wait([held])
        assert client.outcomes[held].state == 12
        assert [t for t, _ in agent.cancels] == [held]
        client.peer.close()
        agent.peer.close()

    asyncio.run(story())


def test_a_second_agent_for_one_endpoint_is_refused_by_name(hub: HubProcess) -> None:
    async def story() -> None:
        client = FakeClient(hub.address)
        credential = await enrol(hub, client)
        first = FakeAgent(hub.address, credential)
        await first.peer.opened(5)
        second = FakeAgent(hub.address, credential)
        with pytest.raises(UsageError, match="endpoint local is already served by pid 4711 on here"):
            await second.peer.opened(5)
        await client.peer.request("endpoints.delete", {"name": "local"})
        with pytest.raises(UsageError, match="no endpoint 'local'"):
            await client.peer.request("endpoints.get", {"name": "local"})
        await until(lambda: not first.peer.is_open)
        client.peer.close()

    asyncio.run(story())


def test_rest_needs_the_token_and_answers_in_json(hub: HubProcess) -> None:
    assert hub.rest("GET", "/health", token=None) == (200, {"ready": True, "why": ""})
    status, answer = hub.rest("GET", "/api/v1/whoami")
    assert (status, answer["hub_boot"]) == (200, 1)
    for token in (None, "jfx_wrong", "x" * 5000):
        status, answer = hub.rest("GET", "/api/v1/tasks", token=token)
        assert (status, answer["error"]["etype"]) == (401, "AuthError")
    assert hub.rest("GET", "/api/v1/tasks") == (200, {"tasks": [], "next": None})
    status, answer = hub.rest("GET", "/api/v1/tasks?state=SLEEPING")
    assert (status, answer["error"]["etype"]) == (400, "UsageError")
    missing = hub.rest("GET", f"/api/v1/tasks/{new_id()}")
    assert missing[0] == 404
    assert "no task" in missing[1]["error"]["message"]
    status, answer = hub.rest("POST", "/api/v1/endpoints", {"name": "polaris"})
    assert status == 200
    assert answer["code"].startswith("jfxc-")
    assert hub.rest("POST", "/api/v1/endpoints", {"name": "../x"})[0] == 400
    assert hub.rest("POST", "/api/v1/endpoints", {})[0] == 400
    assert hub.rest("POST", "/api/v1/endpoints", {"name": "x"}, token=None, Cookie="token=1")[0] == 401
    assert hub.rest("PUT", "/api/v1/tasks")[0] == 405
    assert hub.rest("GET", "/nothing")[0] == 404
    status, document = hub.rest("GET", "/api/v1/openapi.json", token=None)
    assert document["openapi"] == "3.1.0"
    for path, methods in document["paths"].items():
        for method in methods:
            if path not in {"/health", "/api/v1/openapi.json", "/api/v1/link"}:
                assert hub.rest(method.upper(), path.replace("{", "").replace("}", ""), token=None)[0] == 401, path
    status, text = hub.rest("GET", "/metrics")
    assert "jupyter_fx_submitted_total 0" in text
    status, _ = hub.rest("POST", "/api/v1/stop")
    assert status == 200
    assert hub.process is not None
    assert hub.process.wait(10) == 0


def test_a_websocket_client_with_the_token_is_served_and_one_without_is_not(hub: HubProcess) -> None:
    async def story() -> None:
        client = FakeClient(hub.told["url"], token=hub.told["token"])
        await client.peer.opened(5)
        assert (await client.peer.request("whoami"))["hub_boot"] == 1
        credential = await enrol(hub, FakeClient(hub.address))
        agent = FakeAgent(hub.told["url"], credential)
        await agent.peer.opened(5)
        client.functions()
        ids = client.submit(20)
        await client.wait(ids)
        for token in ("jfx_wrong", ""):
            stranger = FakeClient(hub.told["url"], token=token)
            with pytest.raises(FxError):
                await stranger.peer.opened(5)
            stranger.peer.close()
        client.peer.close()
        agent.peer.close()

    asyncio.run(story())


def test_a_token_allows_what_it_says_until_it_is_revoked_or_over(hub: HubProcess) -> None:
    status, made = hub.rest("POST", "/api/v1/tokens", {"scopes": ["read"], "note": "a look"})
    assert status == 200
    assert hub.rest("GET", "/api/v1/tasks", token=made["token"])[0] == 200
    status, refused = hub.rest("POST", "/api/v1/endpoints", {"name": "x"}, token=made["token"])
    assert status == 403
    assert "does not allow 'endpoints'" in refused["error"]["message"]
    assert hub.rest("POST", "/api/v1/tokens", {"scopes": ["root"]})[0] == 400
    assert hub.rest("POST", "/api/v1/tokens", {"lifetime": -1})[0] == 400
    status, listed = hub.rest("GET", "/api/v1/tokens")
    assert made["token"] not in json.dumps(listed)
    assert "a look" in [one["note"] for one in listed]
    status, wide = hub.rest("POST", "/api/v1/tokens", {"scopes": ["read", "run"]})
    assert hub.rest("POST", "/api/v1/tokens", {"scopes": ["admin"]}, token=wide["token"])[0] == 403

    async def story() -> None:
        client = FakeClient(hub.told["url"], token=wide["token"])
        await client.peer.opened(5)
        assert hub.rest("DELETE", f"/api/v1/tokens/{wide['token_id']}")[0] == 200
        with pytest.raises(FxError):
            await client.peer.request("whoami", {}, 5)
        client.peer.close()

    asyncio.run(story())
    assert hub.rest("GET", "/api/v1/tasks", token=wide["token"])[0] == 401
    status, brief = hub.rest("POST", "/api/v1/tokens", {"lifetime": 1})
    end = time.monotonic() + 60
    while hub.rest("GET", "/api/v1/tasks", token=brief["token"])[0] != 401 and time.monotonic() < end:
        time.sleep(0.1)
    assert "expired" in hub.rest("GET", "/api/v1/tasks", token=brief["token"])[1]["error"]["message"]


def test_a_second_hub_is_refused_with_cause_and_cure(hub: HubProcess) -> None:
    again = subprocess.run(
        [sys.executable, "-m", "jupyter_fx_hub"], env=hub.env, capture_output=True, text=True, timeout=30, check=False
    )
    assert again.returncode == 2
    assert f"pid {hub.told['pid']}" in again.stderr
    other = {
        **hub.env,
        "JUPYTER_FX_RUNTIME_DIR": str(hub.folder / "r2"),
        "JUPYTER_FX_STATE_DIR": str(hub.folder / "s2"),
    }
    port = hub.told["url"].rsplit(":", 1)[1]
    taken = subprocess.run(
        [sys.executable, "-m", "jupyter_fx_hub", f"--port={port}"],
        env=other,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert taken.returncode == 2
    assert f"port {port} on 127.0.0.1 cannot be listened on" in taken.stderr
    secret = hub.told["token"]
    assert secret not in hub.log.read_text()
    assert (hub.folder / "r" / "hub.json").stat().st_mode & 0o777 == 0o600


def test_an_idle_embedded_hub_stops_its_agent_and_ends(hub: HubProcess) -> None:
    hub.stop()
    hub.start("--embedded", "--HubApp.idle_shutdown=1.0")

    async def story() -> None:
        client = FakeClient(hub.address)
        asked: list[str] = []
        credential = await enrol(hub, client)
        agent = FakeAgent(hub.address, credential)
        agent.peer._on_request = lambda request: asked.append(request.op)
        await agent.peer.opened(5)
        client.peer.close()
        await until(lambda: asked == ["agent.stop"])
        agent.peer.close()

    asyncio.run(story())
    assert hub.process is not None
    assert hub.process.wait(10) == 0


def test_an_embedded_hub_whose_runtime_directory_was_removed_ends(hub: HubProcess) -> None:
    hub.stop()
    hub.start("--embedded", "--HubApp.idle_shutdown=8.0")
    shutil.rmtree(hub.folder / "r")
    assert hub.process is not None
    assert hub.process.wait(20) == 0
    assert "its runtime directory was removed" in hub.log.read_text()


def signals() -> list[int]:
    return [signal.SIGTERM, signal.SIGINT]


@pytest.mark.parametrize("number", signals())
def test_signals_end_it_cleanly(hub: HubProcess, number: int) -> None:
    assert hub.process is not None
    hub.process.send_signal(number)
    assert hub.process.wait(10) == 0
    assert not (hub.folder / "r" / "hub.json").exists()
