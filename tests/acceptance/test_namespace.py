"""Tab and Shift-Tab inside of a remote cell, in JupyterLab in a real browser: what the session has is offered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.conftest import expecting

WAIT = 60_000
MADE = """%%remote
class Telescope:
    mirror_width = 8.2
    def point_at(self, star: str, minutes=10):
        'Turn to a star and stay there.'
        return star
large_telescope = Telescope()
1"""
CELLS = [
    "%load_ext jupyter_fx",
    MADE,
    "del large_telescope, Telescope",
    "%%remote\nlarge_tele",
    "%%remote\nlarge_telescope.mirr",
    "%%remote\nlarge_telescope.point_at",
]


@pytest.fixture(scope="module")
def sheet(lab: Any, chromium: Any, new_sheet: Any) -> Iterator[Any]:
    page = chromium.new_page(viewport={"width": 1280, "height": 1400})
    opened = new_sheet(lab, page, lab.write(CELLS)).open()
    for number in (0, 1, 2):
        opened.done(number)
    yield opened
    page.evaluate("() => window.jupyterapp.serviceManager.sessions.shutdownAll()")
    page.close()


def at_the_end_of(sheet: Any, number: int) -> None:
    cell = sheet.cell(number)
    cell.locator(".jp-InputArea-editor").click()
    sheet.page.keyboard.press("Control+End")
    # Before that JupyterLab takes Tab for an indentation.
    expecting(cell.locator(".jp-mod-completer-enabled")).to_have_count(1, timeout=WAIT)


def offered(sheet: Any) -> Any:
    """What JupyterLab offers. At first it drops what it is told for a moment: then it is asked once more."""
    items = sheet.page.locator(".jp-Completer-item")
    sheet.page.keyboard.press("Tab")
    for _ in range(20):
        sheet.page.wait_for_timeout(1000)
        if items.count():
            break
        sheet.command("completer:invoke-notebook")
    return items.first


@pytest.mark.parametrize(("number", "found"), [(3, "large_telescope"), (4, "mirror_width")])
def test_tab_completes_what_only_the_session_has(sheet: Any, number: int, found: str) -> None:
    at_the_end_of(sheet, number)
    expecting(offered(sheet)).to_contain_text(found, timeout=WAIT)
    sheet.page.keyboard.press("Enter")
    expecting(sheet.cell(number).locator(".cm-content")).to_contain_text(found, timeout=WAIT)


def test_shift_tab_shows_signature_and_docstring_from_the_session(sheet: Any) -> None:
    at_the_end_of(sheet, 5)
    sheet.page.keyboard.press("Shift+Tab")
    tooltip = sheet.page.locator(".jp-Tooltip")
    expecting(tooltip).to_contain_text("minutes=10", timeout=WAIT)
    expecting(tooltip).to_contain_text("Turn to a star and stay there.", timeout=WAIT)
    sheet.page.keyboard.press("Escape")
