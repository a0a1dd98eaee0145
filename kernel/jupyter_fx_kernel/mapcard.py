"""One card for a whole map, and one for a wait: counts, rate, how long it will be, what failed, what it waits for.

A card looks at counters from a thread of its own, at most four times a second, so that a map of a million items pays
for it as little as one of ten; it never waits for the hub while it could draw. A map that is over within half a second
and went well shows none.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Self

from jupyter_fx.client import MapResult, TaskFuture, watchers
from jupyter_fx.client.given import call_of
from jupyter_fx.client.watchers import Counts, Failure
from jupyter_fx.errors import FxError
from jupyter_fx.ids import new_id
from jupyter_fx.payload.failures import said, shown_item
from jupyter_fx_kernel.card import QUIET_FOR, Card
from jupyter_fx_kernel.screens import is_rich, pinned
from jupyter_fx_kernel.showing import CardView
from jupyter_fx_kernel.snapshot import schema

__all__ = ["MapCard", "WaitCard", "install", "uninstall"]

_EVERY = 0.25
"""Seconds between two looks, at the least."""
_STILL = 1.0
"""The same when nothing has changed but the time; and of a map that has run for two minutes."""
_SHARE = 50
"""A look that took a moment is followed by a pause of so many such moments: 2 % of a core."""
_WINDOW = 10.0
"""Seconds over which the rate is measured."""
_ASK_EVERY = 5.0
"""Seconds between two questions to the hub what nothing waits for."""
_FAILURES: int = schema()["properties"]["map"]["properties"]["failures"]["maxItems"]
_TASKS: int = schema()["properties"]["map"]["properties"]["tasks"]["maxItems"]


class _Live:
    """What both cards share: a thread that looks, and the last word."""

    def __init__(self, shell: Any, card: Card, clock: Callable[[], float]) -> None:
        self.card = card
        self._clock = clock
        self._began = clock()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._seen: deque[tuple[float, int]] = deque()
        self._asked = self._drawn = -_ASK_EVERY
        self._said: tuple[Any, ...] = ()
        self._view = CardView(card, pinned(shell).display_pub.publish, rich=True)

    def start(self) -> Self:
        """Look from now on, on a thread of its own."""
        threading.Thread(target=self._look, name="jupyter-fx-card", daemon=True).start()
        return self

    # --- of the one or the other ---

    def _counts(self) -> Counts:
        raise NotImplementedError

    def _failures(self) -> list[Failure]:
        raise NotImplementedError

    def _unfinished(self) -> Sequence[Any]:
        raise NotImplementedError

    def _state(self, counts: Counts) -> str:
        """The state: `running` as long as something may come."""
        raise NotImplementedError

    # --- ---

    def ended(self) -> None:
        """Whoever waited goes on: what is so now is shown now."""
        self._refresh()

    def _look(self) -> None:
        time.sleep(QUIET_FOR)
        while not self._over.is_set():
            begun = time.monotonic()
            try:
                self._refresh()
                self._ask_why()
            except Exception as error:  # noqa: BLE001 - a card that cannot be drawn must not end with silence
                self.card.note = f"this card is not up to date: {type(error).__name__}: {error}"
                with contextlib.suppress(Exception):
                    self._view.refresh(force=True)
                return
            pause = max(_EVERY, min(_STILL, self.card.elapsed / 120))
            self._over.wait(max(pause, _SHARE * (time.monotonic() - begun)))

    def _refresh(self) -> None:
        with self._lock:
            if self._over.is_set():
                return
            now = self._clock()
            card, counts = self.card, self._counts()
            card.state = self._state(counts)
            card.elapsed = now - self._began
            if card.done or counts.running or counts.done:
                card.why = ""
            rate, eta = self._pace(now, counts) if not card.done else (None, None)
            failures = self._failures() if counts.failed else []
            card.items = {
                **counts._asdict(),
                "rate": rate,
                "eta": eta,
                "failures": [_told(failure) for failure in failures[:_FAILURES]],
                "tasks": [] if card.done else [future.task_id for future in self._unfinished()[:_TASKS]],
            }
            if card.done:
                self._over.set()
            said = (card.state, card.why, card.note, counts)
            if said != self._said or now - self._drawn >= _STILL:
                self._said, self._drawn = said, now
                self._view.refresh()

    def _pace(self, now: float, counts: Counts) -> tuple[float | None, float | None]:
        """(items per second of late, seconds to go)."""
        seen = self._seen
        seen.append((now, counts.done))
        while len(seen) > 2 and now - seen[0][0] > _WINDOW:
            seen.popleft()
        (first, before), spent = seen[0], now - seen[0][0]
        if spent < _EVERY or counts.done <= before:
            return None, None
        rate = (counts.done - before) / (now - first)
        return rate, (counts.total - counts.done) / rate if counts.total is not None else None

    def _ask_why(self) -> None:
        """While nothing runs and nothing has come back: ask what the first of it waits for."""
        card, now = self.card, self._clock()
        waits = not card.done and not card.why and card.items and not (card.items["running"] or card.items["done"])
        if not waits and not (card.why and now - self._asked > _ASK_EVERY):
            return
        if now - self._asked <= _ASK_EVERY:
            return
        self._asked = now
        first = next((future for future in self._unfinished() if isinstance(future, TaskFuture)), None)
        if first is not None:
            with contextlib.suppress(FxError):
                card.why = first.why


def _told(failure: Failure) -> dict[str, Any]:
    return {"index": failure.index, "input": shown_item(failure.item), "error": said(failure.error)}


class MapCard(_Live):
    """The card of `f.map`. Cancelling any of its tasks, as its button does with all of them, cancels the map."""

    def __init__(self, shell: Any, result: MapResult, clock: Callable[[], float] = time.monotonic) -> None:
        self._result = result
        card = Card(result.group, result.endpoint or "local", kind="map", name=result.name, state="running")
        super().__init__(shell, card, clock)

    def _counts(self) -> Counts:
        return self._result.counts()

    def _failures(self) -> list[Failure]:
        return self._result.failures(_FAILURES)

    def _unfinished(self) -> Sequence[Any]:
        return self._result.unfinished()

    def _state(self, counts: Counts) -> str:
        result = self._result
        if not result.done:
            if result.was_cancelled:
                result.cancel()  # what was sent before the cancel came from elsewhere
            return "running"
        if counts.cancelled or (result.was_cancelled and counts.total is not None and counts.done < counts.total):
            return "cancelled"
        return "failed" if counts.failed else "succeeded"


class WaitCard(_Live):
    """The card of `fx.wait` and `fx.as_completed`; over when the waiting is, whether or not everything is done."""

    def __init__(
        self,
        shell: Any,
        futures: Sequence[concurrent.futures.Future[Any]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._futures = futures
        self._left = False
        super().__init__(shell, Card(new_id(), "", kind="wait", name=_count_of(futures), state="running"), clock)

    def ended(self) -> None:
        """The waiting is over."""
        self._left = True
        self._refresh()

    def _counts(self) -> Counts:
        done = running = failed = cancelled = 0
        for future in self._futures:
            if future.done():
                done += 1
                if future.cancelled():
                    cancelled += 1
                elif _error_of(future) is not None:
                    failed += 1
            elif future.running():
                running += 1
        return Counts(len(self._futures), done, running, failed, cancelled)

    def _failures(self) -> list[Failure]:
        found: list[Failure] = []
        for at, future in enumerate(self._futures):
            error = _error_of(future) if future.done() and not future.cancelled() else None
            if error is not None:
                found.append(Failure(at, _Call(future), error))
                if len(found) >= _FAILURES:
                    break
        return found

    def _unfinished(self) -> Sequence[Any]:
        return [future for future in self._futures if isinstance(future, TaskFuture) and not future.done()]

    def _state(self, counts: Counts) -> str:
        if counts.done < len(self._futures):
            if self._left:
                self._over.set()
                self.card.note = "no longer waited for"
            return "running"
        if counts.failed:
            return "failed"
        return "cancelled" if counts.cancelled == counts.done and counts.done else "succeeded"


class _Call:
    """A future, shown by the call that it stands for."""

    def __init__(self, future: Any) -> None:
        self._future = future

    def __repr__(self) -> str:
        return call_of(self._future)


def _error_of(future: Any) -> BaseException | None:
    # As its outcome told it: `exception()` would open a result that nobody has asked for.
    error: BaseException | None = getattr(future, "_exception", None)
    return error


def _count_of(futures: Sequence[Any]) -> str:
    names = {str(getattr(future, "name", "") or "") for future in futures}
    name = names.pop() if len(names) == 1 else ""
    count = f"{len(futures):,} task{'s' if len(futures) != 1 else ''}"
    return f"{name}: {count}" if name else count


def install(shell: Any) -> None:
    """From now on maps and waits of this notebook have cards. A terminal, which has no place for them, gets none."""
    if not is_rich(shell):
        return

    def of_map(result: MapResult) -> watchers.Watcher | None:
        return MapCard(shell, result).start()

    def of_wait(futures: Sequence[concurrent.futures.Future[Any]]) -> watchers.Watcher | None:
        return WaitCard(shell, futures).start() if not all(future.done() for future in futures) else None

    watchers.on_map, watchers.on_wait = of_map, of_wait


def uninstall() -> None:
    """No more cards of maps and waits."""
    watchers.on_map = watchers.on_wait = None
