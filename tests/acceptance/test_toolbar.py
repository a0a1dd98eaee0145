"""The notebook toolbar's item, commands, launcher and status bar: where cells run, and every way to change it."""

from __future__ import annotations

from typing import Any

import pytest

WAIT = 30_000


@pytest.fixture
def expect(driver: Any) -> Any:
    from playwright.sync_api import expect as wait

    return wait


def item(sheet: Any) -> Any:
    return sheet.panel.locator(".fx-where")


def test_it_says_where_cells_run_and_whether_that_is_warm(sheets: Any, expect: Any, picture: Any) -> None:
    sheet = sheets("%%remote\nx = 1")
    expect(item(sheet)).to_contain_text("local", timeout=WAIT)
    expect(item(sheet)).to_contain_text("cold", timeout=WAIT)
    sheet.done(0)
    picture(sheet.page, "toolbar-cold")
    sheet.done(1)
    expect(item(sheet)).to_contain_text("warm, idle", timeout=WAIT)
    item(sheet).click()
    menu = sheet.page.get_by_role("menu").filter(has_text="New Remote Session")
    expect(menu).to_be_visible()
    picture(sheet.page, "toolbar-warm")
