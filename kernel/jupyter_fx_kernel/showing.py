"""Puts a card where its reader sees it: a display that is updated in place, or a line of the terminal.

In a notebook the card appears when a cell has run for half a second, wherever its output then is, and ends up under
it: what is written after a card makes it move to the end once the cell is over. A terminal shows one line at its
bottom, written again and again and gone before anything else is printed; where the terminal cannot do that (a pipe, a
log) a line is printed only when there is something to wait for, and in the end.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from typing import Any

from jupyter_fx_kernel.card import QUIET_FOR, Card, bundle
from jupyter_fx_kernel.cardview import line
from jupyter_fx_kernel.outputs import Outputs
from jupyter_fx_kernel.snapshot import MIME

__all__ = ["CardView"]

_NOTHING = {"text/plain": ""}
"""What is left where a card was. Exporters complain of one without any form; for HTML JupyterLab loads MathJax."""
_MOVING = ("as_of", "elapsed")
"""Fields that say nothing by themselves: a card that only they make different is the same."""


class CardView:
    """Shows one card through IPython's display publisher, beside the outputs of its cell.

    `mark` tells several cards of one task apart: the one under its cell, and those where somebody came back to it.
    """

    def __init__(
        self,
        card: Card,
        publish: Callable[..., Any],
        *,
        rich: bool,
        outputs: Outputs | None = None,
        mark: str = "",
    ) -> None:
        self._card = card
        self._mark = mark
        self._publish = publish
        self._rich = rich
        self._outputs = outputs
        self._shown: dict[str, Any] = {}
        self._at = 0
        self._moved = 0
        self._why = ""
        self._told = 0
        self._live = not rich and _can_rewrite()
        self._drawn = False

    @property
    def shown(self) -> bool:
        """Whether the card can be seen."""
        return bool(self._shown) or self._drawn

    def move_to(self, publish: Callable[..., Any]) -> None:
        """Publish by another function from now on."""
        self._publish = publish

    def refresh(self, *, force: bool = False) -> None:
        """Show what changed, if it is time to show anything."""
        card = self._card
        failed = card.done and card.state != "succeeded"
        if not self.shown and not force and card.elapsed < QUIET_FOR and not failed:
            return
        if not self._rich:
            self._terminal(card)
            return
        content = bundle(card)
        if card.done and _still(content) == _still(self._shown):
            return
        update = bool(self._shown)
        if not update:
            self._at = self._written
        self._shown = content
        self._publish(content, {}, transient={"display_id": self._display_id}, update=update)

    def finish(self, *, force: bool = False, later: Callable[[Callable[[], None]], bool] | None = None) -> None:
        """The task is over: the last word, under everything that its cell has shown.

        `later` takes what is to be done when the cell's value has been shown, and says whether one will be.
        """
        if self._rich and self._shown:
            if later is not None and later(self._move):
                return
            if self._written != self._at:
                self._move()
                return
        elif self._rich and later is not None:
            quiet = self._card.elapsed < QUIET_FOR and self._card.state == "succeeded" and not force
            if quiet or later(lambda: self.refresh(force=True)):
                return
        self.refresh(force=force)

    def clear(self) -> None:
        """Something else is about to be written: the terminal's last line is taken away."""
        if self._drawn:
            self._drawn = False
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    @property
    def _written(self) -> int:
        return self._outputs.count if self._outputs is not None else 0

    @property
    def _display_id(self) -> str:
        return f"fx-{self._card.task_id}{self._mark}" + (f"-{self._moved}" if self._moved else "")

    def _move(self) -> None:
        # A display cannot be moved: the first one is emptied, another one takes its place.
        self._publish(_NOTHING, {}, transient={"display_id": self._display_id}, update=True)
        self._moved += 1
        self._shown = {}
        self.refresh(force=True)

    def _terminal(self, card: Card) -> None:
        self.clear()
        for notice in card.notices[self._told :]:
            print(notice)
        self._told = len(card.notices)
        if card.done:
            if card.elapsed >= QUIET_FOR or card.state == "cancelled":
                print(card.line)
        elif self._live:
            if card.elapsed >= QUIET_FOR and not (self._outputs is not None and self._outputs.midline):
                width = shutil.get_terminal_size().columns
                sys.stdout.flush()
                sys.stderr.write(line(card.snapshot(), live=True)[: max(10, width - 1)])
                sys.stderr.flush()
                self._drawn = True
        elif card.why and card.why != self._why and card.elapsed >= QUIET_FOR:
            self._why = card.why
            print(card.line)


def _still(content: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.get(MIME, {}).items() if key not in _MOVING}


def _can_rewrite() -> bool:
    """Whether the last line of this terminal can be written again."""
    try:
        return sys.stderr.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    except (AttributeError, ValueError):
        return False
