"""axe looks at the panel, cards, the toolbar's item with its menu and the status bar, in every theme of JupyterLab."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import ARTEFACTS, ROOT, wear

WAIT = 30_000
AXE = ROOT / "labextension" / "node_modules" / "axe-core" / "axe.min.js"
OURS = ["#jupyter-fx-panel", ".fx-output", ".fx-toolbar", ".fx-status"]
SERIOUS = {"serious", "critical"}
LOOK = """async where => {
    const found = await axe.run({ include: where.map(one => [one]) }, { resultTypes: ['violations'] });
    return found.violations.map(one => [one.impact, one.id, one.nodes.map(node => node.html).slice(0, 5)]);
}"""
BROKEN = """() => {
    const panel = document.querySelector('#jupyter-fx-panel');
    const button = document.createElement('button');
    button.id = 'broken';
    panel.append(button);
}"""
# Copies: what is drawn anew each second does not change them.
COPY = """one => {
    const copy = one.cloneNode(true);
    copy.dataset.copy = 'yes';
    one.parentElement.append(copy);
}"""
SHAPES = {
    # What is copied, the part that has a shape, the attribute that says which.
    ".fx-item": (".fx-dot", "state", ("good", "busy", "held", "bad", "off")),
    ".fx-card[data-state='running']": (".fx-mark", "state", ("queued", "running", "unreachable")),
    ".fx-where": (".fx-where-dot", "tone", ("warm", "busy", "cold", "held")),
}
SEEN = "%%remote\nimport time\ntime.sleep(1)\nprint('\\x1b[31mred\\x1b[0m')"
UNTIL_TOLD = """%%remote --bg --name audited
import pathlib, time
print("seen", flush=True)
while not pathlib.Path({stop!r}).exists():
    time.sleep(0.1)
"""


def serious(page: Any, where: list[str]) -> list[Any]:
    """What axe finds there that keeps people out."""
    return [found for found in page.evaluate(LOOK, where) if found[0] in SERIOUS]


def shapes(page: Any, of: str) -> dict[str, bytes]:
    """A picture of the sign of each state, and of none."""
    part, name, states = SHAPES[of]
    page.locator(of).first.evaluate(COPY)
    copy = page.locator("[data-copy]")
    copy.scroll_into_view_if_needed()
    where = copy.locator(part).bounding_box()
    found = {}
    for state in states:
        copy.evaluate("(one, [name, state]) => { one.dataset[name] = state; }", [name, state])
        found[state] = page.screenshot(clip=where)
    copy.locator(part).evaluate("one => { one.style.visibility = 'hidden'; }")
    found["nothing"] = page.screenshot(clip=where)
    copy.evaluate("one => one.remove()")
    return found


def test_axe_finds_nothing_serious_in_any_theme(sheets: Any, expect: Any, tmp_path: Path) -> None:
    if not AXE.exists():
        pytest.skip("axe-core is not installed: tools/build-labextension (needs node)")
    stop = tmp_path / "stop"
    sheet = sheets(SEEN, "%%remote\n1 / 0", UNTIL_TOLD.format(stop=str(stop)))
    page = sheet.page
    for number in range(4):
        sheet.done(number)
    expect(sheet.card(2)).to_have_attribute("data-state", "failed", timeout=WAIT)
    sheet.card(1).hover()
    sheet.card(1).get_by_role("button", name="Output").click()
    sheet.command("jupyter-fx:open")
    task = page.get_by_role("region", name="Tasks").locator(".fx-item").filter(has_text="audited")
    task.locator(".fx-row-head").click()
    expect(task.locator(".fx-rows")).to_contain_text("seen", timeout=WAIT)
    expect(page.locator(".fx-status")).to_contain_text("running", timeout=WAIT)
    page.add_script_tag(path=str(AXE))
    panel = page.locator("#jupyter-fx-panel")
    found: dict[str, Any] = {}
    ARTEFACTS.mkdir(exist_ok=True)
    for theme in ("Light", "Dark", "Dark High Contrast"):
        wear(page, theme)
        found[theme] = serious(page, OURS)
        sheet.panel.locator(".fx-where").click()
        menu = page.get_by_role("menu").filter(has_text="New Remote Session")
        expect(menu).to_be_visible()
        page.screenshot(path=str(ARTEFACTS / f"everything-{theme.lower().replace(' ', '-')}.png"))
        found[f"{theme}, menu"] = serious(page, [".fx-menu"])
        page.keyboard.press("Escape")
        for opens, shown in (("New …", "Name"), ("Hub …", "Address of another hub")):
            panel.get_by_role("button", name=opens).click()
            field = panel.get_by_label(shown, exact=True)
            expect(field).to_be_visible(timeout=WAIT)
            field.fill("Not one")
            found[f"{theme}, {opens}"] = serious(page, ["#jupyter-fx-panel"])
            page.screenshot(path=str(ARTEFACTS / f"form-{opens[0]}-{theme.lower().replace(' ', '-')}.png"))
            panel.get_by_role("button", name="Back").click()
    # A system that imposes its own colours: states have shapes there.
    alike = []
    for scheme in ("light", "dark"):
        page.emulate_media(forced_colors="active", color_scheme=scheme)
        page.screenshot(path=str(ARTEFACTS / f"everything-forced-colours-{scheme}.png"))
        for of in SHAPES:
            signs = shapes(page, of)
            alike += [(scheme, of, one, other) for one, other in combinations(signs, 2) if signs[one] == signs[other]]
    stop.touch()
    assert alike == []
    assert {theme: what for theme, what in found.items() if what} == {}
    # It would have found something.
    page.evaluate(BROKEN)
    assert [what[1] for what in serious(page, ["#jupyter-fx-panel"])] == ["button-name"]
