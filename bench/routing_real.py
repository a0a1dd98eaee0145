"""The routing experiment of the funcX paper with true containers, smaller: `make bench BENCH=routing_real`.

2 nodes (managers that are processes here) of 2 workers, 4 images of Charliecloud, 200 tasks in random order that are
all there at the start; nothing is warm then. A real hub, agent and managers. Each policy in turn; with room for all
images on a node, and with room for two (`--most`). A container is known by its zygote, the parent of its workers.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

POLICIES = ("warm", "binpack", "roundrobin", "random")
NODES, WORKERS, IMAGES, TASKS = 2, 2, 4, 200
ROOT = Path(__file__).resolve().parent.parent


def _work(seconds: float) -> int:
    import os
    import time

    time.sleep(seconds)
    return os.getppid()


def _once(policy: str, most: int, seconds: float, tasks: int, images: list[str]) -> tuple[float, int]:
    """(seconds until the last task is done, containers that ran any), in directories of its own."""
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
            fx.remote(_work).submit(0.0).result(60)
            # Numbers that are the same in every run are the point.
            order = random.Random(1).sample([images[n % len(images)] for n in range(tasks)], tasks)
            begun = time.perf_counter()
            futures = [fx.remote(_work, image=image).submit(seconds) for image in order]
            zygotes = {future.result(600) for future in futures}
            return time.perf_counter() - begun, len(zygotes)
        finally:
            embedded.stop_endpoint()
            embedded.stop_hub()


def main() -> None:
    """A table: each policy, each room, each length."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--most", default="16,2", help="containers that a node may keep")
    parser.add_argument("--lengths", default="0,0.1", help="seconds of a task")
    parser.add_argument("--tasks", type=int, default=TASKS)
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
        print("| room on a node | policy | " + " | ".join(f"{one:g} s" for one in lengths) + " |")
        print("|---|---|" + "---:|" * len(lengths))
        for most in asked.most.split(","):
            for policy in POLICIES:
                cells = []
                for seconds in lengths:
                    once = ",".join([policy, most, str(seconds), *images])
                    command = [sys.executable, "-m", "bench.routing_real", "--tasks", str(asked.tasks), "--once", once]
                    ran = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
                    took, starts = json.loads(ran.stdout.splitlines()[-1])
                    cells.append(f"{took:.1f} s, {starts}")
                print(f"| {most} | {policy} | " + " | ".join(cells) + " |", flush=True)
        print(f"\nload average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
