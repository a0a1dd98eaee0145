"""One peer, one round, in a process of its own: `python -m bench.measure KEY STARTED SCRATCH` prints one JSON object.

STARTED is the parent's CLOCK_MONOTONIC just before it started us, so that the time to the first result counts the
interpreter, the imports and the peer's own start.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench import processes
from bench.peers import WORKERS, Peer, load
from bench.work import inc, whoami

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Limits", "measure"]


class Limits(NamedTuple):
    """No load is larger than its count, and none is chosen to take longer than its seconds."""

    calls: int = 400
    call_seconds: float = 3.0
    tasks: int = 40_000
    task_seconds: float = 2.0
    mapped: int = 4_000_000
    map_seconds: float = 1.5


class Meter:
    """CPU time by role over a phase."""

    def __init__(self, peer: Peer, mark: str, workers: set[int]) -> None:
        self.peer, self.mark, self.workers = peer, mark, workers
        self.seen: set[processes.Identity] = set()
        self.before: dict[int, float] = {}

    def start(self) -> None:
        """Note what everybody has spent so far."""
        self.before = processes.cpu_seconds(self.look())

    def stop(self, units: int) -> dict[str, float]:
        """Microseconds per unit of work by role since `start`; a process that came since counts in full."""
        family = self.look()
        spent: dict[str, float] = {}
        for pid, total in processes.cpu_seconds(family).items():
            role = self.role(pid, family)
            spent[role] = spent.get(role, 0.0) + max(0.0, total - self.before.get(pid, 0.0))
        return {role: seconds * 1e6 / units for role, seconds in spent.items()}

    def look(self) -> dict[processes.Identity, Any]:
        """The family now; everybody ever seen is remembered for the final check."""
        family = processes.family(self.mark, os.getpid())
        self.seen |= family.keys()
        return family

    def role(self, pid: int, family: dict[processes.Identity, Any]) -> str:
        """client, worker, or what the peer calls it."""
        if pid == os.getpid():
            return "client"
        if pid in self.workers:
            return "worker"
        process = next(found for identity, found in family.items() if identity.pid == pid)
        try:
            return self.peer.role(" ".join(process.cmdline())) or "helper"
        except Exception:  # it ended just now
            return "helper"


def measure(key: str, started: float, scratch: Path, limits: Limits) -> dict[str, Any]:
    """Everything that is measured of one peer in one round."""
    peer = load(key)
    result: dict[str, Any] = {}
    mark = os.environ[processes.MARK]
    meter = Meter(peer, mark, set())
    try:
        peer.setup(scratch)
        if peer.call(inc, 1) != 2:
            raise AssertionError("a wrong answer")
        result["first_s"] = time.monotonic() - started
        meter.workers |= set(peer.submit_many(whoami, [0.1] * (4 * WORKERS)))
        for x in range(20):
            peer.call(inc, x)
        for part in (_calls, _tasks, _memory, _mapped):
            try:
                result |= part(peer, meter, limits)
            except Exception as error:  # what one part loses, the others need not
                said = traceback.format_exception(error)
                result.setdefault("failed", {})[part.__name__.lstrip("_")] = "".join(said)[-4000:]
    finally:
        meter.look()
        result["seen"] = sorted(meter.seen)
        peer.close()
    return result


def _calls(peer: Peer, meter: Meter, limits: Limits) -> dict[str, Any]:
    """One call after the other, each waited for."""
    times: list[float] = []
    meter.start()
    deadline = time.perf_counter() + limits.call_seconds
    while len(times) < limits.calls and (begun := time.perf_counter()) < deadline:
        peer.call(inc, len(times))
        times.append(time.perf_counter() - begun)
    return {
        "p50_ms": statistics.median(times) * 1e3,
        "p99_ms": statistics.quantiles(times, n=100)[98] * 1e3,
        "calls": len(times),
        "cpu_us_call": meter.stop(len(times)),
    }


def _tasks(peer: Peer, meter: Meter, limits: Limits) -> dict[str, Any]:
    """Single tasks, all in flight at once; a small load first tells how many fit into the time."""
    count = _sized(lambda n: peer.submit_many(inc, range(n)), 200, limits.tasks, limits.task_seconds)
    meter.start()
    begun = time.perf_counter()
    answers = peer.submit_many(inc, range(count))
    seconds = time.perf_counter() - begun
    cpu = meter.stop(count)
    if answers != list(range(1, count + 1)):
        raise AssertionError("wrong answers")
    return {"tasks_s": count / seconds, "tasks": count, "cpu_us_task": cpu}


def _memory(peer: Peer, meter: Meter, limits: Limits) -> dict[str, Any]:
    """What a worker costs after the single tasks."""
    sizes = [size for pid in meter.workers if (size := processes.pss_mib(pid)) is not None]
    return {"worker_mib": statistics.fmean(sizes) if sizes else None, "workers": len(meter.workers)}


def _mapped(peer: Peer, meter: Meter, limits: Limits) -> dict[str, Any]:
    """The bulk call."""
    if peer.map(inc, range(8)) is None:
        return {"mapped_s": None, "mapped": 0, "cpu_us_mapped": None}
    # Whoever maps in other processes than it calls in (Ray's pool of actors) shows them by now.
    meter.workers |= set(peer.map(whoami, [0.05] * (4 * WORKERS)) or [])
    # A list, not a range: a slice of a range travels in 50 bytes, which no real input does.
    count = _sized(lambda n: peer.map(inc, list(range(n))), 1_000, limits.mapped, limits.map_seconds)
    items = list(range(count))
    meter.start()
    begun = time.perf_counter()
    answers = peer.map(inc, items) or []
    seconds = time.perf_counter() - begun
    cpu = meter.stop(count)
    if len(answers) != count or answers[0] != 1 or answers[-1] != count:
        raise AssertionError("wrong answers")
    return {"mapped_s": count / seconds, "mapped": count, "cpu_us_mapped": cpu}


def _sized(work: Callable[[int], object], first: int, most: int, seconds: float) -> int:
    """How many fit into ``seconds``, found by loads that grow at most tenfold; also warms the path."""
    count = first
    while True:
        begun = time.perf_counter()
        work(count)
        took = max(time.perf_counter() - begun, 1e-6)
        fitting = max(first, min(most, int(count * seconds / took)))
        if fitting <= count * 2 or took > seconds / 4:
            return fitting
        count = min(fitting, count * 10)


if __name__ == "__main__":
    _key, _started, _scratch, _limits = sys.argv[1:5]
    # What a peer prints is not the answer: only this line goes to the real stdout.
    _out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _result = measure(_key, float(_started), Path(_scratch), Limits(*json.loads(_limits)))
    _out.write(json.dumps(_result) + "\n")
    _out.flush()
