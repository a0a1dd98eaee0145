"""`fx.progress` where the code runs here: one line on stderr, written again and again.

Notebooks and terminals show that alike. Where nobody looks (a log, a pipe) each bar is one line, when it is done.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from typing import Any

from jupyter_fx.payload.bars import at_home, progress

__all__ = ["progress"]

_WIDTH = 20
_EIGHTHS = " ▏▎▍▌▋▊▉"


class Line:
    """The bars of this process as one line of text."""

    def __init__(self) -> None:
        self._bars: dict[str, Mapping[str, Any]] = {}
        self._width = 0

    def __call__(self, _kind: str, data: Mapping[str, Any]) -> None:
        """Draw what is told of the bars that changed."""
        live = _is_watched()
        for bar in data["bars"]:
            name = str(bar["id"])
            if bar.get("ended"):
                self._bars.pop(name, None)
                if not self._bars or not live:
                    self._write(_drawn(bar), live=live, end="\n")
            else:
                self._bars[name] = bar
        if live and self._bars:
            note = str(data.get("note") or "")
            self._write("  ".join([*map(_drawn, self._bars.values()), *([note] if note else [])]), live=True)

    def _write(self, text: str, *, live: bool, end: str = "") -> None:
        if live:
            text = text[: max(20, shutil.get_terminal_size((120, 24)).columns - 1)]
            padded, self._width = text.ljust(self._width), 0 if end else len(text)
            sys.stderr.write(f"\r{padded}{end}")
        else:
            sys.stderr.write(f"{text}{end}")
        sys.stderr.flush()


def _is_watched() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if getattr(shell, "kernel", None) is not None:
        return True
    try:
        return bool(sys.stderr.isatty())
    except (AttributeError, ValueError):
        return False


def _drawn(bar: Mapping[str, Any]) -> str:
    """`label  45% █████████           45/100 12 it/s 4 s`."""
    done, total = float(bar["done"]), bar.get("total")
    words = [str(bar["label"])] if bar.get("label") else []
    if total:
        share = max(0.0, min(1.0, done / float(total)))
        whole, part = divmod(int(share * _WIDTH * 8), 8)
        drawn = "█" * whole + (_EIGHTHS[part] if part else "")
        words += [f"{share:4.0%}", drawn.ljust(_WIDTH), f"{done:.10g}/{float(total):.10g}"]
    else:
        words.append(f"{done:.10g}")
    if bar.get("rate"):
        words.append(f"{bar['rate']:.3g} {bar.get('unit') or 'it'}/s")
    if bar.get("eta") and not bar.get("ended"):
        words.append(f"{bar['eta']:.0f} s left")
    return " ".join(words)


at_home(Line)
