"""Much of everything: what the panel draws of it, and draws again (what that takes: `python -m bench.crowd`)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.acceptance.conftest import restored

WAIT = 30_000
ENDPOINTS, TASKS = 500, 5000
NOW = 1.8e9
DRAWN = 50
"""Rows of a list before more are asked for (FIRST of panel/section.ts)."""
WATCH = """() => {
    window.__rows = new Set();
    new MutationObserver(records => {
        for (const { target } of records) {
            const row = (target.nodeType === 1 ? target : target.parentElement)?.closest('.fx-item');
            if (row) { window.__rows.add(row.querySelector('.fx-name').textContent); }
        }
    }).observe(document.querySelector('#jupyter-fx-panel'),
               { childList: true, subtree: true, characterData: true });
}"""


def state(turn: int, count: int) -> dict[str, Any]:
    endpoints = [
        {
            "endpoint_id": f"e{n}", "name": f"cluster-{n}", "state": "ONLINE", "why": "", "queued": (n * turn) % 7,
            "running": n % 3, "leased": 0, "seen": NOW, "info": {"workers": {"busy": n % 3, "idle": 2}, "slots": 5},
        }
        for n in range(ENDPOINTS)
    ]  # fmt: skip
    tasks = [
        {
            "task_id": f"{n:032x}", "name": f"task {n}", "kind": "cell", "state": "SUCCEEDED", "shown": "SUCCEEDED",
            "why": "", "endpoint": f"cluster-{n % ENDPOINTS}", "session_id": "", "submitted": NOW - n, "started": NOW,
            "finished": NOW + 1, "error": None, "origin": {}, "group": "", "items": 0,
        }
        for n in range(count)
    ]  # fmt: skip
    return {"type": "state", "endpoints": endpoints, "sessions": [], "tasks": tasks, "at": NOW, "stale": False,
            "problem": ""}  # fmt: skip


@pytest.fixture
def crowded(labextension: Any, chromium: Any) -> Any:
    """A page whose server knows of 500 endpoints and 5,000 tasks."""
    context = chromium.new_context(viewport={"width": 1280, "height": 1000})
    page = context.new_page()
    page.sockets = []

    def serve(socket: Any) -> None:
        page.sockets.append(socket)
        socket.on_message(lambda message: None)
        socket.send(json.dumps({"type": "status", "connected": True, "user": "me", "problem": "", "address": ""}))

    page.route_web_socket("**/jupyter-fx/live*", serve)
    yield page
    context.close()


def test_of_many_a_part_is_drawn_and_only_what_changes_is_drawn_again(
    crowded: Any, labextension: Any, expect: Any
) -> None:
    page = crowded
    page.goto(f"{labextension.url}lab/workspaces/crowd?token=sesame")
    restored(page)
    page.evaluate("() => window.jupyterapp.commands.execute('jupyter-fx:open')")
    panel = page.locator("#jupyter-fx-panel")
    expect(panel.locator(".fx-hub")).to_contain_text("as me", timeout=WAIT)
    page.sockets[-1].send(json.dumps(state(0, TASKS)))
    rows = panel.locator(".fx-item")
    expect(rows).to_have_count(2 * DRAWN, timeout=WAIT)
    expect(panel.get_by_role("button", name=f"Show more ({ENDPOINTS - DRAWN})")).to_be_visible()
    expect(panel.get_by_role("button", name=f"Show more ({TASKS - DRAWN:,})")).to_be_visible()
    # One endpoint of 500 has work that waits; then everything is as it was, except for the time of it.
    page.evaluate(WATCH)
    changed = state(0, TASKS)
    changed["endpoints"][3]["queued"] = 5
    page.sockets[-1].send(json.dumps(changed))
    expect(rows.nth(3)).to_contain_text("5", timeout=WAIT)
    assert page.evaluate("() => [...window.__rows]") == ["cluster-3"]
