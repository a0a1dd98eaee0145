"""A hub, an agent and clients that are real processes, faults that befall them, and one checker of what came of it.

Faults are objects: `KillHub`, `KillAgent`, `KillWorkers`, `CutLinks`, and those of a `Proxy`. `Repeatedly(fault,
pause)` lets one happen again and again while its block runs.

`History` is the checker. Tasks append their key to a file when they start, so that starts are counted by whoever
starts and not by who is examined; outcomes are read from the database itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import psutil
from proxy import Proxy

from jupyter_fx.client import HubClient, TaskFuture
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import TaskOptions

__all__ = ["CutLinks", "History", "KillAgent", "KillHub", "KillWorkers", "Proxy", "Repeatedly", "Site", "until"]

ENDPOINT = "box"
PATIENCE = 60.0
"""Seconds after which something that is waited for is taken for never coming."""


def until(true: Callable[[], Any], what: str, seconds: float = PATIENCE, pause: float = 0.01) -> Any:
    """What `true()` returns once that is true; AssertionError after `seconds`."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, f"waited {seconds:g} s in vain for {what}"
        time.sleep(pause)
    return found


class Program:
    """A process that can be started again and killed; what it says goes to a file."""

    def __init__(self, command: list[str], log: Path, env: dict[str, str]) -> None:
        self.command, self.log, self.env = command, log, env
        self.child: subprocess.Popen[bytes] | None = None
        self.kills = 0

    @property
    def pid(self) -> int:
        assert self.child is not None
        return self.child.pid

    def start(self, **env: str) -> None:
        assert self.child is None
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**self.env, **env}
            )

    def kill(self) -> None:
        """kill -9."""
        assert self.child is not None
        assert self.child.poll() is None, f"{self.command} ended by itself:\n{self.said()}"
        self.child.kill()
        self.child.wait()
        self.child = None
        self.kills += 1

    def stop(self) -> None:
        """SIGTERM, and -9 if that does not help."""
        if self.child is None:
            return
        self.child.terminate()
        try:
            self.child.wait(15)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.child = None

    def said(self, size: int = 6000) -> str:
        """The end of what it said."""
        return self.log.read_text(errors="replace")[-size:] if self.log.exists() else ""


class Site:
    """One hub and one agent in directories of their own, whose names are short (Unix sockets)."""

    def __init__(self, workers: int = 2, *, manager: str = "inline") -> None:
        self.top = Path(tempfile.mkdtemp(prefix="fxc"))
        self.env = dict(os.environ)
        for number, name in enumerate(("RUNTIME", "STATE", "CONFIG")):
            place = self.top / str(number)
            place.mkdir(mode=0o700)
            self.env[f"JUPYTER_FX_{name}_DIR"] = str(place)
        self.runtime, self.state = self.top / "0", self.top / "1"
        config = self.top / "2" / "endpoints" / ENDPOINT
        config.mkdir(mode=0o700, parents=True)
        (config / "config.py").write_text(f"c.Endpoint.manager = {manager!r}\n")
        self.socket = self.runtime / "hub.sock"
        self.database = self.state / "hub" / "hub.db"
        small = ["--HubApp.min_free=1", "--HubApp.min_free_fraction=0", "--HubApp.ballast=65536"]
        self.hub = Program([sys.executable, "-m", "jupyter_fx_hub", *small], self.top / "hub.log", self.env)
        agent = [sys.executable, "-m", "jupyter_fx.endpoint.main", ENDPOINT, "--workers", str(workers)]
        self.agent = Program(agent, self.top / "agent.log", self.env)
        self.clients: list[HubClient] = []
        self.proxies: list[Proxy] = []

    @property
    def address(self) -> str:
        return f"unix:{self.socket}"

    def __enter__(self) -> Site:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for client in self.clients:
            client.close(timeout=0.0)
        for proxy in self.proxies:
            proxy.close()
        self.agent.stop()
        self.hub.stop()
        for process in self.processes():
            # A manager outlives an agent that was killed.
            with contextlib.suppress(psutil.Error):
                process.kill()
        if kind is not None:
            sys.stderr.write(f"--- hub\n{self.hub.said()}\n--- agent\n{self.agent.said()}\n")
        shutil.rmtree(self.top, ignore_errors=True)

    def start_hub(self) -> None:
        """Start the hub and return when it listens."""
        self.hub.start()
        until(self._listening, "the hub to listen")

    def _listening(self) -> bool:
        child = self.hub.child
        assert child is not None
        assert child.poll() is None, f"the hub did not start:\n{self.hub.said()}"
        with contextlib.suppress(OSError, ValueError):
            return bool(self.hub_file()["pid"] == child.pid)
        return False

    def hub_file(self) -> dict[str, Any]:
        return dict(json.loads((self.runtime / "hub.json").read_text()))

    def start_agent(self, client: HubClient, address: str = "") -> None:
        """Enrol the endpoint, start its agent, and return when the hub has it online."""
        code = client.request("endpoints.code", {"name": ENDPOINT})["code"]
        self.agent.command += ["--hub", address or self.address]
        self.agent.start(JUPYTER_FX_CODE=str(code))
        self.online(client)

    def online(self, client: HubClient) -> None:
        until(lambda: self._is_online(client), "the endpoint to be online")

    def _is_online(self, client: HubClient) -> bool:
        assert self.agent.child is not None
        assert self.agent.child.poll() is None, f"the agent ended:\n{self.agent.said()}"
        found = client.request("endpoints.list")
        return any(one["name"] == ENDPOINT and one["state"] == "ONLINE" for one in found)

    def client(self, address: str = "", token: str = "") -> HubClient:
        client = HubClient(address or self.address, token=token, endpoint=ENDPOINT)
        self.clients.append(client)
        return client

    def up(self) -> HubClient:
        """Everything runs; a client of it."""
        self.start_hub()
        client = self.client()
        self.start_agent(client)
        return client

    def proxy(self, target: Path | int | None = None) -> Proxy:
        """A proxy in front of the hub's Unix socket, or of a port."""
        folder = self.top / f"p{len(self.proxies)}"
        folder.mkdir(mode=0o700)
        made = Proxy(target, None) if isinstance(target, int) else Proxy(target or self.socket, folder / "s")
        self.proxies.append(made)
        return made

    def processes(self) -> list[psutil.Process]:
        """Everything that lives in this site's directories."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get("JUPYTER_FX_STATE_DIR") == str(self.state):
                    found.append(process)
        return found

    def workers(self) -> list[psutil.Process]:
        """The worker processes: forks of a zygote, with its command line."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                parent = process.parent()
                if parent is not None and process.cmdline() == parent.cmdline() and "python" in process.name():
                    found.append(process)
        return found


# Faults.


class KillHub:
    """kill -9 of the hub, which is started again on the same database and socket."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def __call__(self) -> None:
        self.site.hub.kill()
        self.site.start_hub()


class KillAgent:
    """kill -9 of the agent, which is started again on its journal."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def __call__(self) -> None:
        self.site.agent.kill()
        self.site.agent.start()


class KillWorkers:
    """SIGKILL of one worker, whichever."""

    def __init__(self, site: Site, seed: int = 1) -> None:
        self.site, self.random = site, random.Random(seed)

    def __call__(self) -> None:
        workers = self.site.workers()
        if workers:
            with contextlib.suppress(psutil.Error):
                self.random.choice(workers).send_signal(signal.SIGKILL)


class CutLinks:
    """One of the things that networks do to a link, each in its turn, to each proxy in its turn."""

    def __init__(self, proxies: list[Proxy], seed: int = 1) -> None:
        self.proxies, self.random = proxies, random.Random(seed)
        self.done: Counter[str] = Counter()

    def __call__(self) -> None:
        proxy = self.random.choice(self.proxies)
        kind = self.random.choice(["cut", "stalled", "blackholed"])
        self.done[kind] += 1
        if kind == "cut":
            proxy.cut()
            return
        with proxy.stalled() if kind == "stalled" else proxy.blackholed():
            time.sleep(self.random.uniform(0.1, 0.8))


class Repeatedly:
    """A fault, each `pause` seconds, as long as the block runs. What the fault raises is raised at the block's end."""

    def __init__(self, fault: Callable[[], None], pause: float) -> None:
        self.fault, self.pause, self.times = fault, pause, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._error: BaseException | None = None

    def _run(self) -> None:
        try:
            while not self._stop.wait(self.pause):
                self.fault()
                self.times += 1
        except BaseException as error:
            self._error = error

    def __enter__(self) -> Repeatedly:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)
        if self._error is not None:
            raise self._error


# The checker.


@dataclass
class Deed:
    """A task that was submitted, and what may become of it."""

    key: str
    future: TaskFuture
    retries: int = 0
    value: Any = None


def _make_work(path: str) -> Callable[..., Any]:
    """The function of most tasks. A closure, so that it travels by value."""

    def work(key: str, seconds: float = 0.0, lines: int = 0, kill: str = "") -> str:
        import os
        import signal
        import time

        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, f"{key} {os.getpid()}\n".encode())
        os.close(descriptor)
        for number in range(lines):
            print(number, flush=True)
            time.sleep(seconds / lines)
        if not lines and seconds:
            time.sleep(seconds)
        if kill == "segfault":
            import ctypes

            ctypes.string_at(0)
        elif kill == "exit":
            os._exit(7)
        elif kill:
            os.kill(os.getpid(), signal.SIGKILL)
        return key

    return work


@dataclass
class History:
    """What was submitted and acknowledged, and what is known of it in the end: `check` compares."""

    site: Site
    deeds: dict[str, Deed] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    """Task ids."""

    def __post_init__(self) -> None:
        self.path = self.site.top / "starts"
        self.work = _make_work(str(self.path))

    def submit(self, client: HubClient, key: str, *args: Any, retries: int = 0, **named: Any) -> TaskFuture:
        options = TaskOptions(retries=retries) if retries else None
        future = client.submit_call(self.work, (key, *args), named, options=options)
        self.deeds[key] = Deed(key, future, retries, key)
        return future

    def drain(self, client: HubClient, seconds: float = PATIENCE) -> None:
        """Wait until everything that was submitted is acknowledged, and note that."""
        told = {deed.future.task_id for deed in self.deeds.values()}
        assert client.drain(seconds), "submissions were not acknowledged in time"
        self.acknowledged |= told

    def starts(self) -> Counter[str]:
        """How often each key was started, by the word of those who started."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return Counter(line.rpartition(" ")[0] for line in lines)

    def rows(self) -> dict[str, tuple[int, list[Any]]]:
        """State and steps of every task in the database. The hub, which has it to itself, is stopped."""
        self.site.hub.stop()
        with contextlib.closing(sqlite3.connect(f"file:{self.site.database}?mode=ro", uri=True)) as database:
            found = database.execute("SELECT task_id, state, history FROM tasks").fetchall()
        return {bytes(one).hex(): (state, msgspec.msgpack.decode(history)) for one, state, history in found}

    def check(self, seconds: float = PATIENCE) -> Counter[str]:
        """Wait for every outcome, then hold all that is known against the promises; how many ended how."""
        end = time.monotonic() + seconds
        for deed in self.deeds.values():
            deed.future._client.flush()
            left = max(0.0, end - time.monotonic())
            with contextlib.suppress(Exception):
                deed.future.exception(left)
            assert deed.future.done(), f"{deed.key} has no outcome after {seconds:g} s: {self._why(deed)}"
        rows, starts = self.rows(), self.starts()
        lost = self.acknowledged - rows.keys()
        assert not lost, f"{len(lost)} acknowledged tasks are not in the database: {sorted(lost)[:3]}"
        for task_id, (state, history) in rows.items():
            ends = [step for step in history if step[1] >= 10]
            assert len(ends) == 1, (task_id, history)
            assert ends[0][1] == state, (task_id, history)
            numbers = [step[0] for step in history]
            assert numbers == sorted(set(numbers)), (task_id, history)
        unknown = starts.keys() - self.deeds.keys()
        assert not unknown, f"started, and never submitted: {sorted(unknown)[:3]}"
        ended: Counter[str] = Counter()
        for deed in self.deeds.values():
            ended[self._one(deed, starts[deed.key], rows)] += 1
        return ended

    @staticmethod
    def _one(deed: Deed, starts: int, rows: dict[str, tuple[int, list[Any]]]) -> str:
        outcome = deed.future.outcome
        assert outcome is not None, (deed.key, deed.future)
        state, history = rows[deed.future.task_id]
        assert outcome.state == state, (deed.key, TaskState(outcome.state), TaskState(state), history)
        assert starts <= 1 + deed.retries, (
            f"{deed.key} was started {starts} times, allowed {1 + deed.retries}: {history}"
        )
        if state == TaskState.SUCCEEDED:
            assert starts >= 1, f"{deed.key} succeeded and never started: {history}"
            assert deed.future.result() == deed.value, deed.key
        else:
            assert state == TaskState.CANCELLED or outcome.error is not None, (deed.key, history)
        return TaskState(state).name

    @staticmethod
    def _why(deed: Deed) -> str:
        try:
            return str(deed.future._client.request("tasks.get", {"task_id": deed.future.task_id}, timeout=5.0))
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    @staticmethod
    def log_is_a_prefix(text: str) -> int:
        """How many lines 0, 1, 2 … there are; AssertionError when one is missing, or told twice, or out of order."""
        lines = text.splitlines()
        assert lines == [str(number) for number in range(len(lines))], lines
        return len(lines)
