"""A word when something that took long is over, for who looked away: `%fx notify [SECONDS|off]`. Off until asked for.

A terminal rings its bell and says what ended. A kernel has no way to reach a browser but the notebook itself, where the
card says it anyway: there this says so instead of promising more.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from jupyter_fx.errors import UsageError
from jupyter_fx_kernel.card import Card, duration
from jupyter_fx_kernel.options import seconds
from jupyter_fx_kernel.screens import is_rich
from jupyter_fx_kernel.session import Notebook

__all__ = ["WORDS", "ended", "notify"]

WORDS = ("off", "30", "5m")
_USUAL = 30.0

_after = 0.0
"""Seconds that a task must have taken; 0: nothing is said."""


def notify(notebook: Notebook, words: Sequence[str]) -> None:
    """Carry out `%fx notify`."""
    global _after  # noqa: PLW0603 - one terminal, one wish
    if len(words) > 1:
        raise UsageError("%fx notify takes a duration (30, 5m), `off`, or nothing")
    if is_rich(notebook.shell):
        raise UsageError(
            "%fx notify rings the bell of a terminal, and this is a notebook: its cards say when a task has ended"
        )
    if words:
        try:
            _after = 0.0 if words[0] == "off" else seconds(words[0])
        except Exception as error:
            raise UsageError(f"%fx notify {words[0]}: say a duration (30, 5m) or `off`") from error
    elif not _after:
        _after = _USUAL
    print(f"the bell rings when something took {duration(_after)} or longer" if _after else "no bell rings")


def ended(card: Card, kernel: Any) -> None:
    """A task is over: ring if it took long and somebody wants to know."""
    if kernel is not None or not _after or card.elapsed < _after:
        return
    sys.stderr.write(f"\a{card.name or card.kind} on {card.place}: {card.state} after {duration(card.elapsed)}\n")
    sys.stderr.flush()
