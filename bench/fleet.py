"""One agent and thousands of managers: `make bench BENCH=fleet`, or `python -m bench.fleet --managers 2048`.

The hub, the agent and every connection are real; the managers are simulated (`simulated_managers`) and their 64 workers
each do nothing at all. What is measured is what the agent spends on a task, which must not depend on how many managers
there are, and that no task of a million is lost.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from bench import processes
from bench.run import alone

SLOTS = 64
PER_BLOCK = 512
WINDOW = 65_536
CONFIG = """
c.Blocks.provider = "local"
c.Blocks.walltime = ""
c.Blocks.init_blocks = c.Blocks.min_blocks = c.Blocks.max_blocks = {blocks}
c.Blocks.nodes = {per_block}
c.Blocks.addresses = ["127.0.0.1"]
c.Blocks.python = {python!r}
"""
NODE = """#!/bin/sh
# Stands for the Python that would run a node's keeper: -m MODULE BLOCK_DIR
exec {python} -m bench.simulated_managers "$3" {count} {slots}
"""


def nothing() -> None:
    """The task."""


def measure(managers: int, tasks: int, scratch: Path) -> dict[str, Any]:
    """Tasks through a fleet of so many managers."""
    from jupyter_fx import embedded, paths
    from jupyter_fx.client.hub import HubClient
    from jupyter_fx.endpoint.settings import config_path

    blocks = max(1, managers // PER_BLOCK)
    each = managers // blocks
    node = scratch / "python"
    node.write_text(NODE.format(python=sys.executable, count=each, slots=SLOTS))
    node.chmod(0o755)
    hub = embedded.ensure_hub()
    config_path("wide").write_text(CONFIG.format(blocks=blocks, per_block=each, python=str(node)))
    cli = [sys.executable, "-m", "jupyter_fx.cli.app", "endpoint"]
    subprocess.run([*cli, "configure", "wide"], check=True, capture_output=True)
    subprocess.run([*cli, "start", "wide"], check=True, capture_output=True)
    client = HubClient(hub.address, endpoint="wide")
    begun = time.monotonic()
    while (there := slots(client)) < managers * SLOTS:
        if time.monotonic() - begun > 240:
            log = (paths.endpoint_dir("wide") / "agent.log").read_text()[-2000:]
            raise AssertionError(f"{there} of {managers * SLOTS} workers came\n{log}")
        time.sleep(0.25)
    came = time.monotonic() - begun
    agent = psutil.Process(int((paths.endpoint_dir("wide") / "lock").read_text()))
    idle = processes.pss_mib(agent.pid)
    [future.result(60) for future in [client.submit(nothing) for _ in range(1000)]]
    spent, at, done = sum(agent.cpu_times()[:2]), time.monotonic(), 0
    while done < tasks:
        count = min(WINDOW, tasks - done)
        futures = [client.submit(nothing) for _ in range(count)]
        done += sum(future.result(300) is None for future in futures)
    seconds = time.monotonic() - at
    cpu = sum(agent.cpu_times()[:2]) - spent
    memory = processes.pss_mib(agent.pid)
    client.close()
    subprocess.run([*cli, "stop", "wide"], check=True, capture_output=True)
    return {
        "managers": managers,
        "came_s": came,
        "tasks": done,
        "per_s": done / seconds,
        "agent_us": cpu / done * 1e6,
        "agent_idle_mib": idle,
        "agent_mib": memory,
    }


def slots(client: Any) -> int:
    """Workers that the hub knows of."""
    for one in client.request("endpoints.list"):
        if one["name"] == "wide":
            return int((one.get("info") or {}).get("slots", 0))
    return 0


def one(managers: int, tasks: int) -> dict[str, Any]:
    """One fleet in a process and directories of its own."""
    found: dict[str, Any] = alone("bench.fleet", "--one", str(managers), "--tasks", str(tasks), within=900)
    return found


def main() -> int:
    """Run the fleets, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--managers", default="2,32,512,2048")
    parser.add_argument("--tasks", type=int, default=131_072)
    parser.add_argument("--most", type=int, default=1_310_720, help="tasks for the largest fleet")
    parser.add_argument("--one", type=int, default=0)
    parser.add_argument("--scratch", default="")
    options = parser.parse_args()
    if options.one:
        out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        out.write(json.dumps(measure(options.one, options.tasks, Path(options.scratch))) + "\n")
        out.flush()
        return 0
    print("| managers | workers | all there after | tasks | tasks/s | agent, CPU per task | agent: MiB before, after |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    sizes = [int(one) for one in options.managers.split(",")]
    for size in sizes:
        row = one(size, options.most if size == max(sizes) else options.tasks)
        print(
            f"| {size:,} | {size * SLOTS:,} | {row['came_s']:.1f} s | {row['tasks']:,} | {row['per_s']:,.0f} "
            f"| {row['agent_us']:.0f} µs | {row['agent_idle_mib']:.0f}, {row['agent_mib']:.0f} MiB |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
