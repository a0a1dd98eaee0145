"""The notebook toolbar's item, and the commands: where cells run, and every way to change it."""

from __future__ import annotations

import re
from typing import Any

WAIT = 30_000
# A cell that is over at once shows no card.
SEEN = "%%remote\nimport time\ntime.sleep(1)"

PALETTE = {
    "Run This Cell Remotely": "Ctrl+Shift+Enter",
    "Insert %%remote": "Alt+R",
    "Choose Where Remote Cells Run": "Alt+Shift+R",
    "Show Endpoints, Sessions and Tasks": "Alt+Shift+P",
    "New Remote Session": "",
    "New Notebook on an Endpoint": "",
}


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
    menu.get_by_role("menuitem", name="Close Remote Session").click()
    sheet.page.get_by_role("dialog").get_by_role("button", name="Close").click()
    expect(item(sheet)).to_contain_text("cold", timeout=WAIT)


def test_another_endpoint_is_chosen_by_mouse_and_stays_the_notebooks(
    sheets: Any, expect: Any, picture: Any, second: str
) -> None:
    sheet = sheets(SEEN)
    expect(item(sheet)).to_contain_text("local", timeout=WAIT)
    item(sheet).click()
    choice = sheet.page.get_by_role("menuitem", name=second)
    expect(choice).to_be_visible(timeout=WAIT)
    picture(sheet.page, "toolbar-menu-two")
    choice.click()
    expect(item(sheet)).to_contain_text(second, timeout=WAIT)
    sheet.done(0)
    sheet.done(1)
    expect(sheet.card(1)).to_contain_text(second, timeout=WAIT)
    expect(item(sheet)).to_contain_text(re.compile(f"{second}.*warm"), timeout=WAIT)
    # The notebook keeps it, and tells a kernel that is new.
    sheet.save()
    assert sheet.lab.saved(sheet.name)["metadata"]["jupyter_fx"] == {"endpoint": second}
    sheet.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    expect(item(sheet)).to_contain_text(re.compile(f"{second}.*cold"), timeout=WAIT)
    sheet.ready()
    sheet.done(0)
    sheet.done(1)
    expect(sheet.card(1)).to_contain_text(second, timeout=WAIT)
    # Also when its cells are run at once: it is told before the first of them.
    sheet.command("notebook:clear-all-cell-outputs")
    sheet.page.evaluate("() => void window.jupyterapp.commands.execute('notebook:restart-run-all')")
    sheet.page.get_by_role("dialog").get_by_role("button", name="Confirm Kernel Restart").click()
    expect(sheet.card(1)).to_contain_text(second, timeout=WAIT)


def test_by_keyboard_a_cell_is_marked_and_run_and_the_menu_used(sheets: Any, expect: Any, second: str) -> None:
    sheet = sheets("6 * 7", "import time; time.sleep(1); 7 * 7")
    page = sheet.page
    keys = page.keyboard
    expect(item(sheet)).to_contain_text("local", timeout=WAIT)
    sheet.cell(1).locator(".jp-InputArea-editor").click()
    keys.press("Alt+r")
    expect(sheet.cell(1).locator(".jp-InputArea-editor")).to_contain_text(re.compile(r"%%remote\s*6 \* 7"))
    assert sheet.cell(1).locator(".jp-OutputArea-child").count() == 0
    keys.press("Escape")
    keys.press("j")
    keys.press("Control+Shift+Enter")
    expect(sheet.cell(2).locator(".jp-OutputArea").first).to_contain_text("49", timeout=WAIT)
    expect(sheet.card(2)).to_have_attribute("data-state", "succeeded", timeout=WAIT)
    keys.press("Escape")
    keys.press("Alt+Shift+r")
    menu = page.get_by_role("menu").filter(has_text="New Remote Session")
    expect(menu).to_be_visible()
    keys.press("ArrowDown")
    expect(menu.locator(".lm-mod-active")).to_contain_text("local")
    keys.press("Escape")
    expect(menu).to_be_hidden()
    expect(item(sheet)).to_be_focused()
    keys.press("Enter")
    expect(menu).to_be_visible()
    # A letter goes to the item that begins with it.
    keys.press(second[0])
    expect(menu.locator(".lm-mod-active")).to_contain_text(second)
    keys.press("Enter")
    expect(item(sheet)).to_contain_text(second, timeout=WAIT)
    keys.press("Control+Shift+c")
    palette = page.locator(".lm-CommandPalette")
    keys.type("remote")
    for name, shortcut in PALETTE.items():
        entry = palette.locator(".lm-CommandPalette-item").filter(has_text=name)
        expect(entry.locator(".lm-CommandPalette-itemShortcut")).to_have_text(shortcut)
