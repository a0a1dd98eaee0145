"""What people read when something is wrong, and the page that has to explain it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyter_fx.client import HubClient

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
PLACES = ("JUPYTER_FX_RUNTIME_DIR", "JUPYTER_FX_STATE_DIR", "JUPYTER_FX_CONFIG_DIR")
SENTENCES = [re.split(r"(?<=`) \| ", line[2:])[0].strip("`").strip() for line in PAGE.splitlines() if line[:3] == "| `"]
MET: set[str] = set()


def explained(text: object) -> str:
    """The text, in one line; fails unless the page has a row for it."""
    said = " ".join(str(text).split())
    rows = [row for row in SENTENCES if re.search(".+?".join(map(re.escape, row.split("…"))), said)]
    assert rows, f"docs/troubleshooting.md does not explain: {said}"
    MET.update(rows)
    return said


def refused(ran: Any, kind: str) -> str:
    """What a cell's error says; its traceback shows nothing of ours."""
    assert ran.error, f"the cell went well: {ran.outputs}"
    assert ran.error["ename"] == kind, ran.traceback
    for inner in ("jupyter_fx/", "jupyter_fx_", "cloudpickle", "site-packages", "concurrent/futures", "fx-cell"):
        shown = ran.traceback.replace(sys.executable, "")
        assert inner not in shown, shown
    return " ".join(ran.traceback.split())


def command(*words: str, program: str = "", timeout: float = 30.0, **environment: str) -> tuple[int, str]:
    """(status, all that it printed) of `jupyter fx …`, or of `python -c program`."""
    line = [sys.executable, "-c", program or "from jupyter_fx.cli.app import main; main()", *words]
    ran = subprocess.run(
        line, capture_output=True, text=True, timeout=timeout, check=False, env={**os.environ, **environment}
    )
    assert "Traceback" not in ran.stderr, ran.stderr
    return ran.returncode, ran.stdout + ran.stderr


def own_places(folder: Path) -> dict[str, str]:
    """The environment of a second hub with directories of its own."""
    for number in range(3):
        (folder / str(number)).mkdir(mode=0o700, parents=True, exist_ok=True)
    return {name: str(folder / str(number)) for number, name in enumerate(PLACES)}


def enrol(client: HubClient, name: str) -> None:
    code = client.request("endpoints.code", {"name": name})["code"]
    status, said = command("endpoint", "configure", name, f"--hub={client.address}", JUPYTER_FX_CODE=code)
    assert status == 0, said


def until(true: Callable[[], bool], within: float = 60.0) -> None:
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.05)
