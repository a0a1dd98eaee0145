"""Two notebooks at once, each on an endpoint of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

WAIT = 60_000
NAME = "second"
RUNS = """%%remote
import pathlib, time
print("begun", flush=True)
while not pathlib.Path({stop!r}).exists():
    time.sleep(0.05)
'over'"""


def command(*words: str, **environ: str) -> None:
    """`jupyter fx endpoint …`."""
    done = subprocess.run(
        [sys.executable, "-m", "jupyter_fx.cli.app", "endpoint", *words],
        env={**os.environ, **environ}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def second(labextension: Any) -> Iterator[str]:
    """Another endpoint of the lab's hub."""
    from jupyter_fx import embedded
    from jupyter_fx.client import HubClient

    found = embedded.find_hub()
    client = HubClient(found.url, token=found.token)
    try:
        code = str(client.request("endpoints.code", {"name": NAME})["code"])
        command("configure", NAME, f"--hub={client.address}", JUPYTER_FX_CODE=code)
        command("start", NAME)
        try:
            yield NAME
        finally:
            command("stop", NAME)
            client.request("endpoints.delete", {"name": NAME})
    finally:
        client.close()


def test_two_notebooks_on_two_endpoints_run_at_once(
    sheets: Callable[..., Any], second: str, expect_in: Callable[[Any], Any], tmp_path: Path
) -> None:
    stop = tmp_path / "stop"
    books = []
    for endpoint in ("local", second):
        book = sheets(f"%fx use {endpoint}", RUNS.format(stop=str(stop)))
        book.done(0)
        expect_in(book.done(1)).to_contain_text(endpoint)
        books.append(book)
    areas = [book.run(2) for book in books]
    for area in areas:
        expect_in(area).to_contain_text("begun", timeout=WAIT)
    for book in books:
        panel = book.page.locator("#jupyter-fx-panel")
        book.command("jupyter-fx:open")
        for endpoint, other in (("local", books[0]), (second, books[1])):
            row = panel.get_by_role("region", name="Sessions").locator(".fx-item").filter(has_text=other.name)
            expect_in(row).to_contain_text(endpoint, timeout=WAIT)
            expect_in(row).to_contain_text("busy", timeout=WAIT)
    stop.touch()
    for area, endpoint, book in zip(areas, ("local", second), books, strict=True):
        expect_in(area).to_contain_text("over", timeout=WAIT)
        expect_in(book.card(2)).to_contain_text(endpoint, timeout=WAIT)
