"""A word when something that took long is over, for who looked away: `%fx notify [SECONDS|off]`. Off until asked for.

A terminal rings its bell and says what ended. In a notebook the wish goes with the cards, and JupyterLab's labextension
tells the end of those that it saw run; another front end has the card alone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from jupyter_fx.errors import UsageError
from jupyter_fx_kernel.card import Card, duration, notify_after
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
    if words:
        try:
            _after = 0.0 if words[0] == "off" else seconds(words[0])
        except Exception as error:
            raise UsageError(f"%fx notify {words[0]}: say a duration (30, 5m) or `off`") from error
    elif not _after:
        _after = _USUAL
    rich = is_rich(notebook.shell)
    notify_after(_after if rich else 0.0)
    if not _after:
        print("nothing is told" if rich else "no bell rings")
    elif rich:
        print(
            f"JupyterLab tells when something took {duration(_after)} or longer (with the labextension of jupyter-fx)"
        )
    else:
        print(f"the bell rings when something took {duration(_after)} or longer")


def ended(card: Card, kernel: Any) -> None:
    """A task is over: ring if it took long and somebody wants to know."""
    if kernel is not None or not _after or card.elapsed < _after:
        return
    sys.stderr.write(f"\a{card.name or card.kind} on {card.place}: {card.state} after {duration(card.elapsed)}\n")
    sys.stderr.flush()
