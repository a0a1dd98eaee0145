"""Who has just installed jupyter-fx: from the launcher to a finished remote cell by mouse; only code is typed."""

from __future__ import annotations

import re
from typing import Any

WAIT = 60_000


def test_from_the_launcher_to_a_finished_remote_cell_by_mouse(
    fresh_lab: Any, chromium: Any, expect: Any, picture: Any
) -> None:
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    try:
        page.goto(f"{fresh_lab.url}lab?token=sesame")
        # The server has found a hub for them, and an endpoint on this machine.
        card = page.locator(".jp-LauncherCard").filter(has_text="Notebook on local")
        expect(card).to_be_visible(timeout=WAIT)
        picture(page, "launcher")
        card.click()
        where = page.locator(".fx-where")
        expect(where).to_contain_text(re.compile("local.*cold"), timeout=WAIT)
        cell = page.locator(".jp-NotebookPanel .jp-CodeCell").first
        editor = cell.locator(".jp-InputArea-editor")
        editor.click()
        page.keyboard.insert_text("import os, time\nprint('at work')\ntime.sleep(1)\nos.getpid()")
        editor.click(button="right")
        page.get_by_role("menuitem", name="Run This Cell Remotely").click()
        expect(cell).to_contain_text("at work", timeout=WAIT)
        expect(cell.locator(".fx-card")).to_have_attribute("data-state", "succeeded", timeout=WAIT)
        expect(cell.locator(".fx-card")).to_contain_text("local")
        expect(editor).to_contain_text(re.compile(r"^%%remote\s*import"))
        expect(where).to_contain_text(re.compile("local.*warm"), timeout=WAIT)
        # The panel, one click away, says what it did, and ends the session.
        page.get_by_role("tab", name="Remote endpoints, sessions and tasks").click()
        panel = page.locator("#jupyter-fx-panel")
        task = panel.get_by_role("region", name="Tasks").locator(".fx-item")
        expect(task).to_contain_text("succeeded", timeout=WAIT)
        session = panel.get_by_role("region", name="Sessions").locator(".fx-item")
        expect(session).to_contain_text("Untitled.ipynb", timeout=WAIT)
        picture(page, "first-cell")
        session.get_by_role("button", name="Close", exact=True).click()
        page.get_by_role("dialog").get_by_role("button", name="Close").click()
        expect(session).to_have_count(0, timeout=WAIT)
        expect(where).to_contain_text("cold", timeout=WAIT)
    finally:
        page.close()
