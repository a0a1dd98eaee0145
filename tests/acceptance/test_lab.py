"""JupyterLab in a real browser: the quickstart opened, run and looked at. Screenshots go to tests/artefacts/."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ARTEFACTS = Path(__file__).resolve().parents[1] / "artefacts"
WAIT = 60_000


@pytest.fixture(scope="module")
def sheet(lab: Any, chromium: Any, new_sheet: Any) -> Iterator[Any]:
    """The quickstart, open, its kernel idle."""
    page = chromium.new_page(viewport={"width": 1280, "height": 1400})
    yield new_sheet(lab, page, "quickstart.ipynb").open()
    page.close()


def wait_for(locator: Any, text: str) -> None:
    from playwright.sync_api import expect

    expect(locator).to_contain_text(text, timeout=WAIT)


def picture(page: Any, name: str) -> None:
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=str(ARTEFACTS / name))


def test_the_status_shows_the_local_endpoint(sheet: Any) -> None:
    wait_for(sheet.run(0), "→local")


def test_a_remote_cell_shows_what_it_prints_and_its_card(sheet: Any) -> None:
    area = sheet.run(1)
    wait_for(area, "1347 images to learn from")
    wait_for(area, "✓ local")
    wait_for(area, "digits stays on local")
    picture(sheet.page, "lab-first-cell.png")


def test_lines_are_seen_while_the_cell_runs(sheet: Any) -> None:
    training = sheet.run(3)
    area = training
    wait_for(area, "epoch 1")
    assert "epoch 8" not in area.inner_text()
    picture(sheet.page, "lab-training-live.png")
    wait_for(area, "epoch 8")
    wait_for(area, "✓ local")
    picture(sheet.page, "lab-training-done.png")


def test_a_figure_made_there_is_drawn_here(sheet: Any) -> None:
    wait_for(sheet.run(4), "are read wrongly")
    area = sheet.run(5)
    from playwright.sync_api import expect

    expect(area.locator("img")).to_be_visible(timeout=WAIT)
    wait_for(area, "✓ local")
    picture(sheet.page, "lab-figure.png")


def test_an_error_shows_the_cells_own_line(sheet: Any) -> None:
    area = sheet.run(7)
    wait_for(area, "division by zero")
    wait_for(area, "share = half / 0")
    assert "jupyter_fx" not in area.inner_text()
    picture(sheet.page, "lab-error.png")


def test_a_background_cell_is_cancelled_and_says_so_under_itself(sheet: Any) -> None:
    background = sheet.run(9)
    wait_for(background, "remote cell In[")
    wait_for(sheet.run(10), "is interrupted")
    wait_for(background, "cancelled")
    picture(sheet.page, "lab-cancelled.png")
