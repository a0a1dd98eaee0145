"""The card of a task: one small display that says where it runs, why it waits, how long it took.

It adds to the cell's own output and never replaces it. A cell that is quick and goes well shows none; one that takes
longer than half a second shows where it is, and in the end one quiet line. Everything that came from elsewhere is
escaped.
"""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Card", "CardView", "bundle", "duration"]

QUIET_FOR = 0.5
"""Seconds for which a cell that goes well shows no card."""

_MARKS = {"succeeded": "✓", "failed": "✗", "cancelled": "■", "lost": "✗", "expired": "✗", "poisoned": "✗"}
_COLOURS = {"succeeded": "#2e7d32", "cancelled": "#8a6d00"}


@dataclass
class Card:
    """What is known of one task. Times are seconds; `elapsed` counts from the submission."""

    task_id: str
    place: str
    state: str = "sent"
    why: str = ""
    elapsed: float = 0.0
    note: str = ""
    progress: tuple[float, float] | None = None
    notices: list[str] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether the task has ended."""
        return self.state in _MARKS

    @property
    def line(self) -> str:
        """The card in one line of plain text."""
        words = [_MARKS.get(self.state, "…"), self.place, f"· {self.state}", f"· {duration(self.elapsed)}"]
        if self.state == "succeeded":
            del words[2]
        if self.progress and not self.done:
            done, total = self.progress
            words.append(f"· {done:g} of {total:g}" if total else f"· {done:g}")
        if self.note:
            words.append(f"· {self.note}")
        if self.why:
            words.append(f"· {self.why}")
        if self.state != "succeeded" and self.task_id:
            words.append(f"· task {self.task_id[-8:]}")
        return " ".join(words)

    @property
    def text(self) -> str:
        """The card in plain text: its line, then its notices."""
        return "\n".join([self.line, *self.notices])


def bundle(card: Card) -> dict[str, str]:
    """The MIME bundle of a card: text/plain and text/html."""
    colour = _COLOURS.get(card.state, "#b00020" if card.done else "#1565c0")
    bar = ""
    if card.progress and not card.done and card.progress[1]:
        share = max(0.0, min(1.0, card.progress[0] / card.progress[1]))
        bar = (
            '<div style="height:3px;max-width:24em;background:rgba(128,128,128,.25);margin-top:3px">'
            f'<div style="height:3px;width:{share:.1%};background:{colour}"></div></div>'
        )
    text = html.escape(card.line[1:].strip())
    page = (
        '<div style="font-size:85%;opacity:.85;line-height:1.5">'
        f'<span style="color:{colour};font-weight:600">{html.escape(card.line[0])}</span> {text}{bar}'
        + "".join(f"<div>{html.escape(notice)}</div>" for notice in card.notices)
        + "</div>"
    )
    return {"text/plain": card.text, "text/html": page}


def duration(seconds: float) -> str:
    """`0.3 s`, `12 s`, `3 min 5 s`, `2 h 4 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


class CardView:
    """Shows a card through IPython's display publisher, and only when it has something to say.

    `rich` front ends get one display that is updated in place; a terminal, which cannot, gets a line when the reason
    for waiting changes.
    """

    def __init__(self, card: Card, publish: Any, *, rich: bool) -> None:
        self._card = card
        self._publish = publish
        self._rich = rich
        self._shown = ""
        self._why = ""
        self._told = 0

    @property
    def shown(self) -> bool:
        """Whether the card can be seen."""
        return bool(self._shown)

    def refresh(self, *, force: bool = False) -> None:
        """Show what changed, if it is time to show anything."""
        card = self._card
        if not self._rich:
            self._terminal(card)
            return
        failed = card.done and card.state != "succeeded"
        if not self._shown and not force and card.elapsed < QUIET_FOR and not failed:
            return
        content = bundle(card)
        if content["text/html"] == self._shown:
            return
        update = self.shown
        self._shown = content["text/html"]
        self._publish(content, {}, transient={"display_id": f"fx-{card.task_id}"}, update=update)

    def _terminal(self, card: Card) -> None:
        waits = card.why if not card.done else ""
        if (waits and waits != self._why and card.elapsed >= QUIET_FOR) or card.state == "cancelled":
            self._why = waits
            print(card.line)
        for notice in card.notices[self._told :]:
            print(notice)
        self._told = len(card.notices)
