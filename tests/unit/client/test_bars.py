"""`fx.progress` at home: one line for who looks, one line per bar for a log."""

from __future__ import annotations

import io
import sys

import pytest

from jupyter_fx.client.bars import Line


class Screen(io.StringIO):
    def __init__(self, *, tty: bool) -> None:
        super().__init__()
        self.tty = tty

    def isatty(self) -> bool:
        return self.tty

    @property
    def seen(self) -> list[str]:
        """The lines, as a terminal shows them."""
        lines = []
        for line in self.getvalue().split("\n"):
            shown = ""
            for piece in line.split("\r"):
                shown = piece + shown[len(piece) :]
            lines.append(shown.rstrip())
        return lines


STORY = [
    {"bars": [{"id": "0", "label": "epochs", "done": 0, "total": 2}]},
    {"bars": [{"id": "1", "label": "batches", "done": 50, "total": 100, "rate": 12.34, "eta": 4.05, "unit": "b"}]},
    {"bars": [{"id": "1", "label": "batches", "done": 100, "total": 100, "ended": True}], "note": "validating"},
    {"bars": [{"id": "0", "label": "epochs", "done": 2, "total": 2, "ended": True}]},
]


def test_who_looks_sees_all_bars_in_one_line_and_the_outer_one_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(tty=True)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "200")
    line = Line()
    line("progress", STORY[0])
    line("progress", STORY[1])
    assert screen.seen == [
        "epochs   0%                      0/2  batches  50% ██████████           50/100 12.3 b/s 4 s left"
    ]
    line("progress", STORY[2])
    assert screen.seen == ["epochs   0%                      0/2  validating"]
    line("progress", STORY[3])
    assert screen.seen == ["epochs 100% ████████████████████ 2/2", ""]


def test_a_log_has_one_line_for_each_bar_that_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(tty=False)
    monkeypatch.setattr(sys, "stderr", screen)
    line = Line()
    for told in STORY:
        line("progress", told)
    assert "\r" not in screen.getvalue()
    assert [words.split()[0] for words in screen.seen if words] == ["batches", "epochs"]


def test_it_counts_here_as_it_does_there(monkeypatch: pytest.MonkeyPatch) -> None:
    import jupyter_fx as fx

    screen = Screen(tty=True)
    monkeypatch.setattr(sys, "stderr", screen)
    assert list(fx.progress("abc", label="letters")) == ["a", "b", "c"]
    assert "letters 100%" in screen.seen[0]
