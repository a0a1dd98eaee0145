"""A facility in a network of namespaces: an fx hub, a login node with an agent, compute nodes without a way out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from network import Network, wait

from jupyter_fx.client.hub import HubClient

HERE = Path(__file__).parent
PORT = 8765
PROXY_PORT = 3128
CONFIG = """
c.Blocks.provider = "local"
c.Blocks.walltime = ""
c.Blocks.max_blocks = 2
c.Blocks.idle_seconds = 300
c.Blocks.poll_seconds = 0.5
c.Blocks.python = {node!r}
c.Endpoint.workers = 1
"""


class Facility:
    """`hub` is asked over its Unix socket, which no firewall is in the way of; all else goes through the network."""

    def __init__(self, folder: Path, net: Network) -> None:
        self.folder, self.net = folder, net
        self.name = "hpc"
        self.home = folder / "login" / "s" / "endpoints" / self.name
        self.config = folder / "login" / "c" / "endpoints" / self.name / "config.py"
        self.proxy_log = folder / "proxy.log"
        self._client: HubClient | None = None

    def env(self, host: str, **more: str) -> dict[str, str]:
        """The environment of programs on this host: directories of its own."""
        place = self.folder / host
        place.mkdir(exist_ok=True)
        env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        env |= {f"JUPYTER_FX_{what}_DIR": str(place / what[0].lower()) for what in ("RUNTIME", "STATE", "CONFIG")}
        return {**env, **more}

    def fx(self, host: str, *words: str, says: str = "", within: float = 60.0, **more: str) -> tuple[int, str]:
        """`jupyter fx WORDS` on this host: its exit status and what it said."""
        line = [sys.executable, "-m", "jupyter_fx.cli.app", *words]
        done = self.net.run(host, *line, env=self.env(host, **more), input=says, within=within)
        return done.returncode, done.stdout + done.stderr

    @property
    def client(self) -> HubClient:
        """A client of the hub."""
        if self._client is None:
            self._client = HubClient(f"unix:{self.folder}/hub/r/hub.sock")
        return self._client

    def start_hub(self) -> None:
        """On its host, at a TCP port."""
        log = (self.folder / "hub.log").open("ab")
        line = [sys.executable, "-m", "jupyter_fx_hub", "--ip=10.77.3.2", f"--port={PORT}"]
        self.net.start("hub", *line, env=self.env("hub"), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        told = self.folder / "hub" / "r" / "hub.json"
        wait(told.exists, 30, (self.folder / "hub.log").read_text())

    def start_proxy(self) -> None:
        """On its host."""
        self.net.start("proxy", sys.executable, HERE / "connect_proxy.py", PROXY_PORT, self.proxy_log)
        line = [sys.executable, "-c", f"import socket; socket.create_connection(('proxy', {PROXY_PORT}), 1)"]
        wait(lambda: self.net.run("login", *line).returncode == 0, 20, "the proxy does not listen")

    def enrol(self, **more: str) -> str:
        """Configure the endpoint on the login node; what was said."""
        code = self.client.request("endpoints.code", {"name": self.name})["code"]
        status, said = self.fx(
            "login", "endpoint", "configure", self.name, "--hub", f"http://hub:{PORT}", says=code + "\n", **more
        )
        assert status == 0, said
        # The "batch system" starts each block on the next node in turn.
        node = self.folder / "node-python"
        node.write_text(
            f"#!/bin/sh\nn=0\nwhile ! mkdir {self.folder}/turn$n 2>/dev/null; do n=$((n + 1)); done\n"
            f"h=node$((n % 2 + 1))\nexec ip netns exec {self.net.name}-$h "
            f'env SLURMD_NODENAME=$h {sys.executable} "$@"\n'
        )
        node.chmod(0o755)
        self.configure()
        return said

    def configure(self, more: str = "") -> None:
        """Write the endpoint's settings."""
        self.config.write_text("c = get_config()\n" + CONFIG.format(node=str(self.folder / "node-python")) + more)

    def start_agent(self, **more: str) -> int:
        """Its pid."""
        status, said = self.fx("login", "endpoint", "start", self.name, **more)
        assert status == 0, said + self.log
        return int(said.rpartition("pid ")[2].strip().rstrip(")"))

    def stop_agent(self) -> None:
        """With its blocks."""
        status, said = self.fx("login", "endpoint", "stop", self.name)
        assert status == 0, said

    @property
    def log(self) -> str:
        """The agent's."""
        path = self.home / "agent.log"
        return path.read_text() if path.exists() else ""

    def logs(self) -> str:
        """Everything that could explain a failure."""
        found = [self.folder / "hub.log", self.home / "agent.log", *self.home.glob("block*/*/job.log")]
        return "\n".join(f"--- {path}\n{path.read_text()[-3000:]}" for path in found if path.exists())

    def state(self) -> dict[str, Any]:
        """The endpoint, as the hub sees it."""
        (found,) = [one for one in self.client.request("endpoints.list") if one["name"] == self.name]
        return dict(found)

    def online(self, seconds: float = 30.0) -> None:
        """The hub sees it."""
        wait(lambda: str(self.state()["state"]).upper() == "ONLINE", seconds, self.logs())

    def blocks(self) -> list[Path]:
        """The directories of those that live."""
        return [path for path in (self.home / "blocks").iterdir() if (path / "secret").exists()]

    def jobs_at(self, node: str) -> set[str]:
        """The jobs of blocks whose managers are on this node."""
        found = set()
        for block in self.blocks():
            if f" {node} " in (block / "placed.log").read_text():
                found.add(str(json.loads((block / "block.json").read_bytes())["job"]))
        return found

    def agent_addresses(self) -> list[str]:
        """Where managers are told that the agent is."""
        told = json.loads((self.blocks()[0] / "agent.json").read_bytes())
        return [told["address"], *told["others"]]

    def close(self) -> None:
        """End the endpoint; the network ends the rest."""
        if (self.home / "identity.json").exists():
            self.fx("login", "endpoint", "stop", self.name)
        if self._client is not None:
            self._client.close(timeout=0.0)
        shutil.rmtree(self.folder, ignore_errors=True)
