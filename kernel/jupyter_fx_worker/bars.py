"""How far a task is: bars that whoever watches it sees, however often the code that runs counts.

`progress` is what people call. In a worker each bar becomes `progress` events, held back here at the source: however
fast a loop turns, a task tells at most a few times a second, and less often the longer it runs (at the most every two
seconds). Elsewhere (a notebook's own kernel, a script) whoever set `at_home` draws them.
"""

from __future__ import annotations

import numbers
import operator
import os
import time
from collections.abc import Iterable, Iterator
from typing import Any, Callable

__all__ = ["Bar", "Bars", "at_home", "progress", "report_to", "reporting"]

Send = Callable[[str, Any], None]

MAX_BARS = 16
"""Bars that are told of at a time; more of them count in silence."""
_FASTEST, _SLOWEST = 0.25, 2.0
"""Seconds between two events of a task: at its beginning, and at the most; in between a hundredth of its age."""
_BURST, _REFILL = 16.0, 4.0
"""Beginnings and ends of bars are told at once: so many in a row, and so many a second."""
_LABEL, _UNIT, _NOTE = 200, 32, 500


class Bar:
    """One bar. Cheap to count with: most calls of `set` look at the clock and nothing else."""

    __slots__ = ("_bars", "began", "changed", "done", "due", "eta", "first", "label", "name", "rate", "total", "unit")

    def __init__(self, bars: Bars, name: str, label: str, total: float | None, unit: str, first: float) -> None:
        self._bars = bars
        self.name, self.label, self.unit = name, label, unit
        self.total = total
        self.done = self.first = first
        self.began = bars.clock()
        self.rate: float | None = None
        self.eta: float | None = None
        self.due = 0.0
        self.changed = True

    def set(self, done: float, **changes: Any) -> None:
        """It is at `done` now; `changes` may be `total`, `label`, `unit`, `rate`, `eta`."""
        self.done = done
        self.changed = True
        if changes:
            for key, value in changes.items():
                setattr(self, key, value)
        now = self._bars.clock()
        if now >= self.due:
            self._bars.tell(now)

    def end(self) -> None:
        """It is over, and goes away."""
        self._bars.ended(self)

    def data(self, now: float) -> dict[str, Any]:
        """What is told of it."""
        rate, eta = self.rate, self.eta
        spent = now - self.began
        if rate is None and spent > 0.05 and self.done > self.first:
            rate = (self.done - self.first) / spent
            if eta is None and self.total and rate > 0:
                eta = max(0.0, (self.total - self.done) / rate)
        told = {
            "id": self.name,
            "label": _clean(self.label, _LABEL),
            "done": _number(self.done) or 0.0,
            "total": _number(self.total),
            "unit": _clean(self.unit, _UNIT),
            "rate": _number(rate),
            "eta": _number(eta),
        }
        return {key: value for key, value in told.items() if value is not None and value != ""}


class Bars:
    """The bars of the task in hand. `task` names it: when it changes, the bars of the one before are forgotten."""

    def __init__(
        self, send: Send, task: Callable[[], Any] = lambda: 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._send, self._task, self.clock = send, task, clock
        self._open: dict[str, Bar] = {}
        self._gone: list[dict[str, Any]] = []
        self._of: Any = None
        self._began = self._last = self._filled = 0.0
        self._tokens = _BURST
        self._note = ""

    def new(self, label: str = "", total: float | None = None, unit: str = "", first: float = 0) -> Bar:
        """Begin a bar. Names are used again, so that an inner loop's next round takes the place of the one before."""
        self._settle()
        number = 0
        while str(number) in self._open:
            number += 1
        return self.named(str(number), label, total, unit, first)

    def named(self, name: str, label: str = "", total: float | None = None, unit: str = "", first: float = 0) -> Bar:
        """The bar of this name; begun when there is none."""
        self._settle()
        bar = self._open.get(name)
        if bar is None:
            bar = Bar(self, name, label, total, unit, first)
            if len(self._open) < MAX_BARS:
                self._open[name] = bar
                self._gone = [told for told in self._gone if told["id"] != name]
                self.tell(self.clock(), urgent=True)
            else:
                bar.due = float("inf")
        return bar

    def note(self, text: str) -> None:
        """One short line beside the bars; told with them."""
        self._settle()
        self._note = _clean(text, _NOTE)

    def ended(self, bar: Bar) -> None:
        """A bar is over."""
        self._settle()
        if self._open.get(bar.name) is not bar:
            return
        del self._open[bar.name]
        now = self.clock()
        bar.due = float("inf")
        self._gone.append({**bar.data(now), "ended": True})
        self.tell(now, urgent=True)

    def tell(self, now: float, *, urgent: bool = False) -> None:
        """Send what changed, if it is time; `urgent` is a beginning or an end."""
        gap = min(_SLOWEST, max(_FASTEST, (now - self._began) / 100))
        self._tokens = min(_BURST, self._tokens + (now - self._filled) * _REFILL)
        self._filled = now
        if now - self._last < gap:
            if not urgent or self._tokens < 1:
                self._wait(self._last + gap)
                return
            self._tokens -= 1
        told = self._gone + [bar.data(now) for bar in self._open.values() if bar.changed]
        self._last, self._gone = now, []
        self._wait(now + gap)
        for bar in self._open.values():
            bar.changed = False
        data: dict[str, Any] = {"bars": told}
        if self._note:
            data["note"], self._note = self._note, ""
        self._send("progress", data)

    def _wait(self, until: float) -> None:
        for bar in self._open.values():
            bar.due = until

    def _settle(self) -> None:
        task = self._task()
        if task != self._of:
            for bar in self._open.values():
                bar.due = float("inf")
            self._of, self._began, self._tokens, self._note = task, self.clock(), _BURST, ""
            self._last = self._filled = float("-inf")
            self._open, self._gone = {}, []
            self._filled = self._began


_bars: Bars | None = None
_home: Callable[[], Send] | None = None
_pid = 0


def report_to(report: Send, task: Callable[[], Any] = lambda: 0) -> Bars:
    """Send what this module is told to `report(kind, data)`: this process is a worker. The worker's own business."""
    global _bars, _pid
    _bars, _pid = Bars(report, task), os.getpid()
    return _bars


def at_home(make: Callable[[], Send]) -> None:
    """Where this process is no worker: `make()` gives what draws a bar's events, when the first one comes."""
    global _home  # noqa: PLW0603 - one place to draw per process
    _home = make


def reporting() -> bool:
    """Whether this process is a worker (and not one that user code forked)."""
    return _bars is not None and os.getpid() == _pid


def _current() -> Bars | None:
    global _bars, _pid
    if _bars is None and _home is not None:
        _bars, _pid = Bars(_home()), os.getpid()
    return _bars if os.getpid() == _pid else None


def progress(
    what: Any, total: float | None = None, note: str = "", *, label: str = "", unit: str = ""
) -> Iterator[Any] | None:
    """Show how far the code is.

    `for x in progress(xs)` counts what any iterable gives (`total` is found out where it can be); `progress(done,
    total)` says how much is done, as often as you like. `label` stands before the bar, `unit` is what is counted,
    `note` one short line beside it. In cells, calls and maps that run elsewhere the task's card shows it; it works
    here too.
    Bars may be nested; those with `done` are told apart by their `label`.
    """
    bars = _current()
    if isinstance(what, numbers.Real):  # numpy's too
        if bars is not None:
            if note:
                bars.note(note)
            name = f"={label}"
            done, whole = float(what), None if total is None else float(total)
            bar = bars.named(name, label, whole, unit, done)
            bar.set(done, total=whole)
            if whole is not None and done >= whole:
                bar.end()
        return None
    try:
        source: Iterator[Any] = iter(what)
    except TypeError:
        raise TypeError(
            f"progress takes something to iterate over, or how much is done, not a {type(what).__name__}"
        ) from None
    if bars is None:
        return source
    if note:
        bars.note(note)
    if total is None:
        total = operator.length_hint(what, -1)
        total = None if total < 0 else total
    return _counted(source, bars.new(label, total, unit or "it"))


def _counted(source: Iterable[Any], bar: Bar) -> Iterator[Any]:
    done = 0
    try:
        for item in source:
            yield item
            done += 1
            bar.set(done)
    finally:
        bar.end()


def _number(value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    return number if number - number == 0 else None


def _clean(text: Any, limit: int) -> str:
    return str(text)[:limit].encode("utf-8", "replace").decode()
