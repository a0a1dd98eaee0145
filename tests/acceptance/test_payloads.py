"""What comes from elsewhere reaches the page as text: hostile strings in every field that a remote party controls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

WAIT = 30_000
PAYLOADS: list[str] = json.loads(Path(__file__).with_name("payloads.json").read_text(encoding="utf-8"))
MIME = "application/vnd.jupyter-fx.task+json"
FOREIGN_ELEMENTS = (
    "script, img, iframe, object, embed, video, audio, link, style, base, meta, form, a, math, template, xss, marquee"
)
NOW = 1.8e9


def id_of(number: int) -> str:
    return f"{number:032x}"


def card(number: int, text: str) -> dict[str, Any]:
    """A card that says `text` wherever a card can say something."""
    bar = {"id": text[:64], "label": text[:200], "done": 1, "total": 2, "unit": text[:32]}
    failure = {"index": 1, "input": text[:200], "error": text[:500]}
    counts = {"total": 2, "done": 1, "running": 1, "failed": 1, "cancelled": 0, "failures": [failure]}
    return {
        "version": 1, "kind": "map" if number % 3 == 2 else "cell", "task_id": id_of(number), "name": text[:200],
        "endpoint": text[:200], "session": {"id": id_of(7), "name": text[:200]}, "origin": {"kernel_id": text[:64]},
        "state": ("running", "failed", "running")[number % 3], "why": text, "submitted": NOW, "as_of": NOW,
        "elapsed": 1.0, "progress": [bar], "note": text, "notices": [text, text], "tail": f"{text}\n{text}",
        "ended": text, "error": {"type": text[:200], "message": text}, "map": counts,
    }  # fmt: skip


def task(number: int, text: str) -> dict[str, Any]:
    """A TaskInfo of a hub that is not to be trusted."""
    return {
        "task_id": id_of(number), "name": text, "kind": text, "state": "RUNNING", "shown": text, "why": text,
        "endpoint": text, "session_id": text, "submitted": NOW, "started": NOW, "finished": 0.0,
        "error": {"etype": text, "message": text, "details": {text: text}}, "group": text, "items": 0,
        "origin": {"kernel_id": text, "cell": text, "notebook": text},
    }  # fmt: skip


def state(texts: list[str]) -> dict[str, Any]:
    block = [{"job": text, "state": text, "reason": text, "left": 5} for text in texts[:3]]
    endpoints = [
        {
            "endpoint_id": f"e{n}", "name": text, "state": "ONLINE" if n % 2 else text, "why": text, "queued": 1,
            "running": 1, "leased": 0, "seen": NOW, "owner": text,
            "info": {"workers": {text: text, "busy": text}, "blocks": block, "python": text, "packages": {text: text}},
        }
        for n, text in enumerate(texts)
    ]  # fmt: skip
    sessions = [
        {
            "session_id": id_of(n), "state": "OPEN" if n % 2 else text, "endpoint": text, "kernel_id": text,
            "name": text, "notebook": text, "opened": NOW, "reason": text, "busy": False, "idle": 1.0,
            "ends_at": None, "ends_why": text, "info": {"rss": text, "cwd": text},
        }
        for n, text in enumerate(texts)
    ]  # fmt: skip
    tasks = [task(n, text) for n, text in enumerate(texts)]
    return {"type": "state", "endpoints": endpoints, "sessions": sessions, "tasks": tasks, "at": NOW, "stale": True,
            "problem": texts[0]}  # fmt: skip


def untrusted_hub(socket: Any) -> None:
    """Stands in for the server: whatever is followed or looked at, it answers with hostile strings."""

    def hear(message: str) -> None:
        said = json.loads(message)
        if said["op"] == "look" and said["on"]:
            socket.send(json.dumps({"type": "status", "connected": False, "user": "", "problem": PAYLOADS[1]}))
            socket.send(json.dumps(state(PAYLOADS)))
        elif said["op"] == "follow":
            number = int(said["task_id"], 16)
            text = PAYLOADS[number % len(PAYLOADS)]
            rows = [[0, "state", NOW, {"state": "running", "reason": text, "endpoint": text}]]
            rows += [[1, "stdout", NOW, f"{text}\n"], [2, "stderr", NOW, f"{text}\r{text}\n"]]
            rows += [
                [3, "progress", NOW, {"note": text, "bars": [{"id": text, "label": text, "done": 1, "unit": text}]}]
            ]
            rows += [[4, "note", NOW, text], [5, text, NOW, text]]
            socket.send(json.dumps({"type": "events", "task_id": said["task_id"], "events": rows}))
            socket.send(json.dumps({"type": "info", "task_id": said["task_id"], "info": task(number, text)}))
            if number % 2:
                socket.send(json.dumps({"type": "unknown", "task_id": said["task_id"], "message": text}))

    socket.on_message(hear)
    socket.send(json.dumps({"type": "status", "connected": True, "user": PAYLOADS[0], "problem": ""}))


@pytest.fixture
def watched(labextension: Any, chromium: Any) -> Any:
    """A page that keeps what hostile strings would do."""
    context = chromium.new_context(viewport={"width": 1280, "height": 1400})
    page = context.new_page()
    page.harm = []
    page.on("dialog", lambda dialog: (page.harm.append(f"dialog {dialog.message}"), dialog.dismiss()))
    own = urlsplit(labextension.url).netloc

    def look(request: Any) -> None:
        if urlsplit(request.url).netloc not in {"", own}:
            page.harm.append(f"request {request.url}")

    page.on("request", look)
    page.route_web_socket("**/jupyter-fx/live*", untrusted_hub)
    yield page
    context.close()


def harmless(page: Any, within: str) -> None:
    page.wait_for_timeout(1000)
    found = page.evaluate(
        "([within, names]) => [...document.querySelectorAll(within)]"
        ".flatMap(node => [...node.querySelectorAll(names)].map(one => one.outerHTML))",
        [within, FOREIGN_ELEMENTS],
    )
    assert found == []
    events = page.evaluate(
        "within => [...document.querySelectorAll(within + ' *')].flatMap(node => [...node.attributes])"
        ".filter(one => one.name.startsWith('on') || ['href', 'src', 'action', 'srcdoc'].includes(one.name))"
        ".map(one => one.name)",
        within,
    )
    assert events == []
    assert page.evaluate("() => window.__pwned") is None
    assert page.harm == []


def test_there_are_enough_of_them() -> None:
    assert len(set(PAYLOADS)) >= 40


def test_cards_show_hostile_strings_as_text(watched: Any, labextension: Any, expect_in: Any) -> None:
    import nbformat

    book = nbformat.v4.new_notebook()
    book.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for number, text in enumerate(PAYLOADS):
        cell = nbformat.v4.new_code_cell(f"# {number}")
        cell.outputs = [nbformat.v4.new_output("display_data", {MIME: card(number, text), "text/plain": "card"})]
        book.cells.append(cell)
    nbformat.write(book, labextension.folder / "hostile.ipynb")
    watched.goto(f"{labextension.url}lab/workspaces/hostile/tree/hostile.ipynb?token=sesame")
    watched.wait_for_selector(".fx-card", timeout=WAIT)
    # A long notebook draws its cells as they come into sight: see each of them, and ask about those that can be asked.
    seen = set()
    for number in range(len(PAYLOADS)):
        watched.evaluate("n => window.jupyterapp.shell.currentWidget.content.scrollToItem(n)", number)
        drawn = watched.locator(f".fx-card[data-task='{id_of(number)}']")
        expect_in(drawn).to_be_visible(timeout=WAIT)
        seen.add(number)
        ask = drawn.get_by_role("button", name="Ask the hub")
        if ask.is_visible():
            ask.click()
            expect_in(drawn.locator(".fx-rows .fx-row").first).to_be_attached(timeout=WAIT)
        details = drawn.get_by_role("button", name="Details")
        details.click()
    assert len(seen) == len(PAYLOADS)
    harmless(watched, ".fx-output")
    # They are there, as text.
    watched.evaluate("() => window.jupyterapp.shell.currentWidget.content.scrollToItem(1)")
    expect_in(watched.locator(f".fx-card[data-task='{id_of(1)}'] .fx-why")).to_have_text(PAYLOADS[1])


def test_the_panel_shows_hostile_strings_as_text(watched: Any, labextension: Any, expect_in: Any) -> None:
    watched.goto(f"{labextension.url}lab/workspaces/hostile2?token=sesame")
    watched.wait_for_function("() => window.jupyterapp?.commands.hasCommand('jupyter-fx:open')", timeout=WAIT)
    watched.evaluate("async () => { await window.jupyterapp.restored; }")
    watched.evaluate("() => window.jupyterapp.commands.execute('jupyter-fx:open')")
    panel = watched.locator("#jupyter-fx-panel")
    rows = panel.get_by_role("region", name="Tasks").locator(".fx-item")
    expect_in(rows.first).to_be_visible(timeout=WAIT)
    for section in ("Endpoints", "Sessions", "Tasks"):
        panel.get_by_role("region", name=section).get_by_role("button", name="Show more").click()
    expect_in(rows).to_have_count(len(PAYLOADS))
    expect_in(rows.nth(1).locator(".fx-name")).to_have_text(PAYLOADS[1])
    for number in range(0, len(PAYLOADS), 4):
        rows.nth(number).locator(".fx-row-head").click()
        expect_in(rows.nth(number).locator(".fx-row").first).to_be_attached(timeout=WAIT)
    harmless(watched, "#jupyter-fx-panel")
    harmless(watched, ".fx-status")
