"""Puts what a remote cell tells into the outputs of the local one: text, displays, the last expression's value."""

from __future__ import annotations

import codecs
import itertools
from collections.abc import Callable, Mapping
from typing import Any

from jupyter_fx.protocol.messages import Event, EventKind
from jupyter_fx_kernel.screens import streams_of

__all__ = ["Outputs", "show_as_there"]


_FASTEST, _STEADY, _SLOWEST = 0.1, 0.25, 4.0
"""Seconds between two pieces of text: at first, after `_QUICK` of them, and when a cell has written much."""
_QUICK = 10
_PER_SECOND = 16_000
"""Characters of a cell's text for which it waits a second longer."""
_FEW, _SOON = 2000, 1.0
"""Characters that somebody may read as they come: they wait no longer than that, however much there is before them."""
_ENOUGH = 128 * 1024
"""Characters that are written although it is not time yet."""


class Outputs:
    """Writes events of one task. Used from one thread: the cell's, or the one that follows a background cell."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {EventKind.STDOUT: decoder("replace"), EventKind.STDERR: decoder("replace")}
        self.unflushed = False
        """Whether text was written and not yet flushed; `pending` says that its last line has no end yet."""
        self.pending = False
        self._texts: list[tuple[EventKind, str]] = []
        self._held_back = self._written = self._flushes = 0
        self.result: Mapping[str, Any] | None = None
        """The content of the last execute_result, which becomes the value of the cell."""
        self._held: list[tuple[str, Mapping[str, Any]]] = []
        """Displays that came after the result, as figures do, and are shown after it here too."""
        self._awaits_result = False
        self.midline = False
        """Whether the last line of text that was written has no end."""
        self.count = 0
        """How often something was shown."""
        self.before: Callable[[], None] = lambda: None
        """Called before anything is shown."""

    def move_to(self, shell: Any) -> None:
        """Write through another shell from now on."""
        self.flush()
        self._shell = shell

    def put(self, event: Event) -> None:
        """Show one event of kind STDOUT, STDERR or DISPLAY; others are none of its business."""
        kind = EventKind(event.kind)
        if kind in self._decoders:
            data = event.data
            text = data if isinstance(data, str) else self._decoders[kind].decode(bytes(data))
            self._texts.append((kind, text))
            self._held_back += len(text)
            self.pending, self.unflushed = not text.endswith("\n"), True
            if self._held_back >= _ENOUGH:
                self._write()
        elif kind is EventKind.DISPLAY and isinstance(event.data, Mapping):
            self._display(str(event.data.get("kind", "display_data")), event.data.get("content") or {})

    def flush(self) -> None:
        """Let the front end have the text."""
        self._flushes += bool(self._texts)
        self._write()
        self.unflushed = self.pending = False
        for stream in streams_of(self._shell):
            stream.flush()

    @property
    def pace(self) -> float:
        """Seconds that shall be between two flushes.

        A front end draws a cell's whole text anew for each piece: the more there is, the fewer and larger pieces.
        """
        least = _FASTEST if self._flushes < _QUICK else _STEADY
        most = _SOON if self._held_back <= _FEW else _SLOWEST
        return min(most, max(least, self._written / _PER_SECOND))

    def _write(self) -> None:
        if not self._texts:
            return
        texts, self._texts, self._held_back = self._texts, [], 0
        self.before()
        self.count += 1
        out, err = streams_of(self._shell)
        for kind, run in itertools.groupby(texts, key=lambda piece: piece[0]):
            text = "".join(text for _, text in run)
            self._written += len(text)
            (out if kind is EventKind.STDOUT else err).write(text)
        self.midline = not texts[-1][1].endswith("\n")

    def _display(self, kind: str, content: Mapping[str, Any]) -> None:
        if kind == "execute_result":
            self.flush_result()
            self.result = content
        elif self.result is not None:
            self._held.append((kind, content))
        else:
            self._publish(kind, content)

    def _publish(self, kind: str, content: Mapping[str, Any]) -> None:
        publisher = self._shell.display_pub
        self._about_to_show()
        if kind == "clear_output":
            publisher.clear_output(wait=bool(content.get("wait")))
            return
        publisher.publish(
            dict(content.get("data") or {}),
            dict(content.get("metadata") or {}),
            transient=dict(content.get("transient") or {}),
            update=kind == "update_display_data",
        )

    def flush_result(self) -> None:
        """Show a value that turned out not to be the cell's last one, and what came after it."""
        if self.result is not None:
            self._show_result()
            self.result = None
        self._let_go()

    def _show_result(self) -> None:
        if self.result is not None:
            self._publish("display_data", {**self.result, "transient": {}})

    def after_result(self, *, shown: bool) -> None:
        """Show what came after the result: when the shell has shown that, or now, with the result, when it will not."""
        self._awaits_result = shown and self.result is not None
        if not shown:
            self._show_result()
        if self._held and not self.when_result_is_shown(self._let_go):
            self._let_go()

    def when_result_is_shown(self, do: Callable[[], None]) -> bool:
        """Whether the shell is about to show the cell's value; if so, `do` is called when it has."""
        if not self._awaits_result:
            return False
        events = self._shell.events

        def once() -> None:
            events.unregister("post_execute", once)
            do()

        events.register("post_execute", once)
        return True

    def _about_to_show(self) -> None:
        self._write()
        self.before()
        self.count += 1

    def _let_go(self) -> None:
        held, self._held = self._held, []
        for kind, content in held:
            self._publish(kind, content)


def show_as_there(shell: Any, value: Any, content: Mapping[str, Any]) -> None:
    """Let the shell, which is about to show `value`, show of it what was made of it there.

    Here its repr might differ: by what is installed, by what a setting was there, by what it computes to draw itself.
    """
    hook = shell.displayhook
    made = dict(content.get("data") or {}), dict(content.get("metadata") or {})
    usual = type(hook).compute_format_data

    def compute(result: Any) -> Any:
        return made if result is value else usual(hook, result)

    def once() -> None:
        shell.events.unregister("post_execute", once)
        vars(hook).pop("compute_format_data", None)

    hook.compute_format_data = compute
    shell.events.register("post_execute", once)
