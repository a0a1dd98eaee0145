"""Two notebooks at once, each on an endpoint of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

WAIT = 60_000
RUNS = """%%remote
import pathlib, time
print("begun", flush=True)
while not pathlib.Path({stop!r}).exists():
    time.sleep(0.05)
'over'"""


def test_two_notebooks_on_two_endpoints_run_at_once(
    sheets: Callable[..., Any], second: str, expect: Callable[[Any], Any], tmp_path: Path
) -> None:
    stop = tmp_path / "stop"
    books = []
    for endpoint in ("local", second):
        book = sheets(f"%fx use {endpoint}", RUNS.format(stop=str(stop)))
        book.done(0)
        expect(book.done(1)).to_contain_text(endpoint)
        books.append(book)
    areas = [book.run(2) for book in books]
    for area in areas:
        expect(area).to_contain_text("begun", timeout=WAIT)
    for book in books:
        panel = book.page.locator("#jupyter-fx-panel")
        book.command("jupyter-fx:open")
        for endpoint, other in (("local", books[0]), (second, books[1])):
            row = panel.get_by_role("region", name="Sessions").locator(".fx-item").filter(has_text=other.name)
            expect(row).to_contain_text(endpoint, timeout=WAIT)
            expect(row).to_contain_text("busy", timeout=WAIT)
    # A cell that is through at once has no card: these run for long enough to have one.
    for book, endpoint in zip(books, ("local", second), strict=True):
        expect(book.card(2)).to_contain_text(endpoint, timeout=WAIT)
    stop.touch()
    for area, endpoint, book in zip(areas, ("local", second), books, strict=True):
        expect(area).to_contain_text("over", timeout=WAIT)
        expect(book.card(2)).to_contain_text(endpoint, timeout=WAIT)
