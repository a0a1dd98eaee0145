"""What a card holds: within its page's limits whatever comes, escaped, well-formed."""

from __future__ import annotations

import html.parser
import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_fx.protocol.messages import Outcome
from jupyter_fx_kernel import cardview
from jupyter_fx_kernel.card import bundle, duration
from jupyter_fx_kernel.cardview import page
from jupyter_fx_kernel.cardview.colours import coloured
from jupyter_fx_kernel.snapshot import MIME, schema, tail_of
from tests.unit.kernel.cards import full

VALIDATOR = jsonschema.Draft202012Validator(schema())
STATES = schema()["properties"]["state"]["enum"]


def valid(shot: dict[str, Any]) -> dict[str, Any]:
    VALIDATOR.validate(shot)
    json.dumps(shot, allow_nan=False).encode()
    assert len(shot.get("tail", "").encode()) <= 8192
    return shot


class Elements(html.parser.HTMLParser):
    """Every element and its attributes, and the text; raises when tags do not match."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(source)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def find(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


SAFE = {
    *("div", "span", "b", "details", "summary", "dl", "dt", "dd", "table", "tr", "th", "td"),
    *("code", "pre", "progress", "time"),
}


def checked(shot: dict[str, Any]) -> Elements:
    found = Elements(page(shot))
    assert {name for name, _ in found.elements} <= SAFE
    for _, attributes in found.elements:
        known = {"style", "role", "scope", "title", "datetime", "max", "value", "tabindex"}
        assert {name for name in attributes if not name.startswith("aria-")} <= known
    return found


anything = st.text(st.characters(), max_size=60) | st.sampled_from(
    ["<script>", "\x1b[31m", "\ud800", "\u202e", "é" * 3000]
)
number = st.floats() | st.integers(-5, 10**12)


@settings(max_examples=60, deadline=None)
@given(
    why=anything,
    name=anything,
    note=anything,
    notices=st.lists(anything, max_size=30),
    tail=st.text(max_size=200).map(lambda line: (line + "\n\x1b[31mred\x1b[0m é\n") * 400),
    bars=st.lists(st.tuples(anything, number, number | st.none(), anything, number | st.none()), max_size=30),
    state=st.sampled_from(STATES),
    elapsed=number,
)
def test_whatever_comes_the_bundle_keeps_to_its_page_and_its_html_is_well_formed(
    why: str,
    name: str,
    note: str,
    notices: list[str],
    tail: str,
    bars: list[Any],
    state: str,
    elapsed: float,
) -> None:
    card = full(why=why, name=name, note=note, notices=notices, tail=tail, state=state, elapsed=elapsed)
    card.error = (name, why)
    rows = [
        {"id": at, "label": label, "done": done, "total": total, "unit": unit, "eta": eta, "more": 1}
        for at, (label, done, total, unit, eta) in enumerate(bars)
    ]
    card.told({"bars": rows})
    made = bundle(card)
    valid(made[MIME])
    checked(made[MIME])
    assert "\x1b" not in made["text/plain"]


def test_what_travels_in_a_card_is_on_its_page_alone() -> None:
    shot = valid(full().snapshot())
    assert shot.keys() <= schema()["properties"].keys()
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate({**shot, "address": "unix:/run/hub.sock"})


@pytest.mark.parametrize("field", ["why", "note", "name", "place", "ended"])
def test_remote_text_reaches_the_page_as_text(field: str) -> None:
    evil = "</div><img src=x onerror=alert(1)><script>alert(2)</script>\" onload='x"
    found = checked(full(**{field: evil}, state="failed", kind="call").snapshot())
    assert evil in found.text


def test_labels_inputs_tails_and_notices_are_text_too() -> None:
    evil = '"><script>alert(1)</script>'
    card = full(notices=[evil], tail=evil, kind="map", state="failed", error=(evil, evil))
    card.told({"bars": [{"id": "0", "label": evil, "done": 1, "total": 2, "unit": evil}]})
    card.items = {
        "total": 9,
        "done": 3,
        "running": 0,
        "failed": 1,
        "cancelled": 0,
        "failures": [{"index": 2, "input": evil, "error": evil}],
    }
    found = checked(valid(card.snapshot()))
    assert found.text.count(evil) >= 6


def test_a_success_is_one_line_that_opens_on_its_times() -> None:
    card = full(state="succeeded", elapsed=7.5)
    card.times_of(Outcome(card.task_id, 10, times=[100.0, 101.0, 101.1, 103.0, 107.0]))
    assert card.times == [("queue", 1.0), ("start", 2.0), ("run", 4.0), ("back", 0.5)]
    shot = valid(card.snapshot())
    assert cardview.text(shot) == "✓ polaris · 7.5 s"
    found = checked(shot)
    [details] = found.find("details")
    assert "open" not in details
    for words in ("waited", "1.0 s", "started in", "2.0 s", "ran", "4.0 s", "came back in", "0.5 s", card.task_id):
        assert words in found.text
    assert len(page(shot)) < 2048


def test_clocks_that_disagree_give_no_negative_time() -> None:
    card = full(elapsed=1.0)
    card.times_of(Outcome(card.task_id, 10, times=[100.0, 99.0, 98.0, 97.0, 107.0]))
    assert all(seconds >= 0 for _, seconds in card.times)


def test_what_has_not_ended_says_as_of_when() -> None:
    shot = full(state="running").snapshot(now=1_000_000_000.0)
    assert "as of" in cardview.text(shot)
    [stamp] = checked(shot).find("time")
    assert str(stamp["datetime"]).startswith("2001-09-0")
    assert "as of" not in cardview.text(full(state="failed").snapshot())


def test_a_reason_to_wait_and_the_bars_are_open_to_see() -> None:
    card = full(state="queued", why="Slurm job 4711 is pending (Priority)")
    card.told({"bars": [{"id": "0", "label": "epoch", "done": 3, "total": 10, "unit": "it", "rate": 2.0, "eta": 3.5}]})
    shot = valid(card.snapshot())
    found = checked(shot)
    assert "Slurm job 4711 is pending (Priority)" in found.text
    assert found.find("details") == []
    [bar] = found.find("progress")
    assert bar == {**bar, "value": "3", "max": "10", "aria-label": "epoch"}
    assert "epoch: 3 of 10 · 2 it/s · 3.5 s left" in found.text
    assert "waiting" in cardview.text(shot)
    assert "epoch: 3 of 10" in cardview.text(shot)


def test_a_bar_of_unknown_length_is_words_for_a_saved_page_does_not_move() -> None:
    card = full()
    card.told({"bars": [{"id": "0", "done": 1234567}]})
    found = checked(card.snapshot())
    assert not found.find("progress")
    assert "1.23M" in found.text


def test_bars_that_ended_go_away_and_no_more_than_the_page_has_are_kept() -> None:
    card = full()
    card.told({"bars": [{"id": str(number), "done": 0} for number in range(40)]})
    assert len(card.bars) == 16
    card.told({"bars": [{"id": "3", "done": 5, "ended": True}, {"id": "x"}, None, {"id": "4", "done": "many"}]})
    assert "3" not in card.bars
    assert len(card.bars) == 15
    card.told(None)
    card.told({"bars": 7, "note": None})


def test_the_tail_keeps_its_colours_and_nothing_else_of_the_terminal() -> None:
    kept = tail_of("first\r\n\x1b[1;31mred\x1b[0m\x1b[2J\x1b]0;title\x07\x07plain\n10%\r50%\r100%\n")
    assert kept == "first\n\x1b[1;31mred\x1b[0mplain\n100%\n"
    assert "font-weight:bold" in coloured(kept)
    assert "<b>" not in coloured("<b>\x1b[31m<b>")
    assert len(tail_of("é" * 100_000).encode()) <= 8192
    long = tail_of("".join(f"line {number}\n" for number in range(5000)))
    assert long.startswith("line ")
    assert long.endswith("line 4999\n")


@pytest.mark.parametrize(
    "codes", ["38;5;196", "38;2;10;20;300", "38;5", "38", "38;2;1", "48;5;1;31", "0;0;0", "999", "38;5;255"]
)
def test_any_colour_code_gives_a_page(codes: str) -> None:
    Elements(coloured(f"\x1b[{codes}mtext\x1b[m"))


def test_durations_read_well() -> None:
    told = {
        0.042: "42 ms",
        0.3: "0.3 s",
        9.96: "10 s",
        12.2: "12 s",
        59.6: "1 min 0 s",
        185: "3 min 5 s",
        7440: "2 h 4 min",
        266400: "3 d 2 h",
    }
    assert {seconds: duration(seconds) for seconds in told} == told
