"""What is told of tasks that took long, to who set how long that is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

WAIT = 30_000
TASK = "%%remote --bg --name {name}\nimport time\ntime.sleep({long})"
SETTINGS = "lab/api/settings/jupyter-fx:settings"


@pytest.fixture
def set_to(labextension: Any) -> Iterator[Any]:
    """Set what the settings editor would; as it was, after the test."""
    yield lambda **values: labextension.ask(SETTINGS, {"raw": json.dumps(values)}, "PUT")
    labextension.ask(SETTINGS, {"raw": "{}"}, "PUT")


def test_the_end_of_a_background_task_is_told_once_to_who_wants_it_and_leads_to_it(
    sheets: Any, expect: Any, picture: Any, set_to: Any
) -> None:
    set_to(notify=True, notifyAfter=1)
    tasks = {"quick": 0, "slow": 1.5, "silent": 0.5}
    sheet = sheets(*(TASK.format(name=name, long=long) for name, long in tasks.items()))
    toasts = sheet.page.locator(".Toastify__toast")
    sheet.done(0)
    sheet.done(1)
    sheet.done(2)
    told = toasts.filter(has_text=re.compile(r"slow on local: succeeded after \d"))
    expect(told).to_have_count(1, timeout=WAIT)
    assert toasts.filter(has_text="quick").count() == 0
    picture(sheet.page, "notification")
    told.get_by_role("button", name="Show tasks").click()
    panel = sheet.page.locator("#jupyter-fx-panel")
    expect(panel.get_by_role("region", name="Tasks").locator(".fx-item").filter(has_text="slow")).to_be_visible()
    # Another page of this browser does not tell it again; and who wants to hear nothing hears nothing.
    set_to(notify=False, notifyAfter=0)
    sheet.reload()
    sheet.ready()
    sheet.done(3)
    sheet.command("jupyter-fx:open")
    expect(panel.locator(".fx-item").filter(has_text="silent")).to_contain_text("succeeded", timeout=WAIT)
    assert toasts.count() == 0
