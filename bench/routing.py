"""The routing experiment of the funcX paper, replayed, and what a choice costs: `python -m bench.routing [--docs]`.

10 nodes of 10 workers, 10 images, 3,000 tasks in random order that are all there at the start, tasks of 0, 1, 5 and
20 s, a container start of 10.4 s (measured on Theta). Two kinds of node are simulated:

* `own`, as in the paper: each worker is a container, and takes a task of another image by starting anew. At the start
  each node has one of each image.
* `shared`, as here: a node has one container per image, and workers are forked from it. At the start nothing is warm.
  `shared-warm`: at the start all is, as in the paper.

And, on `shared` nodes, mixes that are not as even: `skewed`, with every second task in one image, and `many`, with 25
images. Tasks stand in lines and are given out by `jupyter_fx.endpoint.fleet` with `routing`, and asked for as `credit`
says: the code that an agent runs. It learns here what it learns there: how long tasks take, from those that have ended,
and what a start costs, from the containers that are up.
"""

from __future__ import annotations

import argparse
import heapq
import random
import time
import tracemalloc
from collections import Counter, deque
from pathlib import Path
from typing import NamedTuple

from jupyter_fx.endpoint.credit import Backlog
from jupyter_fx.endpoint.entry import FINISHED, Entry
from jupyter_fx.endpoint.fleet import Fleet
from jupyter_fx.endpoint.need import Need
from jupyter_fx.endpoint.routing import POLICIES, SHARED, Routes
from jupyter_fx.endpoint.talk import Work
from jupyter_fx.protocol.messages import Kind, LeasedTask

__all__ = ["Outcome", "cost", "simulate"]

ROOT = Path(__file__).resolve().parent.parent
NODES, WORKERS, IMAGES, TASKS = 10, 10, 10, 3000
KINDS = ("own", "shared-warm", "shared", "skewed", "many")
MANY = 25
START = 10.4
LENGTHS = (0.0, 1.0, 5.0, 20.0)
TASK_COST = 0.001
"""Seconds that the agent takes for one task (more than is measured: it keeps events of 0 s in an order)."""
LEAST = 0.0005
"""What a task of 0 s is seen to take."""
ROUND_TRIP = 0.02
"""Between agent and hub."""
PUBLISHED = {"random": (145.0, 104), "warm": (59.0, 1)}


class Outcome(NamedTuple):
    """Seconds until the last task is done, and how many containers were started."""

    seconds: float
    starts: int


class _Node:
    def __init__(self, name: str, kind: str, images: list[str]) -> None:
        self.name = name
        self.own = kind == "own"
        self.free = WORKERS
        self.starts = 0
        self.lines: dict[str, deque[Entry]] = {}
        self.idle: dict[str, int] = dict.fromkeys(images, WORKERS // IMAGES) if self.own else {}
        self.up: dict[str, float] = dict.fromkeys(images, 0.0) if kind == "shared-warm" else {}
        """When the shared container of an image is up, or was."""

    def place(self, entry: Entry, now: float) -> list[tuple[float, str, Entry | None]]:
        """A task comes: what is now known to happen, as (when, image, task that begins)."""
        image = entry.shape
        self.lines.setdefault(image, deque()).append(entry)
        if self.own or image in self.up:
            return self.serve(now)
        self.starts += 1
        self.up[image] = now + START
        return [*self.serve(now), (now + START, image, None)]

    def serve(self, now: float) -> list[tuple[float, str, Entry | None]]:
        """Tasks that begin, as (when they do, image, task). Who waits for a container is overtaken."""
        out: list[tuple[float, str, Entry | None]] = []
        for image, line in list(self.lines.items()):
            while line and self.free and (self.own or self.up[image] <= now):
                self.free -= 1
                out.append((self._turns(image, now) if self.own else now, image, line.popleft()))
            if not line:
                del self.lines[image]
        return out

    def _turns(self, image: str, now: float) -> float:
        """A worker that is a container takes a task of an image: when it begins."""
        if self.idle.get(image):
            self.idle[image] -= 1
            return now
        other = max(self.idle, key=lambda one: self.idle[one])
        self.idle[other] -= 1
        self.starts += 1
        return now + START

    def give(self, image: str) -> None:
        self.free += 1
        if self.own:
            self.idle[image] = self.idle.get(image, 0) + 1

    def tell(self, fleet: Fleet, routes: Routes, now: float) -> None:
        """What a manager says of itself."""
        there = [{"environment": image, "seconds": START if up and up <= now else 0.0} for image, up in self.up.items()]
        info = {"containers": there}
        fleet.has(self.name, slots=WORKERS, memory=0, gpus=0, ready=True, info=info)
        for image, count in self.idle.items():
            routes.warm(self.name, image, count)


class _Hub:
    """What waits there, and what of it the agent has credit for."""

    def __init__(self, trace: list[str]) -> None:
        self._waiting: dict[str, deque[int]] = {}
        for number, image in enumerate(trace):
            self._waiting.setdefault(image, deque()).append(number)
        self.books = {image: Backlog() for image in self._waiting}
        self.demand = Counter(trace)

    def lease(self) -> list[tuple[Entry, Work, Need]]:
        """The tasks that come, in their order."""
        taken = []
        for image, waiting in self._waiting.items():
            more = self.books[image].credit(NODES * WORKERS, ROUND_TRIP, 1 << 30)
            taken += [(waiting.popleft(), image) for _ in range(min(more, len(waiting)))]
        out = []
        for number, image in sorted(taken):
            self.books[image].arrived(0)
            self.demand[image] -= 1
            entry = Entry(LeasedTask(f"t{number}", "", 1, (1, number), Kind.CALL, "f", b""), image, 0.0)
            entry.placed = True
            out.append((entry, Work(entry.task.task_id, Kind.CALL, "f", b"", environment=image), Need()))
        return out


def _trace(kind: str, tasks: int, draw: random.Random) -> list[str]:
    if kind == "skewed":
        return [f"image{draw.randrange(1, IMAGES) if draw.randrange(2) else 0}" for _ in range(tasks)]
    images = MANY if kind == "many" else IMAGES
    return [f"image{n % images}" for n in draw.sample(range(tasks), tasks)]


def simulate(policy: str, length: float, kind: str, seed: int = 1, tasks: int = TASKS) -> Outcome:
    """Replay the trace with one policy."""
    # Numbers that are the same in every run are the point.
    draw = random.Random(seed)
    trace = _trace(kind, tasks, draw)
    routes = Routes(policy, draw.randrange)
    fleet, hub = Fleet(routes), _Hub(trace)
    nodes = {f"n{number}": _Node(f"n{number}", kind, sorted(set(trace))) for number in range(NODES)}
    for name, node in nodes.items():
        fleet.came(name, "block", ends=float("inf"), host=name)
        node.tell(fleet, routes, 0.0)
    events: list[tuple[float, int, str, str, Entry | None]] = []
    entries: dict[str, Entry] = {}
    now = last = 0.0
    count = done = 0

    def note(node: _Node, found: list[tuple[float, str, Entry | None]]) -> None:
        nonlocal count
        for at, image, entry in found:
            count += 1
            heapq.heappush(events, (at + length if entry else at, count, node.name, image, entry))

    def mean_of(image: str) -> float:
        # A worker that is a container takes no task before it is free.
        return 0.0 if kind == "own" else hub.books[image].mean

    while done < tasks:
        came = hub.lease()
        entries.update((entry.task.task_id, entry) for entry, _work, _need in came)
        fleet.queue(came)
        fleet.now = now
        for tell in fleet.assign(mean_of, hub.demand.__getitem__) if fleet.changed or now >= fleet.due else ():
            node = nodes[tell.to]
            for work in tell.message.work:
                now += TASK_COST
                note(node, node.place(entries[work.task_id], now))
            if node.own:
                node.tell(fleet, routes, now)
        now = max(now, min(events[0][0], fleet.due))
        while events and events[0][0] <= now:
            at, _, name, image, entry = heapq.heappop(events)
            node = nodes[name]
            if entry is not None:
                done, last = done + 1, max(last, at)
                node.give(image)
                entry.phase = FINISHED
                fleet.released(entry)
                hub.books[image].ended(max(length, LEAST))
            note(node, node.serve(at))
            if node.own or entry is None:
                node.tell(fleet, routes, at)
    return Outcome(last, sum(node.starts for node in nodes.values()))


def cost(managers: int, slots: int = 64, environments: int = 10, tasks: int = 50_000) -> tuple[float, float, float]:
    """With so many managers: (CPU microseconds of one choice; of all that is done for a task from its coming to its
    end; MiB of the books of who is where).
    """
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
    begun = time.process_time()
    for image in wanted:
        manager = routes.pick(image)
        free[manager] -= 1
        routes.free(manager, free[manager])
        held.append(manager)
        if len(held) > managers * slots // 2:
            manager = held.popleft()
            free[manager] += 1
            routes.free(manager, free[manager])
    choice = (time.process_time() - begun) / tasks * 1e6
    return choice, _whole(managers, slots, wanted), memory / 2**20


def _whole(managers: int, slots: int, wanted: list[str]) -> float:
    """CPU microseconds of a task in the fleet, half of it in use; tasks come and end by the hundred."""
    fleet = Fleet()
    for number in range(managers):
        fleet.came(f"m{number}", "block", ends=float("inf"), host="")
        fleet.has(f"m{number}", slots=slots, memory=0, gpus=0, ready=True, info={})
    items = []
    for number, image in enumerate(wanted):
        entry = Entry(LeasedTask(f"t{number}", "", 1, (1, number), Kind.CALL, "f", b""), image, 0.0)
        entry.placed = True
        items.append((entry, Work(entry.task.task_id, Kind.CALL, "f", b"", environment=image), Need()))
    held: deque[Entry] = deque()
    begun = time.process_time()
    for at in range(0, len(items), 100):
        some = items[at : at + 100]
        fleet.queue(some)
        fleet.assign(lambda _shape: 1.0)
        held.extend(entry for entry, _work, _need in some)
        while len(held) > managers * slots // 2:
            fleet.released(held.popleft())
    return (time.process_time() - begun) / len(items) * 1e6


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
    print("\n| managers | µs of a choice | µs of a task | MiB |\n|---:|---:|---:|---:|")
    for managers in (8, 128, 2048):
        choice, whole, memory = cost(managers)
        print(f"| {managers:,} | {choice:.1f} | {whole:.1f} | {memory:.1f} |")
    if asked.docs:
        place = ROOT / "docs" / "figures" / "routing.svg"
        place.parent.mkdir(exist_ok=True)
        place.write_text(_plot(found))
        print(f"\n{place.relative_to(ROOT)} written")


if __name__ == "__main__":
    main()
