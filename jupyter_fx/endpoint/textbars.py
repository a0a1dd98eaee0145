"""Bars that processes of a task draw with carriage returns (tqdm's), taken out of its text and told as bars. Pure.

tqdm in the worker itself is asked (`jupyter_fx_worker.barhooks`); a program that a cell starts can only be read. Of its
text goes what a terminal would show no more, drawing over drawing; what is left standing stays as it is. Otherwise ten
drawings a second for a day would push everything else out of the log that a hub keeps.

tqdm moves to its nested bars by line feeds and back by ESC [A: line feeds while a bar stands are kept back until what
follows says which they were.
"""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = ["TextBars"]

MAX: Final = 16
"""Bars that are told of; more of them are drawn over in silence."""
_AT_ONCE: Final = 64
"""New bars that are told of at one time: they go in one message, and a program may draw thousands in a second."""
_FASTEST, _SLOWEST = 0.25, 2.0
"""Seconds between two times that bars are told: at first, and at the most; in between a hundredth of the time since."""
_HELD: Final = 4096
_ROWS: Final = 40
"""Bytes of a drawing, and rows of them; more is text."""

_UP: Final = b"\x1b[A"
_PIECES: Final = re.compile(rb"[\r\n][^\r\n]*|[^\r\n]+")
_NUMBER: Final = r"\d[\d.]*[kMGTPEZY]?"
_SPEED: Final = r"(?:(?P<rate>\d[\d.]*[kMGTPEZY]?|\?) *(?P<unit>[^/,\]]*)/s|(?P<each>\d[\d.]*) *s/(?P<thing>[^,\]]*))"
_BAR: Final = re.compile(
    rf"(?:(?P<label>.*?): +| *)\d+%\|[^|]*\| *(?P<done>{_NUMBER})/(?P<total>{_NUMBER}) "
    rf"\[[\d:]+<(?P<left>[\d:]+|\?), *{_SPEED}(?:, *(?P<postfix>.*))?\] *"
)
_COUNT: Final = re.compile(
    rf"(?:(?P<label>.*?): +)?(?P<done>{_NUMBER})[^\d\s\[|/][^\[|/]* \[[\d:]+, *{_SPEED}(?:, *(?P<postfix>.*))?\] *"
)


class TextBars:
    """The bars in one task's text; `feed` takes out what was drawn over, `take` gives what is to be told of them."""

    __slots__ = ("_began", "_changed", "_next", "_open", "_screens")

    def __init__(self, now: float) -> None:
        self._screens: dict[int, _Screen] = {}
        self._open: dict[str, dict[str, Any]] = {}
        self._changed: dict[str, dict[str, Any]] = {}
        self._began = self._next = now

    def feed(self, stream: int, data: bytes) -> bytes:
        """The text that remains of `data`."""
        screen = self._screens.get(stream)
        if screen is None:
            screen = self._screens[stream] = _Screen()
        if not screen.drawn and b"\r" not in data:
            if data:
                screen.fresh = data.endswith(b"\n")
            return data
        return b"".join(self._piece(screen, piece) for piece in _PIECES.findall(data))

    def rest(self) -> list[tuple[int, bytes]]:
        """The task is over: what its drawings left standing."""
        return [(stream, text) for stream, screen in self._screens.items() if (text := screen.last())]

    def due(self) -> float | None:
        """When `take` will give something; None when no bar changed."""
        return self._next if self._changed else None

    def take(self, now: float) -> list[dict[str, Any]]:
        """The bars to tell of now."""
        if not self._changed or now < self._next:
            return []
        told, self._changed = list(self._changed.values()), {}
        self._next = now + min(_SLOWEST, max(_FASTEST, (now - self._began) / 100))
        return told

    def _piece(self, screen: _Screen, piece: bytes) -> bytes:
        """What remains of a piece of text that begins with a carriage return or a line feed, or goes on in a line."""
        first = piece[:1]
        body = piece[1:] if first in (b"\r", b"\n") else piece
        bare = body.replace(_UP, b"")
        bar = _read(bare) if first == b"\r" else None
        blank = screen.drawn and not bare.strip(b" ")
        if bar is not None:
            self._tell(bar)
            screen.draw(bare.rstrip(b" "), bar["id"])
        elif blank and first == b"\r":
            self._end_full(screen.clear())
        elif blank and first == b"\n" and not bare:
            if self._end_full(screen.there()):
                return screen.leave_line()
            if not screen.down():
                return self._left(screen)
        elif not blank or bare:
            return self._left(screen) + screen.write(piece)
        screen.up(body.count(_UP))
        return b""

    def _left(self, screen: _Screen) -> bytes:
        """What stands there stays, and is drawn as a bar no more; one that goes on below is told again."""
        for name in screen.names():
            self._over(name)
        return screen.left()

    def _tell(self, bar: dict[str, Any]) -> None:
        name = bar["id"]
        if name not in self._open and (len(self._open) >= MAX or len(self._changed) >= _AT_ONCE):
            return
        self._open[name] = self._changed[name] = bar

    def _end_full(self, name: str) -> bool:
        """A bar that has reached its total goes when its line is left or cleared; whether it has."""
        bar = self._open.get(name)
        if bar is None or bar["done"] < bar.get("total", float("inf")):
            return False
        self._over(name)
        return True

    def _over(self, name: str) -> None:
        bar = self._open.pop(name, None)
        if bar is not None:
            self._changed[name] = {**bar, "ended": True}


class _Screen:
    """The last lines of a stream: drawings, and the bars that they are of, that were not passed on."""

    __slots__ = ("_at", "_rows", "fresh")

    def __init__(self) -> None:
        self._rows: list[tuple[bytes, str]] = []
        self._at = 0
        """The row that the cursor is in."""
        self.fresh = True
        """Whether what was passed on ends with its line."""

    @property
    def drawn(self) -> bool:
        return bool(self._rows)

    def draw(self, text: bytes, name: str) -> None:
        if not self._rows:
            self._rows.append((b"", ""))
        self._rows[self._at] = text, name

    def clear(self) -> str:
        """Clear the row; returns the bar that it was of."""
        name = self._rows[self._at][1]
        self._rows[self._at] = b"", ""
        return name

    def there(self) -> str:
        """The bar of the row."""
        return self._rows[self._at][1]

    def names(self) -> list[str]:
        """The bars of all rows."""
        return [name for _text, name in self._rows if name]

    def down(self) -> bool:
        """A row down; False at the end of what is kept."""
        self._at += 1
        if self._at == len(self._rows):
            self._rows.append((b"", ""))
        return self._at < _ROWS

    def up(self, count: int) -> None:
        self._at = max(0, self._at - count)

    def leave_line(self) -> bytes:
        """Pass the rows on as far as the cursor's, with its end: they are behind us."""
        below = self._rows[self._at + 1 :]
        text = self._pass(self._rows[: self._at + 1]) + b"\n"
        self._rows, self._at, self.fresh = below, 0, True
        return text

    def left(self) -> bytes:
        """Pass on what stands there: nothing will be drawn over it. Rows below the cursor are written over by what
        follows."""
        text = self._pass(self._rows[: self._at + 1])
        self._rows, self._at = [], 0
        if text:
            self.fresh = text.endswith(b"\n")
        return text

    def last(self) -> bytes:
        """Pass on all of it: nothing follows."""
        while len(self._rows) > self._at + 1 and self._rows[-1][0]:
            self._at += 1
        return self.left()

    def _pass(self, rows: list[tuple[bytes, str]]) -> bytes:
        text = b"\n".join(row for row, _name in rows)
        return text if self.fresh or not rows or not rows[0][0] else b"\r" + text

    def write(self, piece: bytes) -> bytes:
        """Pass text on."""
        if piece:
            self.fresh = piece.endswith(b"\n")
        return piece


def _read(drawing: bytes) -> dict[str, Any] | None:
    """The bar that this is; None: no bar."""
    if len(drawing) > _HELD or b"[" not in drawing:
        return None
    text = drawing.decode("utf-8", "replace")
    found = _BAR.fullmatch(text) or _COUNT.fullmatch(text)
    if found is None:
        return None
    said = found.groupdict()
    label = (said["label"] or "").strip()
    bar: dict[str, Any] = {"id": f"text {label}"[:200], "done": _number(said["done"])}
    postfix = (said["postfix"] or "").strip()
    label = f"{label} ({postfix})" if label and postfix else label or postfix
    rate = _number(said["rate"]) if said["rate"] not in {None, "?"} else None
    if said["each"] and (each := _number(said["each"])) > 0:
        rate = 1 / each
    more = {
        "label": label[:200],
        "total": _number(said["total"]) if said.get("total") else None,
        "unit": (said["unit"] or said["thing"] or "").strip()[:32],
        "rate": rate,
        "eta": _seconds(said.get("left") or "?"),
    }
    return bar | {key: value for key, value in more.items() if value is not None and value != ""}


def _number(text: str) -> float:
    scale = "kMGTPEZY".find(text[-1]) + 1
    try:
        return float(text[:-1]) * 1000.0**scale if scale else float(text)
    except ValueError:  # 1.2.3
        return 0.0


def _seconds(text: str) -> float | None:
    """Of H:MM:SS."""
    seconds = 0
    for part in text.split(":"):
        if not part.isdigit():
            return None
        seconds = seconds * 60 + int(part)
    return float(seconds)
