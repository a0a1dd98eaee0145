"""What a cell that prints 100 lines a second costs the browser and the kernel, in a real JupyterLab in Chromium.

`python -m bench.browser --seconds 60`, in the development environment: it needs JupyterLab, playwright and a Chromium.
One page, one kernel; the same loop runs locally, as a `%%remote` cell, and as one with a bar of tqdm; for comparison
nothing runs for a while. CPU is user plus system time by process, as a share of one core.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from bench import processes
from bench.run import RESULTS, environment

LINES = (
    "import time\nfor n in range({lines}):\n    print('line', n, 'of a cell that talks a lot')\n    time.sleep(0.01)"
)
BARS = "import time\nfrom tqdm.auto import tqdm\nfor n in tqdm(range({lines})):\n    time.sleep(0.01)"
FLAGS = [
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
INDICATOR = ".jp-Notebook-ExecutionIndicator"
IDLE = f"{INDICATOR}[data-status=idle]"
WAIT = 120_000
ENDS = """async ({ indicator, within }) => {
  const status = () => document.querySelector(indicator)?.dataset.status;
  const until = (good, milliseconds) => new Promise(done => {
    if (good()) return done(true);
    const watch = new MutationObserver(() => good() && end(true));
    const limit = setTimeout(() => end(false), milliseconds);
    const end = found => { watch.disconnect(); clearTimeout(limit); done(found); };
    watch.observe(document.querySelector(indicator), { attributes: true });
  });
  await until(() => status() === 'busy', 5000);
  if (!(await until(() => status() === 'idle', within))) throw new Error('the cell did not end');
}"""
"""Waits in the page for a cell's end. A driver that waits looks twice a second, which costs the page half a percent."""


def role(process: psutil.Process) -> str | None:
    """Which part of the picture a process is."""
    with contextlib.suppress(psutil.Error):
        command = " ".join(process.cmdline())
        if "chromium" in command or "chrome" in process.name():
            kind = "renderer" if "--type=renderer" in command else "other"
            return f"browser, {kind}"
        for word, name in (
            ("ipykernel_launcher", "kernel"),
            ("jupyterlab", "Jupyter server"),
            ("jupyter_fx_hub", "hub"),
            ("jupyter_fx.endpoint", "agent"),
            ("zygote", "workers"),
        ):
            if word in command:
                return name
    return None


def spent(mark: str) -> dict[str, float]:
    """Seconds of CPU time so far by role, over the processes that are ours."""
    found: dict[str, float] = {}
    for process in processes.family(mark, os.getpid()).values():
        name = role(process)
        if name is not None:
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                found[name] = found.get(name, 0.0) + times.user + times.system
    return found


@contextlib.contextmanager
def lab(scratch: Path, mark: str, notebook: dict[str, Any]) -> Iterator[str]:
    """The address of a JupyterLab with one notebook."""
    env = environment(scratch, mark)
    home = scratch / "nb"
    home.mkdir()
    (home / "talk.ipynb").write_text(json.dumps(notebook))
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.port=0"]
    command += ["--ServerApp.ip=127.0.0.1", "--IdentityProvider.token=bench", f"--ServerApp.root_dir={home}"]
    command += ["--LabApp.news_url=None", "--LabApp.expose_app_in_browser=True"]
    with (scratch / "lab.log").open("wb") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield _address(Path(env["JUPYTER_RUNTIME_DIR"]), server)
    finally:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(20)


def _address(folder: Path, server: subprocess.Popen[bytes]) -> str:
    until = time.monotonic() + 120
    while time.monotonic() < until and server.poll() is None:
        for file in folder.glob("jpserver-*.json"):
            with contextlib.suppress(ValueError, ConnectionRefusedError):
                found = json.loads(file.read_text())
                socket.create_connection(("127.0.0.1", found["port"]), timeout=5).close()
                return str(found["url"])
        time.sleep(0.1)
    raise RuntimeError("JupyterLab did not start")


def measure(seconds: int) -> dict[str, dict[str, float]]:
    """Share of a core by role, for each cell and for nothing at all."""
    from playwright.sync_api import sync_playwright

    lines = 100 * seconds
    cells = {
        "setup": "%load_ext jupyter_fx",
        "warm": "%%remote\nimport time, tqdm",
        "local": LINES.format(lines=lines),
        "%%remote": "%%remote\n" + LINES.format(lines=lines),
        "local with tqdm": BARS.format(lines=lines),
        "%%remote with tqdm": "%%remote\n" + BARS.format(lines=lines),
    }
    notebook = {
        "cells": [
            {
                "cell_type": "code",
                "execution_count": None,
                "id": f"c{at}",
                "metadata": {},
                "outputs": [],
                "source": text,
            }
            for at, text in enumerate(cells.values())
        ],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    scratch, mark = Path(tempfile.mkdtemp(prefix="fxb")), uuid.uuid4().hex
    os.environ[processes.MARK] = mark
    seen: set[processes.Identity] = set()
    shares: dict[str, dict[str, float]] = {}
    try:
        with lab(scratch, mark, notebook) as address, sync_playwright() as driver:
            chromium = shutil.which("chromium") or shutil.which("chromium-browser")
            browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
            page = browser.new_page(viewport={"width": 1280, "height": 1400})
            page.goto(f"{address}lab/tree/talk.ipynb?token=bench")
            page.wait_for_selector(IDLE, timeout=WAIT)
            time.sleep(3)
            for at, name in enumerate(cells):
                if name == "local":
                    shares["nothing runs"] = _during(mark, lambda: time.sleep(min(20, seconds)))
                shares[name] = _during(mark, lambda at=at: _run(page, at))
                time.sleep(2)
            seen |= processes.family(mark).keys()
            browser.close()
    finally:
        seen |= processes.family(mark).keys()
        processes.end(seen)
        shutil.rmtree(scratch, ignore_errors=True)
    return {name: share for name, share in shares.items() if name not in {"setup", "warm"}}


def _during(mark: str, run: Any) -> dict[str, float]:
    before, begun = spent(mark), time.monotonic()
    run()
    after, took = spent(mark), time.monotonic() - begun
    return {name: (after[name] - before.get(name, 0.0)) / took for name in after}


def _run(page: Any, number: int) -> None:
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(number)
    cell.scroll_into_view_if_needed()
    cell.locator(".jp-InputArea-editor").click()
    page.keyboard.press("Control+Enter")
    page.evaluate(ENDS, {"indicator": INDICATOR, "within": 5000 + WAIT})


def table(shares: dict[str, dict[str, float]]) -> str:
    """Percent of a core by part."""
    parts = sorted({part for share in shares.values() for part in share})
    rows = ["| % of a core | " + " | ".join(parts) + " |", "|---|" + "---:|" * len(parts)]
    rows += [
        f"| {name} | " + " | ".join(f"{100 * share.get(part, 0):.1f}" for part in parts) + " |"
        for name, share in shares.items()
    ]
    return "\n".join(rows)


def main() -> int:
    """Measure, print the table, keep it in bench/results/."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="how long each cell prints")
    options = parser.parse_args()
    before = os.getloadavg()[0]
    shares = measure(options.seconds)
    RESULTS.mkdir(parents=True, exist_ok=True)
    when = time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime())
    about = {"load_before": before, "load_after": os.getloadavg()[0], "seconds": options.seconds}
    (RESULTS / f"browser-{when}.json").write_text(json.dumps({"about": about, "shares": shares}) + "\n")
    print(table(shares))
    print(
        f"\n100 lines a second for {options.seconds} s; load average {before:.1f} before, "
        f"{os.getloadavg()[0]:.1f} after"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
