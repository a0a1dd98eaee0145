"""Endpoints made, changed and ended by mouse and keys alone, and another hub signed in at."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import panel_of, press, row

WAIT = 60_000


def field(panel: Any, setting: str) -> Any:
    return panel.locator(f"[data-setting='{setting}']")


def test_an_endpoint_is_made_by_the_form_used_changed_and_deleted(sheets: Any, expect: Any, picture: Any) -> None:
    sheet = sheets("%%remote made-here\nimport os\nprint('workers', os.environ['ENDPOINT_SAYS'])")
    sheet.done(0)
    panel = panel_of(sheet)
    press(panel, "New …")
    expect(panel.get_by_label("Name", exact=True)).to_be_focused(timeout=WAIT)

    # What is wrong is said beside its field as it is typed, and nothing is made of it.
    panel.get_by_label("Name", exact=True).fill("Made Here")
    panel.get_by_label("Provider").select_option("local")
    panel.get_by_label("Walltime").fill("an hour")
    expect(field(panel, "Blocks.walltime").locator(".fx-problem")).to_have_text(re.compile("HH:MM:SS"))
    panel.get_by_label("Walltime").fill("")
    panel.get_by_label("Workers").fill("-2")
    expect(field(panel, "Endpoint.workers").locator(".fx-problem")).to_have_text("it is 0 at least")
    expect(panel.get_by_label("Workers")).to_have_attribute("aria-invalid", "true")
    panel.get_by_label("Workers").fill("2")
    panel.get_by_text("More settings").click()
    panel.get_by_label("Init blocks").fill("9")
    problem = field(panel, "Blocks.init_blocks").locator(".fx-problem")
    expect(problem).to_have_text("it cannot be more than max_blocks, which is 2", timeout=WAIT)
    expect(panel.locator(".fx-field").first.locator(".fx-problem")).to_contain_text("lower-case letters")
    picture(sheet.page, "endpoint-form-wrong")
    panel.get_by_label("Init blocks").fill("0")
    panel.get_by_label("Env", exact=True).fill("ENDPOINT_SAYS=one")
    panel.get_by_label("Name", exact=True).fill("made-here")
    press(panel, "Create and start")

    made = row(panel, "Endpoints", "made-here")
    expect(made).to_contain_text("ready", timeout=WAIT)
    assert "workers one" in sheet.done(1).inner_text()
    expect(made).to_contain_text("local", timeout=WAIT)
    expect(made.locator(".fx-blocks li").last).to_contain_text("running", timeout=WAIT)
    # The memory of its session is read, not guessed.
    session = row(panel, "Sessions", "made-here")
    expect(session).to_contain_text(re.compile(r"memory \d+(\.\d)? MB"), timeout=WAIT)
    expect(session).to_contain_text("worker process")
    press(made, "What can be done about made-here")
    picture(sheet.page, "panel-endpoint-made")

    # Its settings are shown as they are, changed, and apply after the restart.
    press(made, "Configure")
    expect(panel.get_by_label("Workers")).to_have_value("2", timeout=WAIT)
    panel.get_by_text("More settings").click()
    expect(panel.get_by_label("Env", exact=True)).to_have_value("ENDPOINT_SAYS=one")
    panel.get_by_label("Env", exact=True).fill("ENDPOINT_SAYS=two")
    press(panel, "Save and restart")
    expect(made).to_contain_text("ready", timeout=WAIT)
    press(made, "Stop")
    expect(made).to_contain_text("its agent does not run", timeout=WAIT)
    press(made, "Log")
    expect(panel.locator(".fx-page-log")).to_contain_text("agent", timeout=WAIT)
    panel.get_by_role("button", name="Back").click()
    press(made, "Start")
    expect(made).to_contain_text("ready", timeout=WAIT)
    press(made, "Delete")
    sheet.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(made).to_have_count(0, timeout=WAIT)


def test_an_endpoint_that_does_not_start_says_why_and_is_put_right(sheets: Any, expect: Any, picture: Any) -> None:
    sheet = sheets()
    panel = panel_of(sheet)
    press(panel, "New …")
    panel.get_by_label("Name", exact=True).fill("wrong-python")
    panel.get_by_text("More settings").click()
    panel.locator("[data-setting='Endpoint.python'] input").fill("/nowhere/python")
    press(panel, "Create and start")
    expect(panel.get_by_role("alert")).to_contain_text("wrong-python is made, but it did not start", timeout=WAIT)
    expect(panel.locator(".fx-page-log")).to_contain_text("/nowhere/python")
    picture(sheet.page, "endpoint-form-not-started")
    panel.locator("[data-setting='Endpoint.python'] input").fill("")
    press(panel, "Save and start")
    wrong = row(panel, "Endpoints", "wrong-python")
    expect(wrong).to_contain_text("ready", timeout=WAIT)
    press(wrong, "What can be done about wrong-python")
    press(wrong, "Delete")
    sheet.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(wrong).to_have_count(0, timeout=WAIT)


@pytest.fixture
def other_hub(tmp_path: Path, lab: Any) -> Iterator[dict[str, Any]]:
    """Another fx hub, as one on another machine would be: an address and a token for it."""
    places = {f"JUPYTER_FX_{place}_DIR": str(tmp_path / place) for place in ("RUNTIME", "STATE", "CONFIG")}
    with (tmp_path / "hub.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyter_fx_hub"], env={**os.environ, **places}, stdout=log, stderr=log
        )
    file = tmp_path / "RUNTIME" / "hub.json"
    try:
        until = time.monotonic() + 60
        while not file.exists():
            assert time.monotonic() < until, (tmp_path / "hub.log").read_text()
            time.sleep(0.1)
        yield json.loads(file.read_text())
    finally:
        process.terminate()
        process.wait(20)
        leave = urllib.request.Request(
            f"{lab.url}jupyter-fx/hub/leave", data=b'{"forget": true}', headers={"Authorization": "token sesame"}
        )
        urllib.request.urlopen(leave, timeout=30).close()


def test_another_hub_is_signed_in_at_and_left(
    sheets: Any, expect: Any, picture: Any, other_hub: dict[str, Any]
) -> None:
    sheet = sheets()
    page, panel = sheet.page, panel_of(sheet)
    expect(row(panel, "Endpoints", "local")).to_be_visible(timeout=WAIT)
    press(panel, "Hub …")
    panel.get_by_label("Address of another hub").fill("somewhere")
    expect(panel.locator(".fx-problem").first).to_contain_text("https://HOST")
    panel.get_by_label("Address of another hub").fill(other_hub["url"])
    panel.get_by_label("Token", exact=True).fill("not the token")
    press(panel, "Sign in")
    expect(panel.get_by_role("alert")).to_contain_text("token", timeout=WAIT)
    expect(panel.get_by_label("Token", exact=True)).to_have_value("")
    picture(page, "hub-refused")
    panel.get_by_label("Token", exact=True).fill(other_hub["token"])
    press(panel, "Sign in")
    expect(panel.locator(".fx-hub")).to_contain_text("127.0.0.1", timeout=WAIT)
    expect(panel.get_by_role("region", name="Endpoints")).to_contain_text("No endpoint yet", timeout=WAIT)
    # What is made now belongs to that hub.
    press(panel, "New …")
    panel.get_by_label("Name", exact=True).fill("elsewhere")
    press(panel, "Create")
    elsewhere = row(panel, "Endpoints", "elsewhere")
    expect(elsewhere).to_contain_text("its agent does not run", timeout=WAIT)
    expect(row(panel, "Endpoints", "local")).to_have_count(0)
    picture(page, "panel-other-hub")
    press(elsewhere, "What can be done about elsewhere")
    press(elsewhere, "Delete")
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(elsewhere).to_have_count(0, timeout=WAIT)
    kept = page.evaluate("() => JSON.stringify([localStorage, sessionStorage, document.documentElement.innerHTML])")
    assert other_hub["token"] not in kept
    press(panel, "Hub …")
    panel.get_by_label("Forget its token, too").check()
    press(panel, "Leave this hub")
    expect(row(panel, "Endpoints", "local")).to_be_visible(timeout=WAIT)
