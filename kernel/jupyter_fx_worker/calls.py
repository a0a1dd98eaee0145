"""The verbs `call` and `map`: a cached function applied to what a payload holds."""

from __future__ import annotations

import os
import pickle
import random
import sys
import time
from typing import TYPE_CHECKING, Any, Dict, List, Sequence, Tuple

from . import envelope, errors
from .channel import ITEM

if TYPE_CHECKING:
    from .worker import Worker

__all__ = ["Broken", "Outcome", "describe_unpicklable", "run_call", "run_map"]

Outcome = Tuple[str, Sequence[envelope.Buffer], Dict[str, Any]]

_FLUSH_EVERY = 0.05
# A block of items is run without looking at the clock; it is grown until it takes about this long.
_BLOCK = 0.002
_MAX_BLOCK = 1 << 16
_SHORT_ITEM = 0.001


class Broken:
    """A function that could not be opened here; calling it is refused with the reason."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def describe_unpicklable(value: object, error: BaseException, what: str) -> pickle.PicklingError:
    """Return the error for a value that cannot travel: which, why, and what to do."""
    reason = f"{type(error).__name__}: {errors.message_of(error)}"
    refusal = pickle.PicklingError(
        f"{what} (of type {type(value).__module__}.{type(value).__qualname__}) cannot be pickled, because {reason}; "
        "return plain data made from it, or keep it on the remote side"
    )
    refusal.__cause__ = error
    return refusal


def leave_if_forked(pid: int, code: int = 0) -> None:
    """End this process if user code forked it and let it fall through into our loop."""
    if os.getpid() != pid:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                continue
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


def run_call(worker: Worker, function: Any, payload: envelope.Buffer) -> Outcome:
    """Call a function with the arguments in `payload`; the outcome's parts are a `result` or an `error` envelope."""
    interrupts = worker.interrupts
    try:
        if type(function) is Broken:
            raise function.error
        _header, (args, kwargs) = envelope.loads(payload)
        interrupts.live = True
        value = function(*args, **kwargs)
        interrupts.live = False
    except BaseException as error:
        interrupts.live = False
        return _failed(worker, error)
    if os.getpid() != worker.pid:
        leave_if_forked(worker.pid)
    try:
        return "ok", envelope.dumps(value, "result"), {}
    except BaseException as error:
        name = getattr(function, "__qualname__", "the function")
        return _failed(worker, describe_unpicklable(value, error, f"the result of {name}"))


class _Run:
    """Results of a map that were not sent yet."""

    def __init__(self, worker: Worker, no: int, opts: Dict[str, Any]) -> None:
        self.worker, self.no, self.opts = worker, no, opts
        self.first = 0
        self.values: List[Any] = []
        self.bad: Dict[int, Any] = {}
        self.failed = 0

    def flush(self) -> None:
        """Send what is there as one `items` frame."""
        count = len(self.values)
        if not count:
            return
        header: Dict[str, Any] = {"op": "items", "no": self.no, "first": self.first, "count": count}
        parts = self._parts()
        path = self.worker.spill(parts, self.opts)
        if path is not None:
            header.update(path)
            parts = []
        self.worker.channel.send(header, parts)
        self.first += count
        self.failed += len(self.bad)
        self.values, self.bad = [], {}

    def _parts(self) -> List[envelope.Buffer]:
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
                    self.bad[at] = self.values[at] = errors.item_record(describe_unpicklable(value, error, what))
            return self._dumps()

    def _dumps(self) -> List[envelope.Buffer]:
        if not self.bad:
            return envelope.dumps(self.values, "results")
        return envelope.dumps(self.values, "results", errors={str(at): at for at in self.bad})


def run_map(worker: Worker, no: int, function: Any, payload: envelope.Buffer, opts: Dict[str, Any]) -> Outcome:
    """Call a function once per item; results leave in `items` frames while it runs. Info: `n` items finished, `failed` of them."""
    interrupts = worker.interrupts
    run = _Run(worker, no, opts)
    worker.cells[ITEM] = 0
    try:
        if type(function) is Broken:
            raise function.error
        header, items = envelope.loads(payload)
        if header.get("star"):
            plain = function

            def function(item: Any) -> Any:
                return plain(*item)

        _apply(worker, run, function, items)
    except BaseException as error:
        interrupts.live = False
        if os.getpid() != worker.pid:
            return _failed(worker, error)
        run.flush()
        outcome, parts, info = _failed(worker, error)
        return outcome, parts, {**info, "n": run.first, "failed": run.failed}
    run.flush()
    return "ok", (), {"n": run.first, "failed": run.failed}


def _apply(worker: Worker, run: _Run, function: Any, items: Sequence[Any]) -> None:
    """Run all items. Raises KeyboardInterrupt when interrupted; `run` then holds exactly what was finished."""
    interrupts, cells, clock, pid = worker.interrupts, worker.cells, time.perf_counter, worker.pid
    at, total, block = 0, len(items), 1
    now = flushed = clock()
    while at < total:
        values = run.values
        add = values.append
        base = run.first
        end = min(total, at + block)
        begun = now
        try:
            interrupts.live = True
            for item in items[at:end]:
                cells[ITEM] = at
                add(function(item))
                at += 1
            interrupts.live = False
        except KeyboardInterrupt:
            interrupts.live = False
            raise
        except BaseException as error:
            interrupts.live = False
            if os.getpid() != pid:
                raise
            at = base + len(values)
            run.bad[len(values)] = failed = errors.item_record(error)
            add(failed)
            at += 1
            end = at
        if os.getpid() != pid:
            leave_if_forked(pid)
        now = clock()
        took = now - begun
        each = took / max(1, end - at + block)
        block = _next_block(block, took)
        if now - flushed >= _FLUSH_EVERY or each >= _SHORT_ITEM or (block == 1 and took >= _SHORT_ITEM):
            run.flush()
            now = flushed = clock()


def _next_block(block: int, took: float) -> int:
    if took < _BLOCK / 2:
        return min(_MAX_BLOCK, block * 2)
    if took > _BLOCK * 2:
        return max(1, int(block * _BLOCK / took))
    return block
