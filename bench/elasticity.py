"""The three waves of the funcX paper, for real: `python -m bench.elasticity [--scheduler slurm] [--scale N] [--docs]`.

1 task of 1 s, 5 of 10 s, 20 of 20 s, 120 s apart (Chard et al., HPDC 2020), `--scale` times as fast. An endpoint with
hub, agent and state of its own follows them with blocks of four workers, five at the most: processes of this machine,
or jobs of the Slurm that SLURM_CONF names. What is drawn is what the hub tells anybody who asks it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Sample", "plot", "told"]

ROOT = Path(__file__).resolve().parent.parent
WAVES = ((1, 1.0), (5, 10.0), (20, 20.0))
APART = 120.0
WORKERS = 4
BLOCKS = 5
EVERY = 0.2
COLOURS = {"tasks": "#c2185b", "workers": "#1565c0"}


class Sample(NamedTuple):
    """Seconds since the start; tasks that are not done; workers and blocks that there are."""

    at: float
    tasks: int
    workers: int
    blocks: int


def _sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def _fx(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "jupyter_fx.cli.app", *words], check=True, stdout=subprocess.DEVNULL)


def _settings(scheduler: str, scale: float) -> str:
    return f"""
c.Endpoint.workers = {WORKERS}
c.Blocks.max_blocks = {BLOCKS}
c.Blocks.idle_seconds = {20 / scale}
c.Blocks.poll_seconds = 0.5
c.Blocks.cores_per_node = {WORKERS if scheduler == "slurm" else 0}
"""


def run(scheduler: str, scale: float) -> tuple[list[Sample], int]:
    """The samples, and how many tasks were done rightly."""
    with tempfile.TemporaryDirectory(prefix="fxe") as folder:
        for name in ("RUNTIME", "STATE", "CONFIG"):
            os.environ[f"JUPYTER_FX_{name}_DIR"] = f"{folder}/{name[0].lower()}"
        _fx("endpoint", "configure", "waves", f"--scheduler={scheduler}")
        path = Path(folder, "c", "endpoints", "waves", "config.py")
        path.write_text(path.read_text() + _settings(scheduler, scale))
        try:
            _fx("endpoint", "start", "waves")
            return _waves(scale)
        finally:
            subprocess.run([sys.executable, "-m", "jupyter_fx.cli.app", "endpoint", "stop", "waves"], check=False)
            subprocess.run([sys.executable, "-m", "jupyter_fx.cli.app", "up", "--down"], check=False)


def _waves(scale: float) -> tuple[list[Sample], int]:
    import jupyter_fx as fx

    client = fx.connect()
    sleep = fx.remote(endpoint="waves")(_sleep)
    futures: list[Any] = []
    samples: list[Sample] = []
    begun = time.monotonic()
    left = [(number * APART / scale, count, seconds / scale) for number, (count, seconds) in enumerate(WAVES)]
    end = begun + 60.0 + len(WAVES) * APART / scale
    while time.monotonic() < end:
        now = time.monotonic() - begun
        if left and now >= left[0][0]:
            _, count, seconds = left.pop(0)
            futures += [sleep.submit(seconds) for _ in range(count)]
        info = client.request("endpoints.get", {"name": "waves"})["info"]
        blocks = [one for one in info.get("blocks", ()) if one["state"] in {"running", "draining"}]
        waiting = sum(not one.done() for one in futures)
        samples.append(Sample(round(now, 2), waiting, int(info.get("slots") or 0), len(blocks)))
        if not left and not waiting and not info.get("blocks") and now > len(WAVES) * APART / scale:
            break
        time.sleep(EVERY)
    return samples, sum(one.done() and one.exception() is None for one in futures)


def told(samples: list[Sample], done: int, scale: float) -> str:
    """A table of the waves in Markdown; AssertionError when blocks did not follow or a task was lost."""
    lines = [
        "| wave | tasks | workers at the most | blocks at the most | workers before the next |",
        "|---|---|---:|---:|---:|",
    ]
    for number, (count, seconds) in enumerate(WAVES):
        begin, end = number * APART / scale, (number + 1) * APART / scale
        those = [one for one in samples if begin <= one.at < end or (number == len(WAVES) - 1 and one.at >= begin)]
        most, blocks = max(one.workers for one in those), max(one.blocks for one in those)
        lines.append(f"| {number + 1} | {count} of {seconds:g} s | {most} | {blocks} | {those[-1].workers} |")
        assert those[-1].workers == 0, f"wave {number + 1} left workers behind"
    assert done == sum(count for count, _ in WAVES), f"{done} tasks were done"
    return "\n".join(lines)


def plot(samples: list[Sample], scale: float) -> str:
    """Tasks and workers over the time of the paper, as SVG."""
    width, height, left, top = 640, 240, 40, 30
    longest = max(one.at for one in samples) * scale
    most = max(max(one.tasks, one.workers) for one in samples) or 1

    def point(at: float, value: float) -> str:
        x = left + at * scale / longest * (width - left - 26)
        return f"{x:.1f},{height - 30 - value / most * (height - 30 - top):.1f}"

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"',
        'font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for value in range(0, most + 1, 5):
        x, y = point(0, value).split(",")
        out.append(
            f'<path d="M{x},{y} H{width - 10}" stroke="#ddd"/>'
            f'<text x="{left - 6}" y="{y}" text-anchor="end">{value}</text>'
        )
    for seconds in range(0, int(longest) + 1, 60):
        x, y = point(seconds / scale, 0).split(",")
        out.append(f'<text x="{x}" y="{float(y) + 16:.1f}" text-anchor="middle">{seconds} s</text>')
    for number, (name, colour) in enumerate(COLOURS.items()):
        path, before = [], 0
        for one in samples:
            value = getattr(one, name)
            path += [point(one.at, before), point(one.at, value)]
            before = value
        out.append(f'<polyline points="{" ".join(path)}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        words = {"tasks": "tasks that are not done", "workers": "workers"}[name]
        out.append(f'<text x="{left + 170 * number}" y="18" fill="{colour}">{words}</text>')
    return "\n".join([*out, "</svg>", ""])


def main() -> None:
    """Run it; print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scheduler", choices=("local", "slurm"), default="local")
    parser.add_argument("--scale", type=float, default=5.0, help="how many times as fast as the paper's trace")
    parser.add_argument("--docs", action="store_true", help="write docs/figures/elasticity.svg")
    asked = parser.parse_args()
    samples, done = run(asked.scheduler, asked.scale)
    print(told(samples, done, asked.scale))
    if asked.docs:
        (ROOT / "docs" / "figures" / "elasticity.svg").write_text(plot(samples, asked.scale))


if __name__ == "__main__":
    main()
