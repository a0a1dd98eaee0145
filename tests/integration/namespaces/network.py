"""Hosts as network namespaces, a firewall between them (tests/testbed/netns-up), and what runs on them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TESTBED = Path(__file__).parents[2] / "testbed"
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def why_no_namespaces() -> str:
    """Why there can be none here; empty when there can."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "network namespaces with a firewall between them are made by root on Linux"
    missing = [one for one in ("ip", "nft", "sysctl") if not shutil.which(one, path=PATH)]
    if missing:
        return f"there is no {', '.join(missing)}: tests/testbed/system-packages installs them on Debian"
    name = f"fxp{uuid.uuid4().hex[:6]}"
    try:
        made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
        rule = ["ip", "netns", "exec", name, "nft", "add", "table", "inet", "fx"]
        made = made if made.returncode else subprocess.run(rule, capture_output=True, text=True, check=False)
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    if made.returncode:
        return f"network namespaces cannot be made here: {(made.stderr.strip() or 'ip failed').splitlines()[-1]}"
    return ""


def wait(true: Callable[[], Any], seconds: float, what: str = "") -> Any:
    """What `true` says as soon as it is true."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, what or true
        time.sleep(0.05)
    return found


class Network:
    """See tests/testbed/netns-up."""

    def __init__(self) -> None:
        self.name = f"fx{uuid.uuid4().hex[:6]}"
        self._started: list[subprocess.Popen[Any]] = []

    def firewall(self, *words: str) -> str:
        """`cut laptop`, `heal laptop`, `direct no`, `port 7000 no`, `out`."""
        done = subprocess.run([TESTBED / "netns-up", self.name, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def on(self, host: str) -> list[str]:
        """What a command line begins with that is to run on this host."""
        return ["ip", "netns", "exec", f"{self.name}-{host}"]

    def run(self, host: str, *line: Any, within: float = 60.0, **how: Any) -> subprocess.CompletedProcess[str]:
        """Run a command there to its end."""
        command = [*self.on(host), *map(str, line)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=within, **how)

    def start(self, host: str, *line: Any, **how: Any) -> subprocess.Popen[Any]:
        """Start a program there; it ends with the network."""
        process = subprocess.Popen([*self.on(host), *map(str, line)], start_new_session=True, **how)
        self._started.append(process)
        return process

    def is_on(self, pid: int) -> str:
        """The host on which a process is."""
        there = Path(f"/proc/{pid}/ns/net").stat().st_ino
        for host in ("laptop", "proxy", "hub", "login", "node1", "node2"):
            if Path(f"/run/netns/{self.name}-{host}").stat().st_ino == there:
                return host
        return ""

    def close(self) -> None:
        """End what was started and remove all."""
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for process in self._started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
            if process.poll() is None:
                process.kill()
                process.wait()
        subprocess.run([TESTBED / "netns-down", self.name], check=False)


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """One that is up, for a while."""
    found = Network()
    try:
        found.firewall()
        yield found
    finally:
        found.close()
