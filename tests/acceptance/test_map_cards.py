"""The card of a map in a real browser: live and truthful without the kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WAIT = 30_000
MIME = "application/vnd.jupyter-fx.task+json"

MAPPED = """import pathlib, time, jupyter_fx as fx
@fx.remote(endpoint="local")
def reading(n):
    while n >= 6 and not pathlib.Path({stop!r}).exists():
        time.sleep(0.05)
    if n in (3, 21):
        raise ValueError(f"no reading of sensor {{n}}")
    return n
going = reading.map(range(40), chunksize=2)"""


def saved(sheet: Any) -> Any:
    outputs = sheet.lab.saved(sheet.name)["cells"][1]["outputs"]
    return next(out["data"][MIME] for out in outputs if MIME in out.get("data", {}))


def test_a_maps_card_goes_on_after_a_reload_and_a_restart(
    sheets: Any, expect: Any, picture: Any, tmp_path: Path
) -> None:
    stop = tmp_path / "stop"
    sheet = sheets(MAPPED.format(stop=str(stop)))
    sheet.done(0)
    sheet.done(1)
    card = sheet.card(1)
    expect(card).to_contain_text("6 of 40 done", timeout=WAIT)
    expect(card).to_contain_text("no reading of sensor 3")
    sheet.save()
    sheet.reload()
    # No message of its kernel reaches this page's cell: what is told is the hub's.
    expect(card).to_have_attribute("data-state", "running", timeout=WAIT)
    expect(card).to_have_class("fx-card fx-living")
    expect(card).to_contain_text("1 failed")
    expect(card.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "15")
    picture(sheet.page, "map-reloaded")
    sheet.ready()
    sheet.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    stop.touch()
    expect(card).to_have_attribute("data-state", "failed", timeout=WAIT)
    expect(card).to_contain_text("40 of 40 done · 2 failed")
    # The one was told by the kernel; the other, which no kernel knows of, by the worker.
    expect(card.locator(".fx-failures li")).to_have_text(
        [f"[{n}] {n}ValueError: no reading of sensor {n}" for n in (3, 21)]
    )
    picture(sheet.page, "map-ended")
    sheet.save()
    shot = saved(sheet)
    assert (shot["state"], shot["map"]["done"], shot["map"]["failed"]) == ("failed", 40, 2)
    # All of another is cancelled without its kernel.
    stop.unlink()
    sheet.ready()
    sheet.done(0)
    sheet.done(1)
    expect(card).to_contain_text("6 of 40 done", timeout=WAIT)
    sheet.save()
    sheet.reload()
    card.get_by_role("button", name="Cancel all").click()
    expect(card).to_have_attribute("data-state", "cancelled", timeout=WAIT)
    expect(card).to_contain_text("34 cancelled")
    picture(sheet.page, "map-cancelled")
