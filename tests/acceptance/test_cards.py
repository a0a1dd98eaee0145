"""Cards in a real browser: live without the kernel, truthful whatever happened to it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WAIT = 30_000
MIME = "application/vnd.jupyter-fx.task+json"

COUNTING = """%%remote
import time
for n in range({count}):
    print(f"line {{n}}", flush=True)
    time.sleep({pause})
"""

ANIMATED = """() => document.getAnimations()
    .map(one => one.effect.target).filter(node => node?.closest('.fx-output')).map(node => node.className)"""

UNTIL_TOLD = """%%remote
import pathlib, time
n = 0
while not pathlib.Path({stop!r}).exists():
    print(f"line {{n}}", flush=True)
    n += 1
    time.sleep(0.1)
print("the end")
"""

SETTLED = """number => {
    const { content, context } = window.jupyterapp.shell.currentWidget;
    const outputs = content.widgets[number].model.toJSON().outputs;
    const cards = outputs.map(one => one.data?.['application/vnd.jupyter-fx.task+json']).filter(Boolean);
    return cards.every(card => card.state === 'succeeded') && !context.model.dirty;
}"""


def cards(book: Any, cell: int) -> list[Any]:
    return [out["data"][MIME] for out in book["cells"][cell]["outputs"] if MIME in out.get("data", {})]


def test_output_is_live_and_the_card_is_one_quiet_line_in_the_end(
    sheets: Any, expect: Any, picture: Any, tmp_path: Path
) -> None:
    stop = tmp_path / "stop"
    sheet = sheets(UNTIL_TOLD.format(stop=str(stop)))
    sheet.done(0)
    area = sheet.run(1)
    expect(area).to_contain_text("line 1", timeout=WAIT)
    card = sheet.card(1)
    expect(card).to_have_attribute("data-state", "running", timeout=WAIT)
    expect(card.get_by_role("button", name="Cancel")).to_be_visible()
    # An animation, however small, draws sixty frames a second for as long as the cell runs.
    assert sheet.page.evaluate(ANIMATED) == []
    picture(sheet.page, "card-running")
    stop.touch()
    expect(card).to_have_attribute("data-state", "succeeded", timeout=WAIT)
    expect(card).to_have_class(re.compile("fx-quiet"))
    expect(area).to_contain_text("the end")
    assert card.bounding_box()["height"] < 40
    picture(sheet.page, "card-succeeded")
    # The renderer is ours, not the HTML beside it.
    assert sheet.cell(1).locator(".fx-output").count() == 1


def test_a_blocking_cell_is_cancelled_by_its_cards_button(sheets: Any, expect: Any, picture: Any) -> None:
    # Far longer than anybody waits here: who sees its end has stopped it.
    sheet = sheets(COUNTING.format(count=6000, pause=0.1), "'free again'")
    sheet.done(0)
    area = sheet.run(1)
    expect(area).to_contain_text("line 5", timeout=WAIT)
    sheet.card(1).get_by_role("button", name="Cancel").click()
    expect(sheet.card(1)).to_have_attribute("data-state", "cancelled", timeout=WAIT)
    expect(area).to_contain_text("KeyboardInterrupt", timeout=WAIT)
    picture(sheet.page, "card-cancelled")
    expect(sheet.done(2)).to_contain_text("free again")


def test_after_a_reload_the_card_shows_what_the_notebook_misses(
    sheets: Any, expect: Any, picture: Any, tmp_path: Path
) -> None:
    stop = tmp_path / "stop"
    sheet = sheets(UNTIL_TOLD.format(stop=str(stop)))
    sheet.done(0)
    area = sheet.run(1)
    expect(area).to_contain_text("line 3", timeout=WAIT)
    expect(sheet.card(1)).to_have_attribute("data-state", "running", timeout=WAIT)
    sheet.save()
    sheet.reload()
    card = sheet.card(1)
    # All of it from its beginning, and on, although no kernel message reaches this page's cell.
    expect(card.locator(".fx-rows")).to_contain_text("line 0", timeout=WAIT)
    lines = int(card.locator(".fx-row").last.inner_text().split()[1])
    expect(card.locator(".fx-rows")).to_contain_text(f"line {lines + 10}", timeout=WAIT)
    expect(card).to_have_attribute("data-state", "running")
    picture(sheet.page, "card-reloaded")
    stop.touch()
    expect(card).to_have_attribute("data-state", "succeeded", timeout=WAIT)
    expect(card.locator(".fx-rows")).to_contain_text("the end", timeout=WAIT)
    sheet.save()
    saved = cards(sheet.lab.saved(sheet.name), 1)
    assert [card["state"] for card in saved] == ["succeeded"]
    assert "the end" in saved[0]["tail"]
    # Reopened, it says so without asking anybody.
    sheet.reload()
    expect(sheet.card(1)).to_have_attribute("data-state", "succeeded", timeout=WAIT)
    expect(sheet.card(1)).to_contain_text("the end")


def test_after_a_kernel_restart_the_card_goes_on_and_says_how_it_ended(
    sheets: Any, expect: Any, picture: Any, tmp_path: Path
) -> None:
    stop = tmp_path / "stop"
    sheet = sheets(UNTIL_TOLD.format(stop=str(stop)))
    sheet.done(0)
    area = sheet.run(1)
    expect(area).to_contain_text("line 3", timeout=WAIT)
    card = sheet.card(1)
    expect(card).to_have_attribute("data-state", "running", timeout=WAIT)
    sheet.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    # A kernel that ends stops nothing: the card takes over what the kernel does not tell any more.
    expect(card.locator(".fx-rows")).to_contain_text("line 0", timeout=WAIT)
    expect(card).to_have_attribute("data-state", "running")
    picture(sheet.page, "card-kernel-restarted")
    stop.touch()
    expect(card).to_have_attribute("data-state", "succeeded", timeout=WAIT)
    expect(card.locator(".fx-rows")).to_contain_text("the end", timeout=WAIT)
    sheet.save()
    assert cards(sheet.lab.saved(sheet.name), 1)[0]["state"] == "succeeded"


def test_nobody_is_asked_to_save_what_a_card_wrote(sheets: Any, expect: Any, tmp_path: Path) -> None:
    stops = [tmp_path / name for name in "abc"]
    sheet = sheets(*(UNTIL_TOLD.format(stop=str(stop)).replace("%%remote", "%%remote --bg", 1) for stop in stops))
    page = sheet.page

    def begin(number: int) -> None:
        sheet.done(number)
        expect(sheet.card(number)).to_have_attribute("data-state", "running", timeout=WAIT)
        sheet.save()

    def settled(number: int) -> None:
        """The open notebook has the end, and nothing to save."""
        expect(sheet.card(number)).to_have_attribute("data-state", "succeeded", timeout=WAIT)
        page.wait_for_function(SETTLED, arg=number, timeout=WAIT)

    def in_file(number: int) -> list[str]:
        try:
            return [card["state"] for card in cards(sheet.lab.saved(sheet.name), number)]
        except json.JSONDecodeError:  # it is being written
            return []

    def kept(number: int) -> None:
        until = time.monotonic() + WAIT / 1000
        while in_file(number) != ["succeeded"]:
            assert time.monotonic() < until, f"the file still says {in_file(number)}"
            page.wait_for_timeout(100)

    sheet.done(0)
    begin(1)
    stops[0].touch()
    settled(1)
    kept(1)
    # It ends while the notebook is closed.
    begin(2)
    page.goto("about:blank")
    stops[1].touch()
    sheet.open()
    settled(2)
    kept(2)
    # Who does not want JupyterLab to save by itself is not asked either, and nothing is saved.
    begin(3)
    sheet.command("docmanager:toggle-autosave")
    try:
        page.goto("about:blank")
        stops[2].touch()
        sheet.open()
        settled(3)
        assert in_file(3) == ["running"]
    finally:
        sheet.command("docmanager:toggle-autosave")


def test_two_notebooks_at_once_are_not_mixed_up(sheets: Any, expect: Any, tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    first, second = sheets(UNTIL_TOLD.format(stop=str(stop))), sheets(UNTIL_TOLD.format(stop=str(stop)))
    for sheet in (first, second):
        sheet.done(0)
    first.page.bring_to_front()
    first.run(1)
    second.page.bring_to_front()
    second.run(1)
    expect(second.card(1)).to_have_attribute("data-state", "running", timeout=WAIT)
    expect(first.card(1)).to_have_attribute("data-state", "running", timeout=WAIT)
    ids = {sheet.card(1).get_attribute("data-task") for sheet in (first, second)}
    assert len(ids) == 2
    second.card(1).get_by_role("button", name="Cancel").click()
    expect(second.card(1)).to_have_attribute("data-state", "cancelled", timeout=WAIT)
    expect(first.card(1)).to_have_attribute("data-state", "running")
    stop.touch()
    expect(first.card(1)).to_have_attribute("data-state", "succeeded", timeout=WAIT)


def test_a_hub_that_is_killed_comes_back_and_nothing_is_missing(
    sheets: Any, expect: Any, kill_hub: Callable[[], None], tmp_path: Path
) -> None:
    stop = tmp_path / "stop"
    sheet = sheets(UNTIL_TOLD.format(stop=str(stop)))
    sheet.done(0)
    area = sheet.run(1)
    expect(area).to_contain_text("line 3", timeout=WAIT)
    expect(sheet.card(1)).to_have_attribute("data-state", "running", timeout=WAIT)
    sheet.save()
    sheet.reload()
    card = sheet.card(1)
    expect(card.locator(".fx-rows")).to_contain_text("line 5", timeout=WAIT)
    kill_hub()
    # Somebody of this user starts it again, perhaps before the card could have said so (the panel's tests keep it down
    # for longer); what was seen stands, and the story goes on where it stopped.
    expect(card.locator(".fx-trouble")).to_be_hidden(timeout=WAIT)
    before = int(card.locator(".fx-row").last.inner_text().split()[1])
    expect(card.locator(".fx-rows")).to_contain_text(f"line {before + 10}", timeout=WAIT)
    stop.touch()
    expect(card).to_have_attribute("data-state", "succeeded", timeout=WAIT)
    expect(card.locator(".fx-rows")).to_contain_text("the end", timeout=WAIT)
    while card.get_by_role("button", name="Show earlier").is_visible():
        card.get_by_role("button", name="Show earlier").click()
    rows = [row for row in card.locator(".fx-row").all_inner_texts() if row.startswith("line")]
    assert rows == [f"line {n}" for n in range(len(rows))]


def test_the_end_of_what_took_long_is_told_to_who_asked_for_it(sheets: Any, expect: Any) -> None:
    long, short = COUNTING.format(count=7, pause=0.5), COUNTING.format(count=8, pause=0.1)
    sheet = sheets("%fx notify 3", long, short)
    sheet.done(0)
    toasts = sheet.page.locator(".Toastify__toast")
    sheet.run(1)
    sheet.run(3)
    expect(sheet.card(3)).to_have_attribute("data-state", "succeeded", timeout=WAIT)
    assert toasts.count() == 0
    sheet.run(2)
    expect(toasts.filter(has_text=re.compile(r"on local: succeeded after ([3-9]|\d\d)\.\d s"))).to_have_count(
        1, timeout=WAIT
    )


def test_long_output_is_folded_searched_and_downloaded(sheets: Any, expect: Any, picture: Any) -> None:
    body = "%%remote\nimport time\nfor n in range(1500):\n    print(f'\\x1b[3{n % 8}mrow {n}\\x1b[0m of many')\n"
    body += "time.sleep(1)"
    sheet = sheets(body)
    sheet.done(0)
    sheet.done(1)
    card = sheet.card(1)
    card.hover()
    card.get_by_role("button", name="Output").click()
    expect(card.locator(".fx-log-bar")).to_contain_text("1,500 lines", timeout=WAIT)
    assert card.locator(".fx-row").count() == 200
    card.get_by_role("button", name="Show earlier").click()
    expect(card.locator(".fx-row")).to_have_count(1200)
    card.get_by_role("searchbox").fill("row 77")
    expect(card.locator(".fx-row")).to_have_count(11)
    expect(card.locator(".fx-log-bar")).to_contain_text("11 of 1,500 lines")
    picture(sheet.page, "card-search")
    with sheet.page.expect_download() as download:
        card.get_by_role("button", name="Download").click()
    text = download.value.path().read_text()
    assert text.count("\n") == 1500
    assert download.value.suggested_filename.endswith(".log")


def test_a_notebook_from_elsewhere_sends_nothing_before_a_click(sheets: Any, expect: Any, labextension: Any) -> None:
    import nbformat

    shot = {"version": 1, "kind": "cell", "task_id": "0" * 32, "state": "running", "endpoint": "theirs"}
    shot |= {"submitted": 1.7e9, "as_of": 1.7e9, "elapsed": 5.0}
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("%%remote\n1")])
    book.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    book.cells[0].outputs = [nbformat.v4.new_output("display_data", {MIME: shot, "text/plain": "theirs"})]
    nbformat.write(book, labextension.folder / "foreign.ipynb")
    asked: list[str] = []
    sheet = sheets(name="foreign.ipynb")
    page = sheet.page
    page.on("request", lambda request: asked.append(request.url))
    # The page's socket is open for its toolbar; nothing of the notebook may be said on it.
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: asked.append(str(frame))))
    sheet.reload()
    card = sheet.card(0)
    expect(card).to_contain_text("as of", timeout=WAIT)
    page.wait_for_timeout(1500)
    assert [url for url in asked if "/jupyter-fx/" in url and "/extensions/" not in url] == []
    assert [said for said in asked if "follow" in said or shot["task_id"] in said] == []
    expect(card.get_by_role("button", name="Cancel")).to_be_hidden()
    card.get_by_role("button", name="Ask the hub").click()
    expect(card).to_contain_text("no task", timeout=WAIT)
    assert any("follow" in said and shot["task_id"] in said for said in asked)


def test_a_worker_that_dies_is_one_sentence_with_its_details_folded(sheets: Any, expect: Any, picture: Any) -> None:
    sheet = sheets("%%remote\nimport os, time\nprint('last words', flush=True)\ntime.sleep(1)\nos._exit(3)")
    sheet.done(0)
    area = sheet.done(1)
    fold = sheet.card(1).locator("details")
    expect(fold.get_by_text("exit code: 3")).to_be_hidden(timeout=WAIT)
    expect(area).to_contain_text("exited with code 3")
    fold.get_by_text("Details").click()
    expect(fold.get_by_text("exit code: 3")).to_be_visible()
    picture(sheet.page, "card-worker-lost")
