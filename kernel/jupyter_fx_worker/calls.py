"""The verbs `call` and `map`: a cached function applied to what a payload holds."""

from __future__ import annotations

import contextlib
import os
import random
import sys
import time
from collections.abc import Sequence
from itertools import starmap
from typing import TYPE_CHECKING, Any

from jupyter_fx_worker import envelope, errors, failures, inputs
from jupyter_fx_worker.channel import ITEM
from jupyter_fx_worker.results import dumps_result

if TYPE_CHECKING:
    from jupyter_fx_worker.worker import Worker

__all__ = ["Broken", "Outcome", "describe_unpicklable", "run_call", "run_map"]

Outcome = tuple[str, Sequence[envelope.Buffer], dict[str, Any]]

_FLUSH_EVERY = 0.05
# A block of items is run without looking at the clock; it is grown until it takes about this long.
_BLOCK = 0.002
_MAX_BLOCK = 1 << 16
_SHORT_ITEM = 0.001
# Below this the shared counter is written once per block instead of once per item: it costs as much as such an item.
_FAST_ITEM = 5e-6


class Broken:
    """A function that could not be opened here; calling it is refused with the reason."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def describe_unpicklable(value: object, error: BaseException, what: str) -> errors.PayloadError:
    """Return the error for a value that cannot travel: which, why, and what to do."""
    reason = f"{type(error).__name__}: {errors.message_of(error)}"
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    return errors.PayloadError(
        f"{what} (of type {kind.removeprefix('builtins.')}) cannot be pickled, "
        f"because {reason}; return plain data made from it, or keep it on the remote side"
    )


def leave_if_forked(pid: int, code: int = 0) -> None:
    """End this process if user code forked it and let it fall through into our loop."""
    if os.getpid() != pid:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)


def _failed(worker: Worker, error: BaseException) -> Outcome:
    if os.getpid() != worker.pid:
        code = error.code if isinstance(error, SystemExit) else 1
        leave_if_forked(worker.pid, code if isinstance(code, int) else int(code is not None))
    outcome = "interrupted" if isinstance(error, KeyboardInterrupt) else "error"
    return outcome, errors.dumps_error(error), {}


def seed_generators(seed: int) -> None:
    """Seed `random` and, if it is loaded, numpy's global generator."""
    random.seed(seed)
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed(seed % 2**32)


def run_call(worker: Worker, function: Any, payload: envelope.Buffer, apart: Sequence[envelope.Buffer] = ()) -> Outcome:
    """Call a function with the arguments in `payload`; the outcome's parts are a `result` or an `error` envelope."""
    interrupts = worker.interrupts
    try:
        if type(function) is Broken:
            raise function.error
        _header, (args, kwargs) = inputs.loads(payload, apart)
        interrupts.live = True
        value = function(*args, **kwargs)
        interrupts.live = False
    except BaseException as error:
        interrupts.live = False
        return _failed(worker, error)
    if os.getpid() != worker.pid:
        leave_if_forked(worker.pid)
    try:
        return "ok", dumps_result(value), {}
    except BaseException as error:
        name = getattr(function, "__qualname__", "the function")
        return _failed(worker, describe_unpicklable(value, error, f"the result of {name}"))


class _Run:
    """Results of a map that were not sent yet."""

    def __init__(self, worker: Worker, no: int, opts: dict[str, Any]) -> None:
        self.worker, self.no, self.opts = worker, no, opts
        self.first = 0
        self.items: Sequence[Any] = ()
        self.values: list[Any] = []
        self.bad: dict[int, Any] = {}
        self.failed = 0
        self.told: list[list[Any]] = []
        """The first failures, in words."""

    def bad_item(self, at: int, error: BaseException) -> Any:
        """Note that an item failed; `at` counts from the first that was not sent. Returns its record."""
        self.bad[at] = record = errors.item_record(error)
        if len(self.told) < failures.MOST:
            self.told.append(failures.told(self.first + at, self.items[self.first + at], error))
        return record

    def ended(self) -> dict[str, Any]:
        """What is said of it in the end."""
        return {"n": self.first, "failed": self.failed, **({"failures": self.told} if self.told else {})}

    def flush(self) -> None:
        """Send what is there as one `items` frame."""
        count = len(self.values)
        if not count:
            return
        header: dict[str, Any] = {"op": "items", "no": self.no, "first": self.first, "count": count}
        parts = self._parts()
        path = self.worker.spill(parts, self.opts)
        if path is not None:
            header.update(path)
            parts = []
        self.worker.channel.send(header, parts)
        self.first += count
        self.failed += len(self.bad)
        self.values, self.bad = [], {}

    def _parts(self) -> list[envelope.Buffer]:
        try:
            return self._dumps()
        except Exception:
            # One value that cannot travel must not take its neighbours with it.
            for at, value in enumerate(self.values):
                if at in self.bad or envelope.is_plain(value):
                    continue
                try:
                    envelope.pickled(value)
                except Exception as error:
                    what = f"the result of item {self.first + at}"
                    self.values[at] = self.bad_item(at, describe_unpicklable(value, error, what))
            return self._dumps()

    def _dumps(self) -> list[envelope.Buffer]:
        if not self.bad:
            return envelope.dumps(self.values, "results")
        return envelope.dumps(self.values, "results", errors={str(at): at for at in self.bad})


def run_map(
    worker: Worker,
    no: int,
    function: Any,
    payload: envelope.Buffer,
    opts: dict[str, Any],
    apart: Sequence[envelope.Buffer] = (),
) -> Outcome:
    """Call a function once per item.

    Results leave in `items` frames while it runs. Info: `n` items finished, `failed` of them, and the first `failures`.
    """
    interrupts = worker.interrupts
    run = _Run(worker, no, opts)
    worker.cells[ITEM] = 0
    try:
        if type(function) is Broken:
            raise function.error
        header, items = inputs.loads(payload, apart)
        run.items = items
        _apply(worker, run, function, items, bool(header.get("star")))
    except BaseException as error:
        interrupts.live = False
        if os.getpid() != worker.pid:
            return _failed(worker, error)
        run.flush()
        outcome, parts, info = _failed(worker, error)
        return outcome, parts, {**info, **run.ended()}
    run.flush()
    return "ok", (), run.ended()


def _apply(worker: Worker, run: _Run, function: Any, items: Sequence[Any], star: bool) -> None:
    """Run all items. Raises KeyboardInterrupt when interrupted; `run` then holds exactly what was finished."""
    interrupts, cells, clock, pid = worker.interrupts, worker.cells, time.perf_counter, worker.pid
    total, block = len(items), 1
    now = flushed = clock()
    each = 1.0
    while (at := run.first + len(run.values)) < total:
        values = run.values
        end = min(total, at + block)
        begun = now
        try:
            interrupts.live = True
            if each < _FAST_ITEM:
                # No item after this one has started: that is what must be true after a crash.
                cells[ITEM] = end - 1
                values.extend(starmap(function, items[at:end]) if star else map(function, items[at:end]))
            else:
                _apply_one_by_one(cells, values, function, items[at:end], at, star)
            interrupts.live = False
        except KeyboardInterrupt:
            interrupts.live = False
            raise
        except BaseException as error:
            interrupts.live = False
            if os.getpid() != pid:
                raise
            values.append(run.bad_item(len(values), error))
        if os.getpid() != pid:
            leave_if_forked(pid)
        now = clock()
        took = now - begun
        each = took / (run.first + len(values) - at)
        block = max(1, min(_MAX_BLOCK, 2 * block, int(_BLOCK / each) if each else _MAX_BLOCK))
        if now - flushed >= _FLUSH_EVERY or each >= _SHORT_ITEM:
            run.flush()
            now = flushed = clock()


def _apply_one_by_one(
    cells: Any, values: list[Any], function: Any, items: Sequence[Any], first: int, star: bool
) -> None:
    add = values.append
    if star:
        for at, item in enumerate(items, first):
            cells[ITEM] = at
            add(function(*item))
    else:
        for at, item in enumerate(items, first):
            cells[ITEM] = at
            add(function(item))
