"""The routing experiment of the funcX paper with true containers, smaller: `make bench BENCH=routing_real`.

2 nodes (managers that are processes here) of 8 workers, 4 images of Charliecloud, 200 tasks in random order that are
all there at the start (of long ones fewer: `--bound`); nothing is warm then. A real hub, agent and managers. Each
policy in turn; with room for all images on a node, or for fewer (`--most`). A container is known by its zygote, the
parent of its workers. Tasks sleep, so that they cost a small machine little.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

POLICIES = ("warm", "binpack", "roundrobin", "random")
NODES, WORKERS, IMAGES, TASKS = 2, 8, 4, 200
ROOT = Path(__file__).resolve().parent.parent


def _work(seconds: float) -> tuple[int, float, float]:
    import os
    import time

    begun = time.time()
    time.sleep(seconds)
    return os.getppid(), begun, time.time()


def _nothing() -> None:
    """Tried out before. It is another function: how long one takes is learned by function."""


def _idle(spans: list[tuple[float, float]], came: float) -> float:
    """Seconds of all slots together in which they had nothing while tasks waited."""
    last = max(begun for begun, _ in spans)
    return NODES * WORKERS * (last - came) - sum(max(0.0, min(end, last) - begun) for begun, end in spans)


def _once(policy: str, most: int, seconds: float, tasks: int, images: list[str]) -> tuple[float, int, float]:
    """(seconds until the last task is done, containers that ran any, `_idle`), in directories of its own."""
    import jupyter_fx as fx
    from jupyter_fx import embedded

    with tempfile.TemporaryDirectory(prefix="fxb") as folder:
        for name in ("RUNTIME", "STATE", "CONFIG"):
            place = Path(folder, name.lower())
            place.mkdir(mode=0o700)
            os.environ[f"JUPYTER_FX_{name}_DIR"] = str(place)
        config = Path(folder, "config", "endpoints", "local")
        config.mkdir(parents=True, mode=0o700)
        (config / "config.py").write_text(
            f"c = get_config()\nc.Endpoint.workers = {WORKERS}\nc.Endpoint.routing = {policy!r}\n"
            f"c.Containers.most = {most}\nc.Blocks.provider = 'local'\nc.Blocks.walltime = ''\n"
            f"c.Blocks.init_blocks = c.Blocks.min_blocks = c.Blocks.max_blocks = {NODES}\n"
        )
        embedded.find_hub()
        try:
            end = time.monotonic() + 60
            # Both nodes have to be there.
            while fx.endpoints()[0].get("info", {}).get("managers") != NODES:
                if time.monotonic() > end:
                    raise TimeoutError(f"the nodes did not come: {fx.endpoints()}")
                time.sleep(0.1)
            fx.remote(_nothing).submit().result(60)
            # Numbers that are the same in every run are the point.
            order = random.Random(1).sample([images[n % len(images)] for n in range(tasks)], tasks)
            begun, came = time.perf_counter(), time.time()
            futures = [fx.remote(_work, image=image).submit(seconds) for image in order]
            ran = [future.result(600) for future in futures]
            took = time.perf_counter() - begun
            return took, len({zygote for zygote, _, _ in ran}), _idle([(start, end) for _, start, end in ran], came)
        finally:
            embedded.stop_endpoint()
            embedded.stop_hub()


def main() -> None:
    """A table: each policy, each room, each length: seconds, containers, and seconds of slots with nothing to do while
    tasks waited, of which the medians.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--most", default="16", help="containers that a node may keep")
    parser.add_argument("--lengths", default="0,0.1,1,5,20", help="seconds of a task")
    parser.add_argument("--tasks", type=int, default=TASKS)
    parser.add_argument("--bound", type=float, default=60.0, help="seconds of work that a worker gets at most")
    parser.add_argument("--runs", type=int, default=3, help="of each, the median counts")
    parser.add_argument("--docs", action="store_true", help="write docs/figures/routing-real.svg")
    parser.add_argument("--once", default="", help="one run, as data: policy,most,seconds,image,image…")
    asked = parser.parse_args()
    if asked.once:
        policy, most, seconds, *images = asked.once.split(",")
        print(json.dumps(_once(policy, int(most), float(seconds), asked.tasks, images)))
        return
    lengths = [float(one) for one in asked.lengths.split(",")]
    with tempfile.TemporaryDirectory(prefix="fximages") as folder:
        python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
        env = {**os.environ, "PYTHON": python}
        subprocess.run([ROOT / "tests/testbed/image-build", folder], env=env, check=True, stdout=subprocess.DEVNULL)
        images = []
        for number in range(IMAGES):
            subprocess.run(["cp", "-al", f"{folder}/rootfs", f"{folder}/image{number}"], check=True)
            images.append(f"charliecloud:{folder}/image{number}")
        counts = [min(asked.tasks, int(asked.bound * NODES * WORKERS / one) if one else asked.tasks) for one in lengths]
        heads = [f"{count} of {one:g} s" for one, count in zip(lengths, counts, strict=True)]
        ran: dict[tuple[str, str, int], list[tuple[float, int, float]]] = {}
        rooms = asked.most.split(",")
        # All policies in turn, so that a busy minute of the machine falls on each of them.
        for most, _, column, policy in itertools.product(rooms, range(asked.runs), range(len(lengths)), POLICIES):
            once = ",".join([policy, most, str(lengths[column]), *images])
            command = [sys.executable, "-m", "bench.routing_real", "--tasks", str(counts[column]), "--once", once]
            out = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
            ran.setdefault((most, policy, column), []).append(json.loads(out.splitlines()[-1]))
            loads = f"{os.getloadavg()[0]:.1f}"
            print(f"{most} {heads[column]} {policy} {out.splitlines()[-1].decode()}; load {loads}", file=sys.stderr)
        print("| room on a node | policy | " + " | ".join(heads) + " |")
        print("|---|---|" + "---:|" * len(lengths))
        found: dict[tuple[str, str], list[float]] = {}
        for most, policy in itertools.product(rooms, POLICIES):
            cells = []
            for column, (seconds, count) in enumerate(zip(lengths, counts, strict=True)):
                took, starts, idle = (statistics.median(one) for one in zip(*ran[most, policy, column], strict=True))
                cells.append(f"{took:.1f} s, {starts:g}, {idle:.0f} s")
                # As if tasks could be cut to fit all workers to the end.
                found.setdefault((most, policy), []).append(took - count * seconds / NODES / WORKERS)
            print(f"| {most} | {policy} | " + " | ".join(cells) + " |")
        if asked.docs:
            most = asked.most.split(",")[0]
            drawn = {policy: found[most, policy] for policy in POLICIES}
            (ROOT / "docs" / "figures" / "routing-real.svg").write_text(_plot(heads, drawn))


def _plot(heads: list[str], found: dict[str, list[float]]) -> str:
    """Bars, by length of the tasks and policy: the seconds that were not the tasks' own."""
    colours = dict(zip(POLICIES, ("#2a6", "#37b", "#c83", "#999"), strict=True))
    most = max(max(one) for one in found.values())
    height = 60 + (18 * len(found) + 12) * len(heads)
    title = "Seconds until the last task is done, less those that its workers slept (true containers)"
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="640" height="{height}"',
        'font-family="sans-serif" font-size="12">',
        f"<title>{title}</title>",
        f'<rect width="640" height="{height}" fill="#fff"/>',
        f'<text x="10" y="16">{title}</text>',
    ]
    for number, (policy, colour) in enumerate(colours.items()):
        out.append(f'<rect x="{120 + 110 * number}" y="26" width="12" height="12" fill="{colour}"/>')
        out.append(f'<text x="{137 + 110 * number}" y="36">{policy}</text>')
    y = 52
    for column, head in enumerate(heads):
        out.append(f'<text x="110" y="{y + 9 * len(found) + 4}" text-anchor="end">{head}</text>')
        for policy, seconds in found.items():
            width = 420 * max(0.0, seconds[column]) / most
            out.append(f'<rect x="120" y="{y}" width="{width:.1f}" height="14" fill="{colours[policy]}"/>')
            out.append(f'<text x="{126 + width:.1f}" y="{y + 11}">{seconds[column]:.1f}</text>')
            y += 18
        y += 12
    return "\n".join([*out, "</svg>", ""])


if __name__ == "__main__":
    main()
