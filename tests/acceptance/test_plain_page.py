"""The card where our extension is not, as in VS Code's notebooks: HTML in a page that allows no script and no request.

What VS Code does with an output is written down here as its documents and its web views have it: of the types of a
bundle that it has a renderer for it takes the first of its own order; HTML goes as it is into a page with a content
security policy and the variables of the theme; an update takes the place of what has its display id.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.notebook.conftest import Kernel, Ran

ORDER = ("application/json", "application/javascript", "text/html", "image/svg+xml", "text/latex", "text/markdown")
ORDER += ("image/png", "image/jpeg", "text/plain")
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"
THEMES = {
    "light": "--vscode-charts-green:#388a34;--vscode-charts-blue:#1a85ff;--vscode-charts-orange:#d18616;"
    "--vscode-errorForeground:#a1260d;--vscode-descriptionForeground:#717171;background:#ffffff;color:#3b3b3b",
    "dark": "--vscode-charts-green:#89d185;--vscode-charts-blue:#3794ff;--vscode-charts-orange:#d18616;"
    "--vscode-errorForeground:#f48771;--vscode-descriptionForeground:#cccccca8;background:#1f1f1f;color:#cccccc",
}
BAD = "<img src=https://fx.invalid/x onerror=alert(1)><script>alert(2)</script>"
BARS = f"""%%remote --name "a name {BAD}"
import time, jupyter_fx as fx
for epoch in fx.progress(range(6), label={BAD!r}):
    print("\\x1b[31mred\\x1b[0m epoch", epoch)
    time.sleep(0.25)
if epoch == 5:
    raise ValueError({BAD!r})"""
MAP = """import jupyter_fx as fx
@fx.remote
def third(x):
    import time
    time.sleep(0.3)
    return 3 / x
found = list(third.map([1, 0, "<b>2</b>", 4]).results(errors=True))"""
GOOD = "%%remote\nimport time\ntime.sleep(0.7)\n'done'"


@pytest.fixture(scope="module")
def kernel(lab: Any) -> Iterator[Kernel]:
    folder = Path(tempfile.mkdtemp(prefix="k", dir=lab.folder))
    started = Kernel(folder)
    yield started
    started.close()


def chosen(bundle: dict[str, Any]) -> str:
    return next(kind for kind in ORDER if kind in bundle)


def stages(ran: Ran) -> list[list[str]]:
    """What the cell's output area holds after each message: the displays of it, as HTML."""
    area: dict[str, str] = {}
    found = []
    for _, kind, content in ran.outputs:
        if kind not in {"display_data", "update_display_data"}:
            continue
        name = content.get("transient", {}).get("display_id", "")
        if kind == "display_data" or name in area:
            gone = content["data"] == {"text/plain": ""}
            assert gone or chosen(content["data"]) == "text/html", content["data"]
            area[name] = content["data"].get("text/html", "")
        found.append([html for html in area.values() if html])
    return found


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    """A page without JavaScript that notes every request and complaint."""
    context = chromium.new_context(viewport={"width": 900, "height": 420}, java_script_enabled=False)
    found = context.new_page()
    found.asked, found.said = [], []
    found.on("request", lambda request: found.asked.append(request.url))
    found.on("console", lambda message: found.said.append(message.text))
    found.on("dialog", lambda dialog: found.said.append(dialog.message))
    yield found
    context.close()


def shown(page: Any, cards: list[str], theme: str = "light") -> Any:
    """The page with these cards."""
    policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    page.set_content(f'{policy}<body style="font:13px sans-serif;{THEMES[theme]}">{"".join(cards)}')
    assert page.locator("[role=group]").count() == len(cards)
    assert page.locator("script, style, link, img, iframe, form, button, object, embed, base").count() == 0
    assert [url for url in page.asked if not url.startswith(("about:", "data:"))] == [] and page.said == []
    return page


def keep(page: Any, cards: list[str], name: str) -> None:
    from tests.acceptance.conftest import ARTEFACTS

    ARTEFACTS.mkdir(exist_ok=True)
    for theme in THEMES:
        shown(page, cards, theme).screenshot(path=str(ARTEFACTS / f"plain-{name}-{theme}.png"))


def test_a_card_is_read_and_opened_without_a_script(kernel: Kernel, page: Any, expect: Any) -> None:
    ran = kernel.run(BARS)
    running = next(cards for cards in stages(ran) if "<progress" in cards[-1])
    shown(page, running)
    expect(page.get_by_role("status")).to_have_text("running")
    expect(page.get_by_role("progressbar")).to_have_attribute("max", "6")
    expect(page.get_by_role("group", name="remote cell").first).to_contain_text(BAD)
    keep(page, running, "running")

    (failed,) = stages(ran)[-1]
    shown(page, [failed])
    expect(page.get_by_role("status")).to_have_text("failed")
    # What is folded opens by the mouse, and by the keyboard.
    more = page.get_by_text(f"a name {BAD}")
    expect(more).to_be_hidden()
    page.locator("summary").click()
    expect(more).to_be_visible()
    keep(page, [failed], "failed")
    page.locator("summary").press("Enter")
    expect(more).to_be_visible()


def test_maps_and_quiet_ends_are_pages_too(kernel: Kernel, page: Any, expect: Any) -> None:
    (mapped,), (good,) = stages(kernel.run(MAP))[-1], stages(kernel.run(GOOD))[-1]
    shown(page, [mapped, good])
    table = page.get_by_role("table").first
    expect(table).to_contain_text("ZeroDivisionError: division by zero")
    expect(table.get_by_text("'<b>2</b>'", exact=True)).to_be_visible()
    expect(page.locator("summary").last).to_contain_text("✓ local")
    keep(page, [mapped, good], "ends")
