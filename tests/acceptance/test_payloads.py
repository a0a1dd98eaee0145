"""What comes from elsewhere reaches the page as text: hostile strings in every field that a remote party controls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.acceptance.conftest import restored

WAIT = 30_000
PAYLOADS: list[str] = json.loads(Path(__file__).with_name("payloads.json").read_text(encoding="utf-8"))
MIME = "application/vnd.jupyter-fx.task+json"
FOREIGN_ELEMENTS = (
    "script, img, iframe, object, embed, video, audio, link, style, base, meta, form, a, math, template, xss, marquee"
)
NOW = 1.8e9
MENU = 20
"""Endpoints in the toolbar's menu (toolbar/plugin.ts)."""
TOLD = 3
"""Ends of tasks that are told one by one; more at once are told in one line (notices/plugin.ts)."""


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
        "ended": text, "error": {"type": text[:200], "message": text}, "map": counts, "details": text,
    }  # fmt: skip


def task(number: int, text: str) -> dict[str, Any]:
    """A TaskInfo of a hub that is not to be trusted."""
    return {
        "task_id": id_of(number), "name": text, "kind": text, "state": "RUNNING", "shown": text, "why": text,
        "endpoint": text, "session_id": text, "submitted": NOW, "started": NOW, "finished": 0.0,
        "error": {"etype": text, "message": text, "details": {text: text}}, "group": text, "items": 0,
        "origin": {"kernel_id": text, "cell": text, "notebook": text},
    }  # fmt: skip


def group(text: str) -> dict[str, Any]:
    """What the same hub says of a map: all of it has failed."""
    failures = [{"index": n, "input": text, "error": text} for n in range(3)]
    return {
        "endpoint": text, "submitted": NOW, "finished": NOW + 1, "active": 0, "states": {text: 1}, "items": 2,
        "done": 0, "failed": 2, "cancelled": 0, "running": 0, "why": text, "unreachable": False, "failures": failures,
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
        elif said["op"] == "follow" and said.get("group"):
            text = PAYLOADS[int(said["task_id"], 16) % len(PAYLOADS)]
            socket.send(json.dumps({"type": "group", "task_id": said["task_id"], "info": group(text)}))
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

    def answer(dialog: Any) -> None:
        if dialog.type == "beforeunload":  # JupyterLab's own: there is something to save
            dialog.accept()
        else:
            page.harm.append(f"dialog {dialog.message}")
            dialog.dismiss()

    page.on("dialog", answer)
    own = urlsplit(labextension.url).netloc

    def look(request: Any) -> None:
        if urlsplit(request.url).netloc not in {"", own}:
            page.harm.append(f"request {request.url}")

    page.on("request", look)
    page.sockets = []
    yield page
    context.close()


@pytest.fixture
def watched_hub(watched: Any) -> Any:
    """The same, below a server whose hub is not to be trusted."""

    def serve(socket: Any) -> None:
        watched.sockets.append(socket)
        untrusted_hub(socket)

    watched.route_web_socket("**/jupyter-fx/live*", serve)
    return watched


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


def test_cards_show_hostile_strings_as_text(watched_hub: Any, labextension: Any, expect: Any) -> None:
    import nbformat

    watched = watched_hub
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
        expect(drawn).to_be_visible(timeout=WAIT)
        seen.add(number)
        ask = drawn.get_by_role("button", name="Ask the hub")
        if ask.is_visible():
            ask.click()
            if number % 3 == 2:
                expect(drawn).to_have_attribute("data-state", "failed", timeout=WAIT)
            else:
                expect(drawn.locator(".fx-rows .fx-row").first).to_be_attached(timeout=WAIT)
        drawn.locator(".fx-fold > summary").click()
        details = drawn.get_by_role("button", name="Details")
        details.click()
    assert len(seen) == len(PAYLOADS)
    harmless(watched, ".fx-output")
    # They are there, as text.
    watched.evaluate("() => window.jupyterapp.shell.currentWidget.content.scrollToItem(1)")
    expect(watched.locator(f".fx-card[data-task='{id_of(1)}'] .fx-why")).to_have_text(PAYLOADS[1])


def test_the_panel_shows_hostile_strings_as_text(watched_hub: Any, labextension: Any, expect: Any) -> None:
    watched = watched_hub
    watched.goto(f"{labextension.url}lab/workspaces/hostile2?token=sesame")
    restored(watched)
    watched.evaluate("() => window.jupyterapp.commands.execute('jupyter-fx:open')")
    panel = watched.locator("#jupyter-fx-panel")
    rows = panel.get_by_role("region", name="Tasks").locator(".fx-item")
    expect(rows.first).to_be_visible(timeout=WAIT)
    for section in ("Endpoints", "Sessions", "Tasks"):
        panel.get_by_role("region", name=section).get_by_role("button", name="Show more").click()
    expect(rows).to_have_count(len(PAYLOADS))
    expect(rows.nth(1).locator(".fx-name")).to_have_text(PAYLOADS[1])
    for number in range(0, len(PAYLOADS), 4):
        rows.nth(number).locator(".fx-row-head").click()
        expect(rows.nth(number).locator(".fx-row").first).to_be_attached(timeout=WAIT)
    harmless(watched, "#jupyter-fx-panel")
    harmless(watched, ".fx-status")


def test_the_toolbar_its_menu_and_notifications_show_hostile_strings_as_text(
    watched_hub: Any, labextension: Any, expect: Any
) -> None:
    page = watched_hub
    name = labextension.write(["1"])
    page.goto(f"{labextension.url}lab/workspaces/hostile3/tree/{name}?token=sesame")
    page.wait_for_function(
        "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'",
        timeout=WAIT,
    )
    kernel = page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.id")
    item = page.locator(".fx-where")
    expect(item).to_contain_text("local", timeout=WAIT)
    socket = page.sockets[-1]
    socket.send(json.dumps({"type": "status", "connected": True, "user": PAYLOADS[0], "problem": ""}))
    running = [task(n, text) | {"name": text} for n, text in enumerate(PAYLOADS)]
    toasts = page.locator(".Toastify__toast")
    # Fifty bars that shrink sixty times a second are all that this browser would do. Without them notifications stay
    # and cover what a mouse would click.
    page.add_style_tag(content=".Toastify__progress-bar { display: none }")
    for n in range(0, len(PAYLOADS) + 1, TOLD):
        texts = PAYLOADS[max(0, n - TOLD) : n] or PAYLOADS[:1]
        told = state([*PAYLOADS[n:], *PAYLOADS[:n]]) | {"stale": False}
        mine = {"endpoint": "local", "kernel_id": kernel, "name": "main", "state": "OPENING"}
        told["endpoints"] = told["endpoints"][:MENU]
        told["sessions"] = [told["sessions"][0] | mine | {"reason": f"{n} {' '.join(texts)}"}]
        over = [one | {"state": "FAILED", "finished": NOW + 99} for one in running[:n]]
        told["tasks"] = [*over, *running[n:]]
        socket.send(json.dumps(told))
        page.wait_for_function(
            "start => document.querySelector('.fx-where').title.includes(start)", arg=f": {n} ", timeout=WAIT
        )
        if n == TOLD:
            expect(toasts.filter(has_text=f"{PAYLOADS[1]} on {PAYLOADS[1][:40]}: failed")).to_have_count(1)
            expect(item).to_have_attribute("title", f"The session of this notebook on local: {n} {' '.join(texts)}")
        if n % (TOLD * 6) == 0:
            item.press("Enter")
            menu = page.get_by_role("menu").filter(has_text="New Remote Session")
            label = told["endpoints"][1]["name"][:12]
            expect(menu.locator(".lm-Menu-itemLabel").filter(has_text=label).first).to_be_visible()
            harmless(page, ".fx-menu")
            page.keyboard.press("Escape")
    harmless(page, ".fx-toolbar")
    harmless(page, ".Toastify")
    # No name that is none gets to the kernel.
    item.press("Enter")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(toasts.filter(has_text="this is no endpoint").first).to_be_attached(timeout=WAIT)
    page.evaluate("() => window.jupyterapp.serviceManager.sessions.shutdownAll()")


REAL = """%%remote --bg --name {name}
import sys
for text in TEXTS:
    print(text, flush=True)
    print(text, file=sys.stderr, flush=True)
raise RuntimeError("\\n".join(TEXTS))
"""


def test_what_real_tasks_say_and_return_stays_text(
    watched: Any, labextension: Any, expect: Any, new_sheet: Any
) -> None:
    texts = f"%%remote\nTEXTS = {PAYLOADS!r}\nclass Shown:\n    def __repr__(self): return '\\n'.join(TEXTS)\nShown()"
    name = labextension.write(["%load_ext jupyter_fx", texts, REAL.format(name=repr(PAYLOADS[1])), "%fx tasks"])
    sheet = new_sheet(labextension, watched, name).open()
    sheet.done(0)
    expect(sheet.done(1)).to_contain_text(PAYLOADS[0])
    sheet.done(2)
    card = sheet.card(2)
    expect(card).to_have_attribute("data-state", "failed", timeout=WAIT)
    sheet.done(3)
    card.hover()
    card.get_by_role("button", name="Output").click()
    expect(card.locator(".fx-rows")).to_contain_text(PAYLOADS[2], timeout=WAIT)
    sheet.command("jupyter-fx:open")
    panel = watched.locator("#jupyter-fx-panel")
    task = panel.get_by_role("region", name="Tasks").locator(".fx-item").filter(has_text=PAYLOADS[1])
    task.first.locator(".fx-row-head").click()
    expect(task.first.locator(".fx-rows")).to_contain_text(PAYLOADS[2], timeout=WAIT)
    harmless(watched, "#jupyter-fx-panel")
    harmless(watched, ".fx-output")
    # Read again by a page that nobody told anything: what the file holds.
    sheet.save()
    sheet.reload()
    expect(sheet.card(2)).to_have_attribute("data-state", "failed", timeout=WAIT)
    harmless(watched, ".fx-output")
    watched.evaluate("() => window.jupyterapp.serviceManager.sessions.shutdownAll()")
