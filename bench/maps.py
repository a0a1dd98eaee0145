"""How a map's speed follows its size: `make bench BENCH=maps`, or `python -m bench.maps --peers ours,ipyparallel`.

Each (round, peer) is a process of its own; the median of seven maps of each size, after two that are not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

from bench.peers import load
from bench.run import alone
from bench.work import inc

SIZES = (1_000, 10_000, 100_000, 1_000_000, 4_000_000)
TIMES = 7


def measure(key: str, scratch: Path) -> dict[int, float]:
    """Mapped calls per second of one peer, by size."""
    peer = load(key)
    found: dict[int, float] = {}
    try:
        peer.setup(scratch)
        for size in SIZES:
            items = list(range(size))
            times = []
            for _ in range(TIMES + 2):
                begun = time.perf_counter()
                answers = peer.map(inc, items) or []
                times.append(time.perf_counter() - begun)
                if len(answers) != size or answers[-1] != size:
                    raise AssertionError("wrong answers")
            found[size] = size / statistics.median(times[2:])
    finally:
        peer.close()
    return found


def one(key: str) -> dict[int, float]:
    """One peer in a process and directories of its own."""
    return {int(size): speed for size, speed in alone("bench.maps", "--one", key, within=180).items()}


def main() -> int:
    """Run the rounds, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", default="ours,ipyparallel,pool")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", default="")
    parser.add_argument("--scratch", default="")
    options = parser.parse_args()
    if options.one:
        out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # what a peer prints is not the answer
        out.write(json.dumps(measure(options.one, Path(options.scratch))) + "\n")
        out.flush()
        return 0
    keys = options.peers.split(",")
    rounds: dict[str, list[dict[int, float]]] = {key: [] for key in keys}
    for number in range(options.rounds):
        turn = number % len(keys)
        for key in keys[turn:] + keys[:turn]:
            rounds[key].append(one(key))
            print(f"round {number + 1} {key}", file=sys.stderr, flush=True)
    print("| items | " + " | ".join(keys) + " |\n|---:|" + "---:|" * len(keys))
    for size in SIZES:
        speeds = [statistics.median(row[size] for row in rounds[key]) / 1e6 for key in keys]
        print(f"| {size:,} | " + " | ".join(f"{speed:.2f} M" for speed in speeds) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
