"""JupyterLab in another language: with a language pack made from our catalogue nothing that we say stays English."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import ARTEFACTS, BUILT, ROOT, running_lab

WAIT = 60_000
CATALOGUE = ROOT / "jupyter_fx" / "locale" / "jupyter_fx.pot"
NUMBERS = ("BCP 47 tag of the language, by which numbers are written", "en")
OURS = re.compile(r"«[^«»]*»")
# What else stands there: names, ids, numbers, what the hub and the endpoint say.
OTHERS = re.compile(r"%%remote|\blocal\b|division by zero|\S+\.ipynb|\bIn\[\d+\]|\broot\b|\b[0-9a-f]{8,32}\b")
PANEL = "#jupyter-fx-panel :is(button, h3, p, label, .fx-hub, .fx-row-state, .fx-about, .fx-charts)"
SAID = f"{PANEL}, .fx-card :is(button, .fx-line, dt), .fx-toolbar button, .fx-status button"


def pseudo(text: str) -> str:
    return f"«{text}»"


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language pack as pip installs one, for a German in which each of our texts is marked."""
    pytest.importorskip("babel", reason="Babel comes with JupyterLab: pip install jupyterlab")
    from babel.messages import mofile, pofile

    top: Path = tmp_path_factory.mktemp("pack")
    info = top / "jupyterlab_language_pack_de_DE-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: jupyterlab-language-pack-de-DE\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[jupyterlab.languagepack]\nde_DE = jupyterlab_language_pack_de_DE\n")
    package = top / "jupyterlab_language_pack_de_DE"
    messages = package / "locale" / "de_DE" / "LC_MESSAGES"
    messages.mkdir(parents=True)
    (package / "__init__.py").touch()
    head = {"domain": "jupyter_fx", "language": "de-DE", "plural_forms": "nplurals=2; plural=(n != 1);", "version": "1"}
    found: dict[str, Any] = {"": head}
    with CATALOGUE.open("rb") as stream:
        catalogue = pofile.read_po(stream)
    for message in catalogue:
        if message.id:
            texts = [message.id] if isinstance(message.id, str) else list(message.id)
            key = f"{message.context}\x04{texts[0]}" if message.context else texts[0]
            number = (message.context, texts[0]) == NUMBERS
            found[key] = ["de"] if number else [pseudo(text) for text in texts]
            message.string = tuple(found[key]) if len(texts) > 1 else found[key][0]
    # The page reads the one, the server (for the settings editor) the other.
    (messages / "jupyter_fx.json").write_text(json.dumps(found))
    with (messages / "jupyter_fx.mo").open("wb") as stream:
        mofile.write_mo(stream, catalogue)
    return top


@pytest.fixture
def german_lab(driver: Any, pack: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    if not BUILT.exists():
        pytest.skip("the labextension is not built: tools/build-labextension (needs node)")
    monkeypatch.setenv("PYTHONPATH", str(pack))
    with running_lab() as lab:
        chosen = lab.folder.parent / "settings" / "@jupyterlab" / "translation-extension" / "plugin.jupyterlab-settings"
        chosen.parent.mkdir(parents=True)
        chosen.write_text('{"locale": "de_DE"}')
        yield lab


def test_all_that_we_say_is_said_in_the_language_of_the_page(
    german_lab: Any, chromium: Any, new_sheet: Any, expect: Any, tmp_path: Path
) -> None:
    stop = tmp_path / "stop"
    name = german_lab.write(
        [
            "%load_ext jupyter_fx",
            "%%remote\n1 / 0",
            f"%%remote\nimport pathlib, time\nwhile not pathlib.Path({str(stop)!r}).exists():\n    time.sleep(0.1)",
        ]
    )
    context = chromium.new_context(viewport={"width": 1280, "height": 1400})
    sheet = new_sheet(german_lab, context.new_page(), name).open()
    page = sheet.page
    try:
        sheet.done(0)
        sheet.done(1)
        sheet.run(2)
        card = sheet.card(2)
        expect(card.locator(".fx-state")).to_have_text("«running»", timeout=WAIT)
        assert card.get_attribute("data-state") == "running"  # which style sheets read
        expect(card.locator(".fx-elapsed")).to_have_text(re.compile(r"^«\d,\d s»$|^«\d+ s»$"), timeout=WAIT)
        expect(sheet.card(1).locator(".fx-state")).to_have_text("«failed»")
        sheet.card(1).get_by_role("button", name="«Details»").click()
        sheet.command("jupyter-fx:open")
        tasks = page.get_by_role("region", name="«Tasks»")
        expect(tasks.locator(".fx-item").first).to_contain_text("«running»", timeout=WAIT)
        expect(sheet.panel.locator(".fx-where")).to_contain_text("«busy»", timeout=WAIT)
        expect(page.locator(".fx-status")).to_contain_text("«Remote: ", timeout=WAIT)
        ARTEFACTS.mkdir(exist_ok=True)
        page.screenshot(path=str(ARTEFACTS / "translated.png"))
        texts = page.locator(SAID).evaluate_all(
            "all => all.filter(one => one.checkVisibility()).map(one => one.textContent)"
        )
        left = {text: rest for text in texts if re.search(r"[a-z]{3}", rest := unsaid(text))}
        assert left == {}
        assert len(texts) > 20
        page.get_by_role("button", name="«New …»").click()
        form = page.locator("#jupyter-fx-panel .fx-field :is(label, .fx-help):visible")
        expect(form.first).to_contain_text("«", timeout=WAIT)
        assert [text for text in form.all_text_contents() if text and not OURS.fullmatch(text)] == []
        page.screenshot(path=str(ARTEFACTS / "translated-form.png"))
        stop.touch()
        expect(card).to_have_attribute("data-state", "succeeded", timeout=WAIT)
    finally:
        stop.touch()
        page.evaluate("() => window.jupyterapp.serviceManager.sessions.shutdownAll()")
        context.close()
    # The settings editor's words come from the server.
    settings = german_lab.ask("lab/api/settings/jupyter-fx:settings", method="GET")["schema"]
    assert settings["title"] == "«Remote cells (jupyter-fx)»"
    assert settings["properties"]["refresh"]["title"] == "«Seconds between looks at the hub»"


def unsaid(text: str) -> str:
    """What of a text is not ours, and not others' either."""
    before = None
    while before != text:
        before, text = text, OURS.sub("", text)
    return OTHERS.sub("", text)
