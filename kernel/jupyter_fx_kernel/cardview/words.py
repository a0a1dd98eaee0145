"""A card in plain words: terminals, `jupyter console`, logs, screen readers."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any, Final

__all__ = [
    "HOPS",
    "MARKS",
    "as_of",
    "bar_words",
    "count",
    "counts",
    "duration",
    "line",
    "mark",
    "said",
    "text",
    "title",
]

MARKS: Final = {"succeeded": "✓", "cancelled": "■"}
"""What stands before a state that nothing follows; any other of those has ✗, a living one …"""
_ENDED: Final = frozenset({"succeeded", "failed", "cancelled", "expired", "lost", "poisoned"})
_STATES: Final = {"queued": "waiting", "leased": "starting", "accepted": "starting"}
"""What people call a state; others are called what they are."""
HOPS: Final = {"queue": "waited", "start": "started in", "run": "ran", "back": "came back in"}
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

Shot = Mapping[str, Any]


def ended(shot: Shot) -> bool:
    """Whether nothing follows."""
    return shot["state"] in _ENDED


def mark(shot: Shot) -> str:
    """The sign that stands before it."""
    return MARKS.get(shot["state"], "✗" if ended(shot) else "…")


def said(shot: Shot) -> str:
    """What its state is called."""
    if shot.get("unreachable"):
        return "unreachable"
    state = str(shot["state"])
    return _STATES.get(state, state)


def title(shot: Shot) -> str:
    """Where it runs; of maps and waits, what it is too."""
    place = str(shot.get("endpoint") or "")
    if shot["kind"] == "cell":
        return place or "remote"
    name = str(shot.get("name") or shot["kind"])
    return f"{name} on {place}" if place else name


def duration(seconds: float) -> str:
    """`40 ms`, `0.3 s`, `12 s`, `3 min 5 s`, `2 h 4 min`, `3 d 2 h`."""
    if seconds < 0.1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def count(number: float) -> str:
    """`3`, `1,250`, `3.2M`, `0.25`."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if abs(number) >= size:
            return f"{number / size:.3g}{letter}"
    if abs(number) >= 100 or number == int(number):
        return f"{number:,.0f}"
    return f"{number:.3g}"


def as_of(shot: Shot) -> str:
    """The time of day at which this was so, where the notebook's kernel lives."""
    return dt.datetime.fromtimestamp(shot["as_of"]).astimezone().strftime("%H:%M:%S")


def bar_words(bar: Mapping[str, Any]) -> str:
    """`epoch: 3 of 10 · 2.1 it/s · 3.3 s left`."""
    total = bar.get("total")
    words = f"{count(bar['done'])} of {count(total)}" if total else count(bar["done"])
    if bar.get("label"):
        words = f"{bar['label']}: {words}"
    return " · ".join([words, *pace(bar, str(bar.get("unit") or ""))])


def pace(bar: Mapping[str, Any], unit: str) -> list[str]:
    """How fast it is, and how long it will be: what of that is known."""
    found = []
    rate, eta = bar.get("rate"), bar.get("eta")
    if rate:
        found.append(f"{count(float(f'{rate:.3g}'))}{' ' + unit if unit else ''}/s")
    if eta is not None:
        found.append(f"{duration(eta)} left")
    return found


def counts(items: Mapping[str, Any], *, over: bool) -> str:
    """`120 of 1,000 done · 16 running · 2 failed`."""
    total = items.get("total")
    # What was cancelled has its outcome, but nobody would call it done.
    done = count(items["done"] - (items.get("cancelled") or 0))
    words = [f"{done} of {count(total)} done" if total is not None else f"{done} done"]
    told = ("failed", "cancelled") if over else ("running", "failed", "cancelled")
    words += [f"{count(items[key])} {key}" for key in told if items.get(key)]
    return " · ".join([*words, *([] if over else pace(items, ""))])


def line(shot: Shot, *, live: bool = False) -> str:
    """The card in one line; one that is `live`, written again as it changes, need not say as of when it is."""
    over = ended(shot)
    words = [f"{mark(shot)} {title(shot)}"]
    if shot["state"] != "succeeded":
        words.append(said(shot))
    words.append(duration(shot["elapsed"]))
    if not over and not live:
        words.append(f"as of {as_of(shot)}")
    if shot.get("map"):
        words.append(counts(shot["map"], over=over))
    elif not over:
        words += [bar_words(bar) for bar in shot.get("progress", ())]
    words += [shot[key] for key in ("note", "ended", "why") if shot.get(key)]
    if shot["state"] != "succeeded" and shot["kind"] in {"cell", "call"}:
        words.append(f"task {shot['task_id'][-8:]}")
    return " · ".join(words)


def text(shot: Shot) -> str:
    """Its line, then notices, the failures of a map, the details of an error, and the last lines that it printed."""
    lines = [line(shot), *shot.get("notices", ())]
    lines += [f"  item {f['index']} ({f['input']}): {f['error']}" for f in shot.get("map", {}).get("failures", ())]
    lines += [f"  {row}" for row in str(shot.get("details", "")).splitlines()]
    if shot.get("tail"):
        lines += ["  | " + row for row in _COLOUR.sub("", shot["tail"]).rstrip("\n").split("\n")]
    return "\n".join(lines)
