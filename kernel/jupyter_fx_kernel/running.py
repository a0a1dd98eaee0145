"""Follows one remote cell: its output as it comes, interrupts, and how it ended.

Events arrive on the client's thread and are handed over through a queue, because output belongs to the cell whose
thread writes it. While a cell is followed on the main thread SIGINT is a word in that queue too, so that an interrupt
can fall between two outputs but never inside of one.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from jupyter_fx.errors import FxError
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import Event, EventKind, Outcome
from jupyter_fx_kernel import leaving
from jupyter_fx_kernel.card import QUIET_FOR, Card, duration
from jupyter_fx_kernel.outputs import Outputs
from jupyter_fx_kernel.showing import CardView

__all__ = ["Follower"]

_TICK, _SLOW_TICK = 1.0, 10.0
"""Seconds between refreshes of a card that is shown, at first and of one that has long been; in between a quarter
of its age. Each costs the front end about 10 ms, and a card says as of when it is."""
_BUSY, _STEADY, _LONG = 0.25, 0.5, 10.0
"""The same when what it says has changed, at first and from its tenth second on: progress may change very often."""
_LINE_END = 0.06
"""Seconds that a line without its end waits for it."""
_DRAIN = 100
"""Events that are taken at a time although it is time to let the front end have the text."""
_GIVE_UP_AFTER = 3
"""Interrupts after which the notebook gets its prompt back although the remote cell goes on."""

_ASK_EVERY = 2.0
"""Seconds between two looks at what a task waits for."""

_DONE = object()
_INTERRUPT = object()


class Follower:
    """One per cell. `put` and `finish` may be called from any thread, `follow` from one."""

    def __init__(self, shell: Any, card: Card, *, rich: bool, mark: str = "") -> None:
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._began = time.monotonic() - max(0.0, time.time() - card.submitted)
        self.card = card
        self._kernel = getattr(shell, "kernel", None)
        self.on_end: Callable[[Card], None] | None = None
        """Told when the task is over."""
        self.last_resort = ""
        """What ends code that takes no notice of interrupts, and what that costs."""
        self.outputs = Outputs(shell)
        self.view = CardView(card, shell.display_pub.publish, rich=rich, outputs=self.outputs, mark=mark)
        self.outputs.before = self.view.clear
        self._said: tuple[Any, ...] = ()
        self._refreshed = self._flushed = self._since = 0.0
        self._drained = 0
        self.interrupts = 0
        self.ask: Callable[[], str] | None = None
        """Asks the hub what the task waits for; called on a thread of its own."""
        self._asked = 0.0

    def put(self, event: Event) -> None:
        """An event of the task."""
        self._queue.put(event)

    def finish(self, _future: object = None) -> None:
        """The task's future is done."""
        self._queue.put(_DONE)

    def move_to(self, screen: Any) -> None:
        """Go on showing through another screen; called between two followings."""
        self.outputs.move_to(screen)
        self.view.move_to(screen.display_pub.publish)

    def follow(self, interrupt: Callable[[], None] | None) -> bool:
        """Show what comes until the task is done; `interrupt` passes a KeyboardInterrupt on. False: the user left.

        Without `interrupt` the first one leaves, and the task hears nothing of it.
        """
        with self._interrupts_as_words():
            try:
                return self._follow(interrupt)
            finally:
                self._flush()

    def _follow(self, interrupt: Callable[[], None] | None) -> bool:
        while True:
            word = self._next()
            if word is _DONE:
                return True
            if word is _INTERRUPT:
                if interrupt is None or leaving.ends_now(self._kernel):
                    return False
                self.interrupts += 1
                self.card.interrupts = self.interrupts
                interrupt()
                if not self._after_interrupt():
                    return False
            elif isinstance(word, str):
                if self._waits:
                    self.card.why = word
            elif word is not None:
                self._show(word)
            self._refresh()
            self._ask_why()

    def _flush(self) -> None:
        self._flushed, self._since, self._drained = time.monotonic(), 0.0, 0
        self.outputs.flush()

    @property
    def _waits(self) -> bool:
        return not self.card.done and self.card.state != "running"

    def _ask_why(self) -> None:
        """Find out what the task waits for, without waiting: the hub may be slow, or gone."""
        now = time.monotonic()
        if self.ask is None or not self._waits or now - self._began < QUIET_FOR or now - self._asked < _ASK_EVERY:
            return
        self._asked = now
        threading.Thread(target=self._ask_now, args=(self.ask,), daemon=True, name="jupyter-fx-why").start()

    def _ask_now(self, ask: Callable[[], str]) -> None:
        with contextlib.suppress(FxError):
            self._queue.put(ask())

    def _next(self) -> Any:
        if self.outputs.unflushed:
            now = time.monotonic()
            if not self._since:
                self._since = now
            # `print` writes its line and the line's end separately: they should be one piece of output.
            line_end = self._since + (_LINE_END if self.outputs.pending else 0.0)
            wait = max(line_end, self._flushed + self.outputs.pace) - now
            with contextlib.suppress(queue.Empty):
                if wait > 0:
                    return self._queue.get(timeout=wait)
                if self._drained < _DRAIN:
                    self._drained += 1
                    return self._queue.get_nowait()
            self._flush()
            # With the text, so that the front end draws both at once.
            self._refresh()
        left = QUIET_FOR - (time.monotonic() - self._began)
        wait = left + 0.01 if left > 0 and not self.view.shown else _TICK
        try:
            return self._queue.get(timeout=wait)
        except queue.Empty:
            return None

    def _show(self, event: Event) -> None:
        card = self.card
        card.event = max(card.event, event.n + 1)
        if event.kind == EventKind.STATE and isinstance(event.data, dict):
            state = TaskState(int(event.data.get("state", TaskState.QUEUED)))
            if not state.terminal:
                card.state = state.name.lower()
                card.why = "" if state is TaskState.RUNNING else str(event.data.get("reason") or card.why)
        elif event.kind == EventKind.PROGRESS:
            card.told(event.data)
        elif event.kind == EventKind.NOTE:
            card.why = (
                str((event.data or {}).get("text") or card.why) if isinstance(event.data, dict) else str(event.data)
            )
        else:
            self.outputs.put(event)

    def _refresh(self) -> None:
        card, now = self.card, time.monotonic()
        card.elapsed = now - self._began
        said = (card.state, card.why, card.note, card.interrupts, [(b["id"], b["done"]) for b in card.bars.values()])
        busy = _BUSY if card.elapsed < _LONG else _STEADY
        if said == self._said and self.view.shown and self.outputs.unflushed:
            return  # it goes with the text, which goes soon
        every = busy if said != self._said else max(_TICK, min(_SLOW_TICK, card.elapsed / 4))
        if not self.view.shown or now - self._refreshed >= every:
            self._said, self._refreshed = said, now
            self.view.refresh()

    def _after_interrupt(self) -> bool:
        """Say what happens next. False: enough, give the prompt back."""
        if self.interrupts == 1:
            self.card.why = "interrupt sent"
            return True
        if self.interrupts < _GIVE_UP_AFTER:
            print(
                "The remote cell was interrupted again. Code that does not look at signals (a long library call) stops "
                "when it returns. Interrupt once more to have your prompt back and leave it running"
                + (f"; {self.last_resort}." if self.last_resort else "."),
                file=sys.stderr,
            )
            return True
        return False

    def end(self, outcome: Outcome | None, state: str, why: str = "") -> None:
        """Show how the task ended. Times come from the outcome where it tells them."""
        card = self.card
        card.state = state
        card.ended, card.why = (why, "") if state in {"succeeded", "cancelled"} else ("", why)
        if state == "succeeded":
            card.bars.clear()
        card.elapsed = time.monotonic() - self._began
        if outcome is not None:
            card.times_of(outcome)
            ran = next((seconds for hop, seconds in card.times if hop == "run"), None)
            if ran is not None and card.elapsed - ran > 1:
                card.note = f"ran {duration(ran)}"
        self.view.finish(force=bool(card.notices), later=self.outputs.when_result_is_shown)
        if self.on_end is not None:
            self.on_end(card)

    @contextlib.contextmanager
    def _interrupts_as_words(self) -> Iterator[None]:
        """While this lasts SIGINT raises nothing: it is put into the queue."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def heard(_number: int, _frame: FrameType | None) -> None:
            self._queue.put(_INTERRUPT)

        before = signal.signal(signal.SIGINT, heard)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
