"""MapResult: many calls as few tasks, whose size follows how long a call takes."""

from __future__ import annotations

import contextlib
import itertools
import reprlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, NamedTuple

from jupyter_fx import payload
from jupyter_fx.client import interrupts, watchers
from jupyter_fx.client.futures import TaskFuture, draw_for_notebooks
from jupyter_fx.client.options import with_options
from jupyter_fx.client.tally import Tally
from jupyter_fx.client.watchers import MISSING, Counts, Failure
from jupyter_fx.errors import UsageError
from jupyter_fx.ids import new_id
from jupyter_fx.protocol.limits import INLINE_MAX, MAP_ITEMS_MAX
from jupyter_fx.protocol.messages import TaskOptions

if TYPE_CHECKING:
    from jupyter_fx.client.hub import HubClient

__all__ = ["MapResult", "Progress", "next_size"]

TARGET = 0.1
"""Seconds that a chunk shall run: long beside the cost of a task, short beside a person's patience."""
INLINE = int(INLINE_MAX * 0.9)
"""Bytes up to which the items and the results of a chunk are best kept …"""
ENOUGH = 0.002
"""… as long as such a chunk runs so many seconds."""
FIRST_SIZE = 8
GROWTH = 32
"""How much larger a chunk may be than the largest that came back: the clock tells little of 8 items of 50 ns, and
what the first items cost need not be what the others do."""
AHEAD_FIXED = 1024
AHEAD = 16
"""Chunks that are on their way at a time: when their size was given, and when it is ours to choose."""
SPREAD = 8
"""Into how many chunks, at least, what is left is cut, so that no worker is left with all of it; but none that runs
for less than ENOUGH is cut further."""
KNOWN_MAX = 512
"""Functions of which it is remembered how long an item took, so that the next map of one need not find out again."""


class Progress(NamedTuple):
    """How far a map is: items whose outcome is here, items that failed, all items (None as long as it is not known)."""

    done: int
    failed: int
    total: int | None


class Pace(NamedTuple):
    """What the chunks that came back told: the size of the largest, seconds and bytes of an item (0: unknown)."""

    size: int
    seconds: float
    weight: float = 0.0


_paces: dict[str, Pace] = {}
"""By the digest of the function."""


def next_size(pace: Pace, left: int | None) -> int:
    """The size of the next chunk when `left` items are to go (None: unknown)."""
    size, each, weight = pace
    fits = MAP_ITEMS_MAX if each <= 0 else int(TARGET / each)
    most = int(INLINE / weight) if weight > 0 else 0
    if most * each >= ENOUGH:
        # As bytes inside of messages rather than as files: at 100 ns an item the files are a third of what it costs.
        fits = min(fits, most)
    size = max(1, min(fits, size * GROWTH, MAP_ITEMS_MAX))
    if left is None:
        return size
    least = int(ENOUGH / each) if each > 0 else 1
    return max(1, min(size, left, max(-(-left // SPREAD), least)))


class MapResult:
    """The results of `f.map(xs)`. Iterate it (in order, or as they finish), `list()` it, `cancel()` it, look at
    `progress`.

    Iterating raises the error of the first item that failed, with a note that names it and the others;
    `results(errors=True)` yields exceptions in their places instead; `errors` is {index: exception} of what is here.
    Items are read as they are needed. Iterating again gives the results again. Who is interrupted while waiting for
    them cancels what has not finished, unless `on_interrupt` is `leave`.
    """

    _fx_handle_ = True

    def __init__(
        self,
        client: HubClient,
        function: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        *,
        endpoint: str = "",
        options: TaskOptions | None = None,
        chunksize: int | None = None,
        ordered: bool = True,
        card: bool = True,
        on_interrupt: str = "cancel",
    ) -> None:
        if chunksize is not None and not 1 <= chunksize <= MAP_ITEMS_MAX:
            raise UsageError(f"chunksize is {chunksize}: use 1 to {MAP_ITEMS_MAX}, or leave it out")
        self._client, self._function, self._endpoint = client, function, endpoint
        self._options = _grouped(options)
        self._on_interrupt = interrupts.check(on_interrupt)
        self._star = len(iterables) > 1
        self._total = _length(iterables)
        self._source: Iterator[Any] = zip(*iterables, strict=False) if self._star else iter(iterables[0])
        self._fixed, self._ordered = chunksize is not None, ordered
        self._size = chunksize or FIRST_SIZE
        self._digest = payload.encode_function(function).digest
        self._pace = _paces.get(self._digest)
        self._change = threading.Condition()
        self._futures: list[TaskFuture] = []
        self._completed: list[TaskFuture] = []
        self._flying: set[TaskFuture] = set()
        self._slots: dict[str, tuple[int, int]] = {}  # task id: index of the first item, number of items
        self._ahead = AHEAD_FIXED if self._fixed else AHEAD
        self._taken = 0
        self._weight = 0.0  # bytes of an item of the last chunk that was sent
        self._finished = 0
        self._failures: dict[int, BaseException] = {}
        self._exhausted = self._cancelled = False
        self._broken: BaseException | None = None
        self._values: dict[int, payload.Items] = {}
        watched = watchers.on_map if card else None
        self._tally = Tally(iterables, keep=watched is not None)
        self._watcher: watchers.Watcher | None = None
        # The first chunks are made here, so that what cannot travel is said at once.
        for _ in range(self._ahead):
            if not self._exhausted:
                self._step()
        if not self._exhausted:
            threading.Thread(target=self._feed, name="jupyter-fx-map", daemon=True).start()
        if watched is not None:
            self._watcher = watched(self)

    # --- what people use ---

    def __iter__(self) -> Iterator[Any]:
        return self.results()

    def __len__(self) -> int:
        if self._total is None:
            raise TypeError("how many items there are is not known yet: list() it")
        return self._total

    def __getitem__(self, at: Any) -> Any:
        return list(self)[at]

    def results(self, *, errors: bool = False) -> Iterator[Any]:
        """Iterate; with `errors` a failed item gives its exception, else the first one raises it."""
        # A generator of items would cost each of them as much as its way there and back does.
        return itertools.chain.from_iterable(self._parts(errors))

    def _parts(self, errors: bool) -> Iterator[Iterable[Any]]:
        for start, values in self._chunks():
            yield self._told(start, values, errors) if values.failed else values

    def _told(self, start: int, values: payload.Items, errors: bool) -> Iterator[Any]:
        for at, value in enumerate(values):
            if type(value) is not payload.ItemError:
                yield value
            elif errors:
                yield value.error
            else:
                self._show()
                raise draw_for_notebooks(self._noted(value.error, start, at))

    def wait(self) -> MapResult:
        """Wait until every item has its outcome; itself."""
        for _ in self._chunks():
            pass
        return self

    def cancel(self) -> int:
        """Submit no more, cancel what has not finished; how many tasks were cancelled."""
        with self._change:
            self._cancelled = True
            flying = list(self._flying)
            self._change.notify_all()
        stopped = 0
        for future in flying:
            if not future.done():
                stopped += future.cancel()
        return stopped

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return Progress(self._finished, len(self._failures), self._total)

    @property
    def errors(self) -> dict[int, BaseException]:
        """The failures that are here, by the index of their items."""
        return dict(sorted(self._failures.items()))

    @property
    def done(self) -> bool:
        """Whether every item has its outcome."""
        return (self._exhausted or self._cancelled) and not self._flying

    @property
    def task_ids(self) -> list[str]:
        """The tasks that it was cut into, so far."""
        return [future.task_id for future in self._futures]

    @property
    def name(self) -> str:
        """What the function is called."""
        return self._options.name or payload.name_of(self._function)

    @property
    def endpoint(self) -> str:
        """Where it runs; empty: at the hub's default endpoint."""
        return self._endpoint or self._client.endpoint

    @property
    def group(self) -> str:
        """The group that its tasks have at the hub."""
        return self._options.group

    def counts(self) -> Counts:
        """How it goes: unlike `progress` this counts what came back whether or not somebody has iterated that far."""
        with self._change:
            flying = list(self._flying)
            back, failed, cancelled = self._tally.back, self._tally.failed, self._tally.cancelled
        running = [future for future in flying if future.running()]
        there = sum(future._at for future in running)  # noqa: SLF001
        return Counts(self._total, back + there, len(running), failed, cancelled)

    def unfinished(self) -> list[TaskFuture]:
        """Its tasks that are on their way."""
        with self._change:
            return list(self._flying)

    def failures(self, most: int = 20) -> list[Failure]:
        """The first failures among what came back, with their items where these are at hand."""
        with self._change:
            troubled = list(self._tally.troubled)
        found: list[Failure] = []
        for future in troubled:
            start, values = self._open(future)
            for at, value in enumerate(values):
                if type(value) is payload.ItemError and not isinstance(value.error, CancelledError):
                    found.append(Failure(start + at, self._tally.item(start, at, star=self._star), value.error))
                    if len(found) >= most:
                        break
        return sorted(found, key=lambda failure: failure.index)[:most]

    @property
    def was_cancelled(self) -> bool:
        """Whether it was cancelled, here or elsewhere."""
        return self._cancelled

    def __repr__(self) -> str:
        done, failed, total = self.progress
        of = "?" if total is None else total
        return f"<MapResult {payload.name_of(self._function)} {done}/{of}{f', {failed} failed' if failed else ''}>"

    # --- inside ---

    def _chunks(self) -> Iterator[tuple[int, payload.Items]]:
        """(index of the first item, values) of each chunk, in order or as they finish."""
        at = 0
        line = self._futures if self._ordered else self._completed
        try:
            while True:
                with self._change:
                    while len(line) <= at and not (self._exhausted and (self._ordered or not self._flying)):
                        self._change.wait()
                    if len(line) <= at:
                        break
                    future = line[at]
                yield self._open(future)
                at += 1
        except KeyboardInterrupt:
            if interrupts.passes_on(self._on_interrupt):
                self.cancel()
            raise
        finally:
            self._show()
        if self._broken is not None:
            raise self._broken

    def _show(self) -> None:
        """Whoever iterates goes on, or is interrupted: what is so now is to be seen now."""
        if self._watcher is not None:
            self._watcher.ended()

    def _open(self, future: TaskFuture) -> tuple[int, payload.Items]:
        start, count = self._slots[future.task_id]
        values = self._values.get(start)
        if values is not None:
            return start, values
        try:
            values = future.result()
        except (Exception, CancelledError) as error:  # noqa: BLE001 the task's error, whatever it is, is that of each of its items
            # What was finished before keeps its results.
            told = error
            values = payload.finished_items(future._runs, count, lambda: told)  # noqa: SLF001
            payload.note_origins(values, future.outcome)
        with self._change:
            if start not in self._values:
                self._values[start] = values
                self._finished += count
                if values.failed:
                    self._failures |= {
                        start + at: v.error for at, v in enumerate(values) if type(v) is payload.ItemError
                    }
        return start, values

    def _feed(self) -> None:
        """Keep `_ahead` chunks on their way, on a thread of its own: a map goes on whether somebody iterates or not."""
        while not self._exhausted:
            with self._change:
                self._change.wait_for(lambda: self._cancelled or len(self._flying) < self._ahead)
            try:
                self._step()
            except BaseException as error:  # noqa: BLE001 of the user's iterator or of pickling: told to who iterates
                with self._change:
                    self._broken, self._exhausted = error, True
                    self._change.notify_all()

    def _step(self) -> None:
        """Submit one more chunk, or note that there is none."""
        chunk = [] if self._cancelled else list(itertools.islice(self._source, self._next()))
        if not chunk:
            with self._change:
                self._exhausted = True
                if not self._cancelled:
                    self._total = self._taken
                self._change.notify_all()
            return
        prepared = self._client.prepare_map(
            self._function, chunk, star=self._star, endpoint=self._endpoint, options=self._options
        )
        future, spec, _function = prepared
        blob = spec.options.blob if spec.options is not None else None
        self._weight = (len(spec.payload) if blob is None else blob.size) / len(chunk)
        with self._change:
            self._slots[future.task_id] = self._taken, len(chunk)
            self._tally.sent(self._taken, chunk)
            self._taken += len(chunk)
            self._futures.append(future)
            self._flying.add(future)
            self._change.notify_all()
        self._client.push(prepared)
        future.add_done_callback(self._came)

    def _next(self) -> int:
        """How many items the next chunk takes."""
        if self._fixed:
            return self._size
        left = None if self._total is None else self._total - self._taken
        pace = self._pace
        if pace is None:
            return min(FIRST_SIZE, max(1, -(-left // SPREAD))) if left is not None else FIRST_SIZE
        return next_size(pace._replace(weight=max(pace.weight, self._weight)), left)

    def _came(self, future: Any) -> None:
        outcome = future.outcome
        with self._change:
            self._flying.discard(future)
            self._completed.append(future)
            self._tally.came(future, *self._slots[future.task_id])
            # Cancelled elsewhere (its card, the command line, another notebook) means the map: no more is submitted.
            self._cancelled = self._cancelled or future.cancelled()
            if not self._fixed and outcome is not None and len(outcome.times) >= 5 and outcome.times[3]:
                count = self._slots[future.task_id][1]
                came = len(outcome.payload) if outcome.blob is None else outcome.blob.size
                largest = max(count, self._pace.size if self._pace is not None else 0)
                self._pace = Pace(largest, max(0.0, outcome.times[4] - outcome.times[3]) / count, came / count)
                _remember(self._digest, self._pace)
            self._change.notify_all()

    def _noted(self, error: BaseException, start: int, at: int) -> BaseException:
        """`error`, which says of which item it is, and what there is beside it."""
        if isinstance(error, CancelledError):
            return error
        if notes := getattr(error, "__notes__", None):
            # Of an earlier look, when less was known.
            error.__notes__ = [note for note in notes if not note.startswith(_ITEM)]
        item, failed = self._tally.item(start, at, star=self._star), len(self._failures)
        told = f"{_ITEM}{start + at}" + (f" (given {_REPR.repr(item)})" if item is not MISSING else "")
        if failed > 1:
            known = ", ".join(map(str, sorted(self._failures)[:20]))
            more = " …" if failed > 20 else ""
            told += f"; {failed} of the {self._finished} items finished so far failed: {known}{more}"
        error.add_note(f"{told}; `.results(errors=True)` of the map gives errors in their places")
        return error


_ITEM = "map item "
"""How the note begins that says of which item an error is."""
_REPR = reprlib.Repr()
_REPR.maxlist = _REPR.maxtuple = _REPR.maxset = _REPR.maxdict = 8
_REPR.maxstring = _REPR.maxother = 80


def _remember(digest: str, pace: Pace) -> None:
    # No lock, which a child forked meanwhile would never get: two threads at once may keep one entry too many or few.
    if len(_paces) >= KNOWN_MAX and digest not in _paces:
        with contextlib.suppress(KeyError, RuntimeError):
            del _paces[next(iter(_paces))]
    _paces[digest] = pace


def _grouped(options: TaskOptions | None) -> TaskOptions:
    return with_options(options or TaskOptions(), group=new_id())


def _length(iterables: tuple[Iterable[Any], ...]) -> int | None:
    sizes = []
    for iterable in iterables:
        try:
            sizes.append(len(iterable))  # type: ignore[arg-type]
        except TypeError:
            return None
    return min(sizes)
