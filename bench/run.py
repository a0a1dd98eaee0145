"""Measure us beside our peers: `make bench`, or `python -m bench.run --peers ours,parsl --rounds 1`.

Each (round, peer) is a process of its own with directories of its own below a short temporary one; nothing stays.
Figures of one run compare with each other only: the machine and its neighbours differ from run to run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any

from bench import processes
from bench.measure import Limits
from bench.peers import PEERS, WORKERS
from bench.report import medians, table

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
ROUND_TIMEOUT = 120.0


def one(key: str, limits: Limits) -> dict[str, Any]:
    """One peer measured once; on any failure ``{"error": …}``. Ends whatever of it still lives and says what."""
    mark = uuid.uuid4().hex
    scratch = Path(tempfile.mkdtemp(prefix="fxb"))
    command = [sys.executable, "-m", "bench.measure", key, repr(time.monotonic()), str(scratch), json.dumps(limits)]
    seen: set[processes.Identity] = set()
    load = os.getloadavg()[0]
    child = subprocess.Popen(command, cwd=ROOT, env=environment(scratch, mark), stdout=-1, stderr=-1, text=True)
    try:
        out, err = child.communicate(timeout=ROUND_TIMEOUT)
        if child.returncode == 0:
            result: dict[str, Any] = json.loads(out.splitlines()[-1])
            seen = {processes.Identity(*pair) for pair in result.pop("seen")}
        else:
            result = {"error": (err.strip().splitlines() or ["no word"])[-1][:300], "log": err[-4000:]}
    except subprocess.TimeoutExpired:
        result = {"error": f"not done after {ROUND_TIMEOUT:.0f} s"}
    finally:
        seen |= processes.family(mark, child.pid).keys()
        left = processes.end(seen)
        if child.poll() is None:
            child.kill()
        child.communicate()
        shutil.rmtree(scratch, ignore_errors=True)
    return result | {"left_behind": left, "load_before": load}


def alone(module: str, *words: str, within: float) -> Any:
    """What a module of ours answers as JSON on its last line, run in a process and directories of its own."""
    mark = uuid.uuid4().hex
    scratch = Path(tempfile.mkdtemp(prefix="fxb"))
    command = [sys.executable, "-m", module, *words, "--scratch", str(scratch)]
    child = subprocess.Popen(command, cwd=ROOT, env=environment(scratch, mark), stdout=subprocess.PIPE, text=True)
    try:
        out, _ = child.communicate(timeout=within)
        return json.loads(out.splitlines()[-1])
    finally:
        processes.end(set(processes.family(mark, child.pid)))
        if child.poll() is None:
            child.kill()
        shutil.rmtree(scratch, ignore_errors=True)


def environment(scratch: Path, mark: str) -> dict[str, str]:
    """An environment in which everything that a peer keeps lands below ``scratch``."""
    places = {
        "HOME": "h",
        "XDG_RUNTIME_DIR": "x",
        "XDG_CONFIG_HOME": "c",
        "XDG_DATA_HOME": "d",
        "XDG_STATE_HOME": "s",
        "XDG_CACHE_HOME": "k",
        "JUPYTER_RUNTIME_DIR": "j",
        "JUPYTER_CONFIG_DIR": "g",
        "JUPYTER_DATA_DIR": "a",
        "IPYTHONDIR": "i",
        "TMPDIR": "t",
    }
    for folder in places.values():
        (scratch / folder).mkdir(mode=0o700)
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "PARSL", "RAY", "DASK"))
    }
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
    ours = {processes.MARK: mark, "PYTHONPATH": str(ROOT), "PATH": path, "OMP_NUM_THREADS": "1"}
    return kept | {name: str(scratch / folder) for name, folder in places.items()} | ours


def _versions() -> dict[str, str]:
    names = ("jupyter-fx", "parsl", "ipyparallel", "ray", "distributed")
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {"python": platform.python_version(), **found}


def main() -> int:
    """Run the rounds, print the tables, keep every figure in bench/results/."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", default=",".join(PEERS), help="which, by comma (default: all)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", default="ours", help="whose ratios to show")
    options = parser.parse_args()
    keys = [key for key in options.peers.split(",") if key]
    if unknown := [key for key in keys if key not in PEERS]:
        parser.error(f"no peer called {', '.join(unknown)}; there are {', '.join(PEERS)}")
    limits = Limits()
    rounds: dict[str, list[dict[str, Any]]] = {key: [] for key in keys}
    for number in range(options.rounds):
        turn = number % len(keys)
        # Another one begins each round, so that nobody always has the quiet minute.
        for key in keys[turn:] + keys[:turn]:
            result = one(key, limits)
            rounds[key].append(result)
            print(f"round {number + 1} {key}: {_short(result)}", file=sys.stderr, flush=True)
    summary = {}
    for key, results in rounds.items():
        if good := [row for row in results if "error" not in row]:
            summary[key] = medians(good)
    RESULTS.mkdir(parents=True, exist_ok=True)
    when = time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime())
    about = {
        "cores": os.cpu_count(),
        "machine": platform.platform(),
        "workers": WORKERS,
        "versions": _versions(),
        "limits": limits._asdict(),
    }
    target = RESULTS / f"{when}.json"
    target.write_text(json.dumps({"about": about, "medians": summary, "rounds": rounds}, indent=1) + "\n")
    versions = ", ".join(f"{name} {version}" for name, version in _versions().items())
    print(f"{WORKERS} workers each, {options.rounds} interleaved rounds, medians; {os.cpu_count()} cores; {versions}\n")
    print(table(summary, options.against))
    before = [row["load_before"] for results in rounds.values() for row in results]
    print(f"\nLoad average before a turn (the one before it is part of that): {min(before):.1f} to {max(before):.1f}")
    failed = sorted(key for key, results in rounds.items() if any("error" in row or "failed" in row for row in results))
    if failed:
        print(f"\nFailed at least once: {', '.join(failed)}; see {target.relative_to(ROOT)}")
    return 1 if failed else 0


def _short(result: dict[str, Any]) -> str:
    if "error" in result:
        return f"failed: {result['error']}"
    units = (
        ("p50_ms", " ms", 2),
        ("tasks_s", " tasks/s", 0),
        ("mapped_s", " mapped/s", 0),
        ("first_s", " s to the first", 2),
    )
    parts = [f"{result[key]:,.{digits}f}{unit}" for key, unit, digits in units if result.get(key)]
    parts += [f"{part} failed: {said.splitlines()[-1][:200]}" for part, said in result.get("failed", {}).items()]
    if result["left_behind"]:
        parts.append(f"had to be ended: {len(result['left_behind'])}")
    return ", ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
