"""What a call prints there, printed here while it runs, in the thread that waits for it."""

from __future__ import annotations

import contextlib
import queue
import sys
from typing import Any

from jupyter_fx.client import interrupts
from jupyter_fx.client.futures import TaskFuture
from jupyter_fx.client.listeners import Listener
from jupyter_fx.client.notes import remark
from jupyter_fx.errors import FxError
from jupyter_fx.ids import short_id
from jupyter_fx.protocol.messages import Event, EventKind

__all__ = ["Screen"]

_ASK_AFTER = 2.0  # seconds of silence after which the hub is asked what a task waits for
_LIMIT = 10_000  # events that wait to be printed; of a flood the oldest are dropped, and that is said


class Screen:
    """Takes events on the client's thread and writes them in the caller's: so they land in the caller's notebook
    cell."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._dropped = 0
        self._begun = False
        self._said = ""
        self._pause = _ASK_AFTER

    def take(self, event: Event) -> None:
        """Take an event; never waits."""
        if event.kind in {EventKind.STDOUT, EventKind.STDERR, EventKind.DISPLAY} or remark(event):
            if self._events.qsize() < _LIMIT:
                self._events.put(event)
            else:
                self._dropped += 1

    def follow(self, future: TaskFuture, on_interrupt: str = "cancel") -> Any:
        """Print until the task is done; its value. An interrupt (Ctrl-C) is passed on to the task and raised here."""
        try:
            self._until_done(future)
        except KeyboardInterrupt:
            if interrupts.passes_on(on_interrupt):
                future.cancel_running(reason="interrupted by its caller")
            raise
        return future.result()

    def watch(self, future: Listener) -> None:
        """Print until the task is done. An interrupt ends the printing and leaves the task alone."""
        try:
            self._until_done(future)
        except KeyboardInterrupt:
            future.leave()
            sys.stderr.write(f"[left; task {short_id(future.task_id)} goes on]\n")

    def _until_done(self, future: TaskFuture) -> None:
        future.add_done_callback(lambda _done: self._events.put(None))
        future._client.flush()  # noqa: SLF001
        while (event := self._next(future)) is not None:
            self._show(event)
        if self._dropped:
            sys.stderr.write(f"[{self._dropped} pieces of output not shown here; the task's log has them: .logs()]\n")

    def _next(self, future: TaskFuture) -> Event | None:
        """The next event; while the task waits, what it waits for is said on stderr, less often the longer it takes."""
        while True:
            try:
                return self._events.get(timeout=None if self._begun else self._pause)
            except queue.Empty:
                self._begun = future.running() or future.done()
                self._pause = min(60.0, 2 * self._pause)
            with contextlib.suppress(FxError):
                why = "" if self._begun else future.why.partition(" (expires in ")[0]
                if why and why != self._said:
                    self._said = why
                    sys.stderr.write(f"[{why}]\n")
                    sys.stderr.flush()

    def _show(self, event: Event) -> None:
        if event.kind == EventKind.DISPLAY:
            _display(event.data)
            return
        if said := remark(event):
            sys.stderr.write(f"[{said}]\n")
            sys.stderr.flush()
            return
        text = event.data.decode("utf-8", "replace") if isinstance(event.data, (bytes, bytearray)) else str(event.data)
        stream = sys.stdout if event.kind == EventKind.STDOUT else sys.stderr
        stream.write(text)
        stream.flush()


def _display(data: Any) -> None:
    content = data.get("content", data) if isinstance(data, dict) else {}
    bundle = content.get("data") or {}
    shell = sys.modules.get("IPython")
    if shell is not None and shell.get_ipython() is not None:
        from IPython.display import publish_display_data

        publish_display_data(bundle, content.get("metadata") or {})
    elif "text/plain" in bundle:
        sys.stdout.write(f"{bundle['text/plain']}\n")
