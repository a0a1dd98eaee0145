"""The panel in a real browser: what it shows is how it is, and its buttons do what they say."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyter_fx.embedded.files import locked
from tests.acceptance.conftest import ARTEFACTS, panel_of, press, row

WAIT = 30_000
UNTIL_TOLD = """%%remote --bg --name {name}
import pathlib, time
n = 0
while not pathlib.Path({stop!r}).exists():
    print(f"line {{n}}", flush=True)
    n += 1
    time.sleep(0.1)
"""


def test_it_shows_what_there_is_and_follows_a_task(sheets: Any, expect: Any, picture: Any, tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    sheet = sheets(UNTIL_TOLD.format(name="watched", stop=str(stop)))
    sheet.done(0)
    sheet.done(1)
    panel = panel_of(sheet)
    expect(panel.locator(".fx-hub")).to_contain_text("Connected to the fx hub", timeout=WAIT)
    expect(row(panel, "Endpoints", "local")).to_contain_text("ready", timeout=WAIT)
    expect(row(panel, "Endpoints", "local")).to_contain_text("In use", timeout=WAIT)
    expect(row(panel, "Sessions", sheet.name)).to_contain_text("busy", timeout=WAIT)
    task = row(panel, "Tasks", "watched")
    expect(task).to_contain_text("running", timeout=WAIT)
    expect(task).to_contain_text(sheet.name)
    expect(row(panel, "Endpoints", "local")).to_contain_text(
        re.compile(r"workers: 1 busy, .*1 task runs"), timeout=WAIT
    )
    task.get_by_role("button", name=re.compile("watched")).click()
    expect(task.locator(".fx-rows")).to_contain_text("line 0", timeout=WAIT)
    lines = int(task.locator(".fx-row").last.inner_text().split()[1])
    expect(task.locator(".fx-rows")).to_contain_text(f"line {lines + 5}", timeout=WAIT)
    picture(sheet.page, "panel-running")
    press(task, "Cancel")
    expect(task).to_contain_text("cancelled", timeout=WAIT)
    expect(task.get_by_role("button", name="Cancel", exact=True)).to_be_hidden()


def test_a_session_is_renewed_its_notebook_opened_and_it_is_closed_after_a_question(sheets: Any, expect: Any) -> None:
    sheet = sheets("%%remote\nx = 1")
    sheet.done(0)
    sheet.done(1)
    panel = panel_of(sheet)
    session = row(panel, "Sessions", sheet.name)
    expect(session).to_contain_text(
        re.compile(r"idle for (4|\d\d|[5-9])(\.\d)? s, ends in .* worker process \d"), timeout=WAIT
    )
    expect(row(panel, "Endpoints", "local")).to_contain_text(
        re.compile(r"workers: 0 busy, (1 held by an idle session|\d held by idle sessions), \d idle"), timeout=WAIT
    )
    press(session, "Renew")
    expect(session).to_contain_text(re.compile(r"idle for (\d+ ms|[0-3](\.\d)? s)"), timeout=WAIT)
    sheet.command("launcher:create")
    expect(sheet.panel).to_be_hidden(timeout=WAIT)
    press(session, "Open")
    expect(sheet.panel).to_be_visible(timeout=WAIT)
    press(session, "Close")
    sheet.page.get_by_role("dialog").get_by_role("button", name="Close").click()
    expect(session).to_have_count(0, timeout=WAIT)


def test_a_task_is_attached_to_the_notebook_in_front(sheets: Any, expect: Any) -> None:
    sheet = sheets("%%remote --name brought-back\nprint('seen again')\n6 * 7")
    sheet.done(0)
    sheet.done(1)
    panel = panel_of(sheet)
    task = row(panel, "Tasks", "brought-back")
    # By the keyboard alone.
    task.get_by_role("button", name=re.compile("brought-back")).focus()
    sheet.page.keyboard.press("Enter")
    sheet.page.keyboard.press("Tab")
    expect(task.get_by_role("button", name="Attach")).to_be_focused()
    sheet.page.keyboard.press("Enter")
    expect(sheet.panel.locator(".jp-OutputArea").filter(has_text="seen again")).to_have_count(2, timeout=WAIT)


def test_a_hub_killed_mid_run_is_said_to_be_gone_comes_back_and_nothing_of_the_run_is_lost(
    sheets: Any, expect: Any, picture: Any, kill_hub: Callable[[], None], tmp_path: Path
) -> None:
    stop = tmp_path / "stop"
    sheet = sheets(UNTIL_TOLD.format(name="through-it-all", stop=str(stop)) + "print('the end')")
    sheet.done(0)
    sheet.done(1)
    panel = panel_of(sheet)
    task = row(panel, "Tasks", "through-it-all")
    expect(task).to_contain_text("running", timeout=WAIT)
    task.get_by_role("button", name=re.compile("through-it-all")).click()
    expect(task.locator(".fx-rows")).to_contain_text("line 0", timeout=WAIT)
    # Whoever misses it starts it again at once: not before this has been looked at.
    with locked("start.lock", 60.0):
        kill_hub()
        # What was last seen stays, and is said to be old.
        expect(panel.locator(".fx-hub")).to_contain_text("What follows is as of", timeout=WAIT)
        expect(panel).to_have_class(re.compile(r"\bfx-stale\b"))
        assert task.is_visible()
        sheet.page.screenshot(path=str(ARTEFACTS / "panel-without-hub.png"))
    # Nobody does anything: it is back.
    expect(panel.locator(".fx-hub")).to_contain_text("Connected", timeout=WAIT)
    expect(panel).not_to_have_class(re.compile(r"\bfx-stale\b"), timeout=WAIT)
    lines = int(task.locator(".fx-row").last.inner_text().split()[1])
    expect(task.locator(".fx-rows")).to_contain_text(f"line {lines + 5}", timeout=WAIT)
    picture(sheet.page, "panel-hub-back")
    stop.touch()
    expect(task).to_contain_text("succeeded", timeout=WAIT)
    expect(task.locator(".fx-row").last).to_contain_text("the end", timeout=WAIT)
    # Each line once and in order, in the panel and below the cell.
    below = sheet.cell(1).locator(".jp-OutputArea").first
    expect(below).to_contain_text("the end", timeout=WAIT)
    for shown in (task.locator(".fx-rows"), below):
        told = [int(n) for n in re.findall(r"^line (\d+)", shown.inner_text(), re.MULTILINE)]
        assert told == list(range(len(told)))
        assert len(told) > lines


def test_a_cell_is_run_remotely_from_its_menu(sheets: Any, expect: Any) -> None:
    sheet = sheets("import socket\nprint('there')")
    sheet.cell(1).locator(".jp-InputArea-editor").click(button="right")
    sheet.page.get_by_role("menuitem", name="Run This Cell Remotely").click()
    expect(sheet.cell(1).locator(".jp-OutputArea").first).to_contain_text("there", timeout=WAIT)
    expect(sheet.cell(1).locator(".jp-InputArea-editor")).to_contain_text(re.compile(r"%%remote\s*import"))
