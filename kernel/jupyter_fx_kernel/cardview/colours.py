"""Terminal colours (SGR sequences) as HTML: the last lines of a task keep theirs. Everything else is escaped."""

from __future__ import annotations

import html
import re
from typing import Final

__all__ = ["coloured"]

_SGR = re.compile(r"\x1b\[([0-9;]*)m")
_NAMES: Final = ("Black", "Red", "Green", "Yellow", "Blue", "Magenta", "Cyan", "White")
# Readable on white and on dark grey alike, where no theme says better.
_PLAIN: Final = ("#6e7781", "#cf4d47", "#2f9e44", "#b08800", "#3b82f6", "#a855d0", "#1b95a8", "#9aa4ae")


def coloured(text: str) -> str:
    """`text` escaped, its SGR sequences as spans: bold, faint, italic, underline, foreground colours."""
    out: list[str] = []
    style: dict[str, str] = {}
    at = 0
    for found in _SGR.finditer(text):
        out.append(_span(text[at : found.start()], style))
        _apply(found[1], style)
        at = found.end()
    out.append(_span(text[at:], style))
    return "".join(out)


def _span(text: str, style: dict[str, str]) -> str:
    shown = html.escape(text)
    if not text or not style:
        return shown
    return f'<span style="{";".join(style.values())}">{shown}</span>'


def _apply(codes: str, style: dict[str, str]) -> None:
    numbers = [int(code) if code else 0 for code in codes.split(";")][:32]
    while numbers:
        number = numbers.pop(0)
        if number == 0:
            style.clear()
        elif number in _SET:
            key, value = _SET[number]
            style[key] = value
        elif number in _UNSET:
            for key in _UNSET[number]:
                style.pop(key, None)
        elif 30 <= number <= 37 or 90 <= number <= 97:
            style["fg"] = _colour(number % 10, bright=number >= 90)
        elif number in {38, 48}:
            extended = _extended(numbers)
            if number == 38 and extended:
                style["fg"] = extended


def _colour(index: int, *, bright: bool) -> str:
    return f"color:var(--vscode-terminal-ansi{'Bright' if bright else ''}{_NAMES[index]},{_PLAIN[index]})"


def _extended(numbers: list[int]) -> str:
    """`5;n` of the palette of 256, or `2;r;g;b`; takes them from `numbers`."""
    how = numbers.pop(0) if numbers else 0
    if how == 5 and numbers:
        n = numbers.pop(0)
        if n < 16:
            return _colour(n % 8, bright=n >= 8)
        if n < 232:
            red, green, blue = ((n - 16) // 36, (n - 16) // 6 % 6, (n - 16) % 6)
            levels = (0, 95, 135, 175, 215, 255)
            return f"color:#{levels[red]:02x}{levels[green]:02x}{levels[blue]:02x}" if n < 232 else ""
        grey = 8 + 10 * (min(n, 255) - 232)
        return f"color:#{grey:02x}{grey:02x}{grey:02x}"
    if how == 2 and len(numbers) >= 3:
        parts = [min(255, numbers.pop(0)) for _ in range(3)]
        return "color:#" + "".join(f"{part:02x}" for part in parts)
    return ""


_SET: Final = {
    1: ("bold", "font-weight:bold"),
    2: ("faint", "opacity:.7"),
    3: ("italic", "font-style:italic"),
    4: ("line", "text-decoration:underline"),
}
_UNSET: Final = {22: ("bold", "faint"), 23: ("italic",), 24: ("line",), 39: ("fg",)}
