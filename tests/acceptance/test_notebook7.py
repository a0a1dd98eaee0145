"""Notebook 7: the same card, toolbar item and panel, as far as its shell has places for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

WAIT = 30_000
UNTIL_TOLD = """%%remote
import pathlib, time
begun, n = time.time(), 0
# More than a second, for the notification.
while time.time() < begun + 1.2 or not pathlib.Path({stop!r}).exists():
    print('line', n, flush=True)
    n += 1
    time.sleep(0.1)"""


def test_notebook_7_has_the_card_the_toolbars_item_the_panel_and_notifications(
    sheets: Any, expect: Any, picture: Any, tmp_path: Path
) -> None:
    pytest.importorskip("notebook", reason="Notebook 7 is not installed: pip install notebook")
    stop = tmp_path / "stop"
    sheet = sheets("%fx notify 1", UNTIL_TOLD.format(stop=str(stop)), app="notebooks")
    page = sheet.page
    item = page.locator(".fx-where")
    expect(item).to_contain_text("local", timeout=WAIT)
    sheet.done(0)
    sheet.done(1)
    area = sheet.run(2)
    expect(area).to_contain_text("line 1", timeout=WAIT)
    expect(sheet.card(2).get_by_role("button", name="Cancel")).to_be_visible()
    expect(item).to_contain_text("busy", timeout=WAIT)
    stop.touch()
    expect(sheet.card(2)).to_have_attribute("data-state", "succeeded", timeout=WAIT)
    expect(page.locator(".Toastify__toast")).to_contain_text("on local: succeeded after", timeout=WAIT)
    expect(item).to_contain_text("warm", timeout=WAIT)
    page.get_by_role("menuitem", name="View", exact=True).click()
    page.get_by_role("menuitem", name="Show Endpoints, Sessions and Tasks").click()
    panel = page.locator("#jupyter-fx-panel")
    sessions = panel.get_by_role("region", name="Sessions").locator(".fx-item")
    expect(sessions.filter(has_text=sheet.name)).to_contain_text("idle", timeout=WAIT)
    item.click()
    expect(page.get_by_role("menu").filter(has_text="New Remote Session")).to_be_visible()
    picture(page, "notebook7")
