"""The routing experiment of the funcX paper, replayed, and what a choice costs: `python -m bench.routing [--docs]`.

10 nodes of 10 workers, 10 images, 3,000 tasks in random order that are all there at the start, tasks of 0, 1, 5 and
20 s, a container start of 10.4 s (measured on Theta). Two kinds of node are simulated:

* `own`, as in the paper: each worker is a container, and takes a task of another image by starting anew. At the start
  each node has one of each image.
* `shared`, as here: a node has one container per image, and workers are forked from it. At the start nothing is warm.
  `shared-warm`: at the start all is, as in the paper.

The choices are made by `jupyter_fx.endpoint.routing` itself, the code that an agent runs.
"""

from __future__ import annotations

import argparse
import heapq
import random
import time
import tracemalloc
from collections import deque
from pathlib import Path
from typing import NamedTuple

from jupyter_fx.endpoint.routing import POLICIES, SHARED, Routes

__all__ = ["Outcome", "cost", "simulate"]

ROOT = Path(__file__).resolve().parent.parent
NODES, WORKERS, IMAGES, TASKS = 10, 10, 10, 3000
KINDS = ("own", "shared-warm", "shared")
START = 10.4
LENGTHS = (0.0, 1.0, 5.0, 20.0)
TASK_COST = 0.001
"""Seconds that the agent takes for one task (more than is measured: it keeps events of 0 s in an order)."""
PUBLISHED = {"random": (145.0, 104), "warm": (59.0, 1)}


class Outcome(NamedTuple):
    """Seconds until the last task is done, and how many containers were started."""

    seconds: float
    starts: int


class _Node:
    def __init__(self, kind: str, images: list[str]) -> None:
        self.kind = kind
        self.free = WORKERS
        self.idle: dict[str, int] = dict.fromkeys(images, WORKERS // IMAGES) if kind == "own" else {}
        self.ready: dict[str, float] = dict.fromkeys(images, 0.0) if kind == "shared-warm" else {}
        """When the shared container of an image is up."""

    def take(self, image: str, now: float) -> tuple[float, int]:
        """Begin a task: (when it begins, containers started for it)."""
        self.free -= 1
        if self.kind != "own":
            started = image not in self.ready
            begins = max(now, self.ready.setdefault(image, now + START))
            return begins, int(started)
        if self.idle.get(image):
            self.idle[image] -= 1
            return now, 0
        other = max(self.idle, key=lambda one: self.idle[one])
        self.idle[other] -= 1
        return now + START, 1

    def give(self, image: str) -> None:
        self.free += 1
        if self.kind == "own":
            self.idle[image] = self.idle.get(image, 0) + 1

    def tell(self, routes: Routes, name: str, image: str) -> None:
        routes.free(name, self.free)
        if self.kind != "own":
            routes.warm(name, image, SHARED)
        else:
            for one, count in self.idle.items():
                routes.warm(name, one, count)


def simulate(policy: str, length: float, kind: str, seed: int = 1) -> Outcome:
    """Replay the trace with one policy."""
    # Numbers that are the same in every run are the point.
    draw = random.Random(seed)
    images = [f"image{number}" for number in range(IMAGES)]
    trace = deque(images[n % IMAGES] for n in draw.sample(range(TASKS), TASKS))
    routes = Routes(policy, draw.randrange)
    nodes = {f"n{number}": _Node(kind, images) for number in range(NODES)}
    for name, node in nodes.items():
        routes.put(name, WORKERS, node.idle or dict.fromkeys(node.ready, SHARED))
    ends: list[tuple[float, int, str, str]] = []
    now = last = 0.0
    starts = count = 0
    while trace or ends:
        while ends and ends[0][0] <= now:
            _, _, name, image = heapq.heappop(ends)
            nodes[name].give(image)
            nodes[name].tell(routes, name, image)
        chosen = routes.pick(trace[0]) if trace else ""
        if not chosen:
            now = max(now, ends[0][0]) if ends else now
            continue
        image = trace.popleft()
        node = nodes[chosen]
        begins, started = node.take(image, now)
        node.tell(routes, chosen, image)
        starts += started
        count += 1
        last = max(last, begins + length)
        heapq.heappush(ends, (begins + length, count, chosen, image))
        now += TASK_COST
    return Outcome(last, starts)


def cost(managers: int, slots: int = 64, environments: int = 10, tasks: int = 50_000) -> tuple[float, float]:
    """(microseconds to route one task and to note its end, MiB of the books) with so many managers."""
    draw = random.Random(1)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    routes = Routes("warm")
    free = {}
    for number in range(managers):
        warm = {f"image{draw.randrange(environments)}": SHARED for _ in range(3)}
        routes.put(f"m{number}", slots, warm)
        free[f"m{number}"] = slots
    memory = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    wanted = [f"image{draw.randrange(environments)}" for _ in range(tasks)]
    held: deque[str] = deque()
    begun = time.perf_counter()
    for image in wanted:
        manager = routes.pick(image)
        free[manager] -= 1
        routes.free(manager, free[manager])
        held.append(manager)
        if len(held) > managers * slots // 2:
            manager = held.popleft()
            free[manager] += 1
            routes.free(manager, free[manager])
    return (time.perf_counter() - begun) / tasks * 1e6, memory / 2**20


def _table() -> tuple[str, dict[tuple[str, str, float], Outcome]]:
    found = {
        (kind, policy, length): simulate(policy, length, kind)
        for kind in KINDS
        for policy in POLICIES
        for length in LENGTHS
    }
    lines = ["| node | policy | " + " | ".join(f"{length:g} s" for length in LENGTHS) + " |"]
    lines.append("|---|---|" + "---:|" * len(LENGTHS))
    for kind in KINDS:
        for policy in POLICIES:
            cells = [found[kind, policy, length] for length in LENGTHS]
            told = " | ".join(f"{cell.seconds:.1f} s, {cell.starts}" for cell in cells)
            lines.append(f"| {kind} | {policy} | {told} |")
    return "\n".join(lines), found


def _plot(found: dict[tuple[str, str, float], Outcome]) -> str:
    """Bars of the seconds at 0 s a task, beside what was published."""
    bars = [("funcX, random (published)", PUBLISHED["random"][0]), ("funcX, warm (published)", PUBLISHED["warm"][0])]
    for kind in KINDS:
        bars += [(f"{kind}, {policy}", found[kind, policy, 0.0].seconds) for policy in reversed(POLICIES)]
    most = max(seconds for _, seconds in bars)
    height = 22 * len(bars) + 30
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="640" height="{height}"',
        'font-family="sans-serif" font-size="12">',
        "<title>3,000 tasks of 0 s in 10 images: seconds until the last is done</title>",
        f'<rect width="640" height="{height}" fill="#fff"/>',
        '<text x="10" y="16">3,000 tasks of 0 s in 10 images: seconds until the last is done (simulated)</text>',
    ]
    for number, (name, seconds) in enumerate(bars):
        y = 26 + 22 * number
        colour = "#999" if "published" in name else "#2a6" if name.startswith("shared") else "#37b"
        width = 360 * seconds / most
        out.append(f'<text x="180" y="{y + 13}" text-anchor="end">{name}</text>')
        out.append(f'<rect x="190" y="{y}" width="{width:.1f}" height="17" fill="{colour}"/>')
        out.append(f'<text x="{196 + width:.1f}" y="{y + 13}">{seconds:.1f}</text>')
    return "\n".join([*out, "</svg>", ""])


def main() -> None:
    """Print the table and the costs; with --docs also draw the figure of docs/performance.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--docs", action="store_true", help="write docs/figures/routing.svg")
    asked = parser.parse_args()
    text, found = _table()
    print(text)
    print("\n| managers | µs per task | MiB |\n|---:|---:|---:|")
    for managers in (8, 128, 2048):
        micros, memory = cost(managers)
        print(f"| {managers:,} | {micros:.1f} | {memory:.1f} |")
    if asked.docs:
        place = ROOT / "docs" / "figures" / "routing.svg"
        place.parent.mkdir(exist_ok=True)
        place.write_text(_plot(found))
        print(f"\n{place.relative_to(ROOT)} written")


if __name__ == "__main__":
    main()
