"""What a trivial warm cell costs: local, `%%remote`, and ipyparallel's `%%px`, in one kernel, turn by turn.

`make bench BENCH=cells`, or `python -m bench.cells --cells 200`. A cell is timed as a front end sees it: from the
request until the kernel says that it is idle again. Who comes first changes from turn to turn. `%%px` has one engine.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from bench import processes
from bench.run import RESULTS, environment

DEADLINE = 120.0
SETUP = {
    "remote": ["%load_ext jupyter_fx", "%%remote\nwarm = 1"],
    "px": [
        "import ipyparallel",
        "cluster = ipyparallel.Cluster(n=1, log_level=40)",
        "engines = cluster.start_and_connect_sync(activate=True)",
        "%%px\nwarm = 1",
    ],
}
BODIES = {"a statement": "x = 1", "an expression": "1 + 1"}
KINDS = {"local": "", "remote": "%%remote\n", "px": "%%px\n"}


class Kernel:
    """An ipykernel and the front end that talks to it."""

    def __init__(self, scratch: Path, mark: str) -> None:
        from jupyter_client.manager import KernelManager

        self.manager: Any = KernelManager(kernel_name="python3", transport="ipc", ip=str(scratch / "k"))
        self.manager.start_kernel(cwd=str(scratch), env=environment(scratch, mark))
        self.client: Any = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=DEADLINE)

    def run(self, code: str) -> float:
        """Run a cell; seconds until the kernel is idle again. Raises RuntimeError with the cell's error."""
        begun = time.perf_counter()
        asked = self.client.execute(code)
        error = ""
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=DEADLINE)
            except queue.Empty:
                raise RuntimeError(f"{code!r} did not end in {DEADLINE:.0f} s") from None
            if message["parent_header"].get("msg_id") != asked:
                continue
            content = message["content"]
            if message["msg_type"] == "error":
                error = f"{content['ename']}: {content['evalue']}"
            elif message["msg_type"] == "status" and content["execution_state"] == "idle":
                if error:
                    raise RuntimeError(f"{code!r}: {error}")
                return time.perf_counter() - begun

    def close(self) -> None:
        """End it."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()


def measure(kinds: list[str], cells: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of each cell by body and kind, in the order in which they ran."""
    scratch, mark = Path(tempfile.mkdtemp(prefix="fxb")), uuid.uuid4().hex
    seen: set[processes.Identity] = set()
    took: dict[str, dict[str, list[float]]] = {body: {kind: [] for kind in kinds} for body in BODIES}
    kernel = Kernel(scratch, mark)
    try:
        for kind in kinds:
            for code in SETUP.get(kind, []):
                kernel.run(code)
        seen |= processes.family(mark).keys()
        for number in range(-5, cells):  # five turns to warm up
            turn = number % len(kinds)
            for body, code in BODIES.items():
                for kind in kinds[turn:] + kinds[:turn]:
                    seconds = kernel.run(KINDS[kind] + code)
                    if number >= 0:
                        took[body][kind].append(seconds)
    finally:
        seen |= processes.family(mark).keys()
        kernel.close()
        processes.end(seen)
        shutil.rmtree(scratch, ignore_errors=True)
    return took


def table(took: dict[str, dict[str, list[float]]]) -> str:
    """Medians and tails in milliseconds, and what is added to a local cell."""
    rows = ["| a cell of | p50 ms | p95 ms | p99 ms | added at p50 ms |", "|---|---:|---:|---:|---:|"]
    for body, kinds in took.items():
        local = statistics.median(kinds["local"])
        for kind, seconds in kinds.items():
            cuts = statistics.quantiles(seconds, n=100, method="inclusive")
            name = {"local": "local", "remote": "`%%remote`", "px": "`%%px`"}[kind]
            added = "–" if kind == "local" else f"{1000 * (statistics.median(seconds) - local):.2f}"
            p50, p95, p99 = (f"{1000 * value:.2f}" for value in (statistics.median(seconds), cuts[94], cuts[98]))
            rows.append(f"| {body}, {name} | {p50} | {p95} | {p99} | {added} |")
    return "\n".join(rows)


def main() -> int:
    """Measure, print the table, keep every figure in bench/results/."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=200, help="of each sort")
    parser.add_argument("--without-px", action="store_true", help="ipyparallel is not installed")
    options = parser.parse_args()
    kinds = [kind for kind in KINDS if not (kind == "px" and options.without_px)]
    before = os.getloadavg()[0]
    took = measure(kinds, options.cells)
    RESULTS.mkdir(parents=True, exist_ok=True)
    when = time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime())
    about = {"cores": os.cpu_count(), "load_before": before, "load_after": os.getloadavg()[0]}
    (RESULTS / f"cells-{when}.json").write_text(json.dumps({"about": about, "seconds": took}) + "\n")
    print(table(took))
    print(f"\n{options.cells} cells of each sort; load average {before:.1f} before, {os.getloadavg()[0]:.1f} after")
    return 0


if __name__ == "__main__":
    sys.exit(main())
