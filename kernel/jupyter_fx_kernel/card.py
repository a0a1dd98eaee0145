"""The card of a task: what is known of it, and how that is shown.

It adds to the cell's own output and never replaces it. A cell that is quick and goes well shows none; one that takes
longer than half a second shows where it is, and in the end one quiet line under its output. What a card holds is
written down in `card.schema.json`, how it looks in `cardview`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import Outcome
from jupyter_fx_kernel import cardview
from jupyter_fx_kernel.cardview import duration
from jupyter_fx_kernel.snapshot import MIME, fit, schema

__all__ = ["QUIET_FOR", "Card", "bundle", "duration", "notify_after"]

QUIET_FOR = 0.5
"""Seconds for which a cell that goes well shows no card."""

_ENDED = frozenset(state.name.lower() for state in TaskState if state.terminal)
_BARS: int = schema()["properties"]["progress"]["maxItems"]
_BAR_TEXTS = ("label", "unit")
_BAR_NUMBERS = ("done", "total", "rate", "eta")
_notify_after = 0.0


def notify_after(seconds: float) -> None:
    """Let the cards that are made from now on ask to tell their ends, of what takes so long; 0: not."""
    global _notify_after  # noqa: PLW0603 - one kernel, one wish
    _notify_after = seconds


@dataclass
class Card:
    """What is known of one task. Times are seconds; `elapsed` counts from the submission."""

    task_id: str
    place: str
    kind: str = "cell"
    name: str = ""
    session: Mapping[str, Any] | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)
    state: str = "sent"
    unreachable: bool = False
    why: str = ""
    submitted: float = field(default_factory=time.time)
    elapsed: float = 0.0
    times: list[tuple[str, float]] = field(default_factory=list)
    """(hop, seconds): queue, start, run, back."""
    bars: dict[str, dict[str, Any]] = field(default_factory=dict)
    note: str = ""
    notices: list[str] = field(default_factory=list)
    tail: str = ""
    event: int = 0
    interrupts: int = 0
    ended: str = ""
    error: tuple[str, str] | None = None
    details: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict)
    items: Mapping[str, Any] | None = None
    """Of a map or a wait: the field `map` of the page."""
    notify: float = field(default_factory=lambda: _notify_after)
    """Seconds from which on its author wants to be told that it has ended; 0: never."""

    @property
    def done(self) -> bool:
        """Whether the task has ended."""
        return self.state in _ENDED

    @property
    def line(self) -> str:
        """The card in one line of plain text."""
        return cardview.line(self.snapshot())

    @property
    def text(self) -> str:
        """The card in plain text: its line, then what else there is to say."""
        return cardview.text(self.snapshot())

    def told(self, data: Any) -> None:
        """Take in the data of a PROGRESS event."""
        if not isinstance(data, Mapping):
            return
        if "note" in data:
            self.note = str(data["note"] or "")
        bars = data.get("bars")
        for bar in bars if isinstance(bars, list) else ():
            if not isinstance(bar, Mapping) or not isinstance(bar.get("done"), (int, float)):
                continue
            name = str(bar.get("id", ""))
            if bar.get("ended"):
                self.bars.pop(name, None)
            elif name in self.bars or len(self.bars) < _BARS:
                texts = {key: str(bar[key]) for key in _BAR_TEXTS if bar.get(key)}
                numbers = {key: bar[key] for key in _BAR_NUMBERS if isinstance(bar.get(key), (int, float))}
                self.bars[name] = {"id": name, **texts, **numbers}

    def times_of(self, outcome: Outcome) -> None:
        """Where the time went, from what hub and endpoint noted. Their clocks are not ours: nothing is below 0."""
        stamps = [*outcome.times, *[0.0] * 5][:5]
        submitted, leased, _accepted, started, finished = stamps
        hops: list[tuple[str, float]] = []
        if submitted and started:
            if leased:
                hops += [("queue", leased - submitted), ("start", started - leased)]
            else:
                hops += [("queue", started - submitted)]
        if started and finished:
            hops.append(("run", finished - started))
        if submitted and finished:
            hops.append(("back", self.elapsed - (finished - submitted)))
        self.times = [(hop, max(0.0, seconds)) for hop, seconds in hops]

    def snapshot(self, now: float | None = None) -> dict[str, Any]:
        """The card as its page has it: nothing that is empty, nothing beyond its limits."""
        whole = {
            "version": 1,
            "kind": self.kind,
            "task_id": self.task_id,
            "group": self.task_id if self.kind == "map" else "",
            "name": self.name,
            "endpoint": self.place,
            "session": dict(self.session or {}),
            "origin": dict(self.origin),
            "state": self.state,
            "unreachable": self.unreachable,
            "why": self.why,
            "submitted": self.submitted,
            "as_of": time.time() if now is None else now,
            "elapsed": self.elapsed,
            "times": [{"hop": hop, "seconds": seconds} for hop, seconds in self.times],
            "progress": [] if self.state == "succeeded" else list(self.bars.values()),
            "note": self.note,
            "notices": list(self.notices),
            "tail": self.tail,
            "event": self.event,
            "notify": self.notify,
            "interrupts": self.interrupts,
            "ended": self.ended,
            "error": {"type": self.error[0], "message": self.error[1]} if self.error else None,
            "details": self.details,
            "usage": dict(self.usage),
            "map": dict(self.items or {}),
        }
        required = schema()["required"]
        return fit({key: value for key, value in whole.items() if value or key in required})  # type: ignore[no-any-return]


def bundle(card: Card, now: float | None = None) -> dict[str, Any]:
    """The MIME bundle of a card: its own type for our labextension, HTML and text for everything else."""
    shot = card.snapshot(now)
    return {MIME: shot, "text/html": cardview.page(shot), "text/plain": cardview.text(shot)}
