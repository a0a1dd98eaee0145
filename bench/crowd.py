"""What the panel with 500 endpoints and 5,000 tasks costs who types in a notebook, in a real JupyterLab in Chromium.

`python -m bench.crowd --seconds 30`, in the development environment: it needs JupyterLab, playwright and a Chromium.
A WebSocket server of our own tells the page so many endpoints and tasks, then every change of theirs `--every` seconds
(the Jupyter server tells them every 10 s at the most often), while somebody types. A trace of Chromium says which turns
of the page's main thread took more than 50 ms, and in which of them scripts of ours ran; the same without updates
beside it. Memory is the JavaScript heap after a collection.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.server import ServerConnection, serve

from bench import processes
from bench.browser import FLAGS, IDLE, WAIT, lab

LONG = 50.0
"""Milliseconds that a turn of the main thread may take before typing stutters."""
PUSHED = 200
"""Tasks in one message of the Jupyter server."""
OURS = "/jupyter-fx/static/"
NOW = 1.8e9
ELSEWHERE = """port => {
    const Real = window.WebSocket;
    window.WebSocket = class extends Real {
        constructor(url, protocols) {
            super(String(url).includes('/jupyter-fx/live') ? `ws://127.0.0.1:${port}/` : url, protocols);
        }
    };
}"""
WATCH = """() => {
    const panel = document.querySelector('#jupyter-fx-panel');
    window.__drawn = 0;
    new MutationObserver(() => {
        if (window.__drawn === 0 && panel.querySelectorAll('.fx-item').length >= 100) {
            requestAnimationFrame(() => { window.__drawn = performance.now(); });
        }
    }).observe(panel, { childList: true, subtree: true });
    window.__begun = performance.now();
}"""


def state(turn: int, endpoints: int, tasks: int) -> str:
    """A message of the server's; every endpoint and task differs from that of the turn before."""
    places = [
        {
            "endpoint_id": f"e{n}", "name": f"cluster-{n}", "state": "ONLINE", "why": "", "queued": (n + turn) % 7,
            "running": (n + turn) % 3, "leased": 0, "seen": NOW + turn, "finished": n + turn,
            "info": {"workers": {"busy": (n + turn) % 3, "idle": 2}, "slots": 5},
        }
        for n in range(endpoints)
    ]  # fmt: skip
    listed: list[dict[str, Any]] = [
        {
            "task_id": f"{n:032x}", "name": f"task {n}", "kind": "cell", "state": "RUNNING", "shown": "RUNNING",
            "why": f"turn {turn}", "endpoint": f"cluster-{n % endpoints}", "session_id": "", "submitted": NOW - n,
            "started": NOW, "finished": 0.0, "error": None, "origin": {}, "group": "", "items": 0,
        }
        for n in range(tasks)
    ]  # fmt: skip
    told = {"type": "state", "endpoints": places, "sessions": [], "tasks": listed, "at": NOW + turn}
    return json.dumps({**told, "stale": False, "problem": ""})


class Crowd:
    """Tells whoever connects what is asked of it."""

    def __init__(self) -> None:
        self.sockets: list[ServerConnection] = []
        self._server = serve(self._meet, "127.0.0.1", 0)
        self.port: int = self._server.socket.getsockname()[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _meet(self, socket: ServerConnection) -> None:
        socket.send(json.dumps({"type": "status", "connected": True, "user": "me", "problem": "", "address": ""}))
        self.sockets.append(socket)
        with contextlib.suppress(Exception):
            for _message in socket:
                pass

    def say(self, text: str) -> None:
        """Send it to the page."""
        self.sockets[-1].send(text)

    def close(self) -> None:
        """No more."""
        self._server.shutdown()


@contextlib.contextmanager
def updates(crowd: Crowd, every: float, endpoints: int) -> Iterator[list[int]]:
    """A message each `every` seconds as long as this lasts; counts them."""
    over, told = threading.Event(), [0]

    def push() -> None:
        while not over.wait(every):
            told[0] += 1
            crowd.say(state(told[0], endpoints, PUSHED))

    thread = threading.Thread(target=push)
    thread.start()
    try:
        yield told
    finally:
        over.set()
        thread.join()


def turns(trace: bytes) -> tuple[list[tuple[float, dict[str, float]]], list[float]]:
    """(CPU milliseconds of each long turn of the main thread and where they went, those in which our scripts ran).

    CPU time of the thread and not of the clock: on a busy machine another process may have the core.
    """
    events = json.loads(trace)["traceEvents"]
    mains = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    whole = [event for event in events if event.get("ph") == "X" and (event["pid"], event["tid"]) in mains]
    calls = [event for event in whole if OURS in str(event.get("args", {}).get("data", {}).get("url", ""))]
    every, ours = [], []
    for event in whole:
        took = event.get("tdur", event.get("dur", 0)) / 1000
        if event["name"] == "RunTask" and took > LONG:
            end = event["ts"] + event["dur"]
            parts: dict[str, float] = {}
            for part in whole:
                if part["pid"] == event["pid"] and event["ts"] <= part["ts"] <= end and part["name"] != "RunTask":
                    where = str(part.get("args", {}).get("data", {}).get("url", "")).rpartition("/")[2][:40]
                    key = f"{part['name']} {where}".strip()
                    parts[key] = round(parts.get(key, 0.0) + part.get("tdur", part.get("dur", 0)) / 1000, 1)
            every.append((took, dict(sorted(parts.items(), key=lambda item: -item[1])[:6])))
            if any(event["ts"] <= call["ts"] <= end and call["pid"] == event["pid"] for call in calls):
                ours.append(took)
    return every, ours


def longest_call(trace: bytes) -> float:
    """CPU milliseconds of the longest call into scripts of ours."""
    found = [
        event.get("tdur", event.get("dur", 0)) / 1000
        for event in json.loads(trace)["traceEvents"]
        if event["name"] in {"FunctionCall", "TimerFire", "FireAnimationFrame"}
        and OURS in str(event.get("args", {}).get("data", {}).get("url", ""))
    ]
    return max(found, default=0.0)


def measure(seconds: int, every: float, endpoints: int, tasks: int) -> dict[str, Any]:
    """All figures."""
    from playwright.sync_api import sync_playwright

    cell: dict[str, Any] = {
        "cell_type": "code",
        "execution_count": None,
        "id": "c",
        "metadata": {},
        "outputs": [],
        "source": "",
    }
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    book = {"cells": [cell], "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    scratch, mark, crowd = Path(tempfile.mkdtemp(prefix="fxb")), uuid.uuid4().hex, Crowd()
    os.environ[processes.MARK] = mark
    seen: set[processes.Identity] = set()
    found: dict[str, Any] = {"endpoints": endpoints, "tasks": tasks, "seconds": seconds, "every": every}
    try:
        with lab(scratch, mark, book) as address, sync_playwright() as driver:
            chromium = shutil.which("chromium") or shutil.which("chromium-browser")
            browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
            page = browser.new_page(viewport={"width": 1280, "height": 1000})
            page.add_init_script(f"({ELSEWHERE})({crowd.port})")
            page.goto(f"{address}lab/tree/talk.ipynb?token=bench")
            page.wait_for_selector(IDLE, timeout=WAIT)
            page.evaluate(
                "async () => { const lab = window.jupyterapp ?? window.jupyterlab; await lab.restored; "
                "await lab.commands.execute('jupyter-fx:open'); }"
            )
            page.wait_for_selector("#jupyter-fx-panel", timeout=WAIT)
            page.evaluate(WATCH)
            crowd.say(state(0, endpoints, tasks))
            page.wait_for_function("() => window.__drawn > 0", timeout=WAIT)
            found["first paint, ms"] = page.evaluate("() => window.__drawn - window.__begun")
            page.locator(".jp-CodeCell .jp-InputArea-editor").first.click()
            session = page.context.new_cdp_session(page)
            session.send("HeapProfiler.enable")
            found["heap, MiB"] = []
            for name, pushing in (("typing alone", False), ("typing with updates", True)):
                with updates(crowd, every, endpoints) if pushing else contextlib.nullcontext([0]) as told:
                    categories = ["devtools.timeline", "disabled-by-default-devtools.timeline"]
                    browser.start_tracing(page=page, categories=categories)
                    _type(page, seconds)
                    trace = browser.stop_tracing()
                    long, ours = turns(trace)
                    found[name] = {
                        "messages": told[0], "turns > 50 ms": len(long),
                        "longest": max(long, key=lambda turn: turn[0], default=None),
                        "with scripts of ours": len(ours), "longest of these, ms": max(ours, default=0.0),
                        "longest call of ours, ms": longest_call(trace),
                    }  # fmt: skip
            # Memory: as many messages as the server sends in an hour and more, as quickly as they are drawn.
            for part in range(5):
                for turn in range(80 if part else 40):
                    crowd.say(state(1000 + 100 * part + turn, endpoints, PUSHED))
                    page.wait_for_timeout(100)
                session.send("HeapProfiler.collectGarbage")
                used = session.send("Runtime.getHeapUsage")["usedSize"]
                found["heap, MiB"].append(round(used / 2**20, 1))
            seen |= processes.family(mark).keys()
            browser.close()
    finally:
        crowd.close()
        seen |= processes.family(mark).keys()
        processes.end(seen)
        shutil.rmtree(scratch, ignore_errors=True)
    return found


def _type(page: Any, seconds: int) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        page.keyboard.type("value = 1 + 2\n", delay=60)
        page.keyboard.press("Control+a")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=30, help="how long somebody types, each time")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two messages")
    parser.add_argument("--endpoints", type=int, default=500)
    parser.add_argument("--tasks", type=int, default=5000)
    options = parser.parse_args()
    before = os.getloadavg()[0]
    found = measure(options.seconds, options.every, options.endpoints, options.tasks)
    print(json.dumps(found, indent=1))
    print(f"load average {before:.1f} before, {os.getloadavg()[0]:.1f} after")
    return 0


if __name__ == "__main__":
    sys.exit(main())
