"""Executor: a complete `concurrent.futures.Executor` whose workers are anywhere."""

from __future__ import annotations

import concurrent.futures
import itertools
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor
from typing import Any

from jupyter_fx import payload
from jupyter_fx.client import exits, given, interrupts
from jupyter_fx.client.default import default_client
from jupyter_fx.client.futures import TaskFuture, draw_for_notebooks
from jupyter_fx.client.hub import HubClient
from jupyter_fx.client.options import task_options
from jupyter_fx.ids import new_id
from jupyter_fx.protocol.limits import MAP_ITEMS_MAX
from jupyter_fx.protocol.messages import TaskOptions

__all__ = ["Executor"]

Prepared = Any


class Executor(concurrent.futures.Executor):
    """Runs calls at an endpoint (default: JUPYTER_FX_ENDPOINT, else the hub's default one, else `local`).

    `max_workers`: at most so many tasks of this executor are at the hub at a time; the others wait here and can be
    cancelled; None: everything is sent at once and the endpoint decides. `initializer(*initargs)` runs once in each
    worker process before its first task of this executor. `timeout` (seconds of running), `expires` (seconds of
    waiting), `retries` and `name` hold for every task. Everything else is as `concurrent.futures` says, `buffersize` of
    `map` as in Python 3.14.
    """

    _fx_handle_ = True

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        max_workers: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
        timeout: float = 0.0,
        expires: float = 0.0,
        retries: int = 0,
        name: str = "",
        client: HubClient | None = None,
    ) -> None:
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._endpoint = endpoint or ""
        self._max_workers = max_workers
        self._options: TaskOptions | None = task_options(timeout=timeout, expires=expires, retries=retries, name=name)
        self._client_given = client
        self._initializer, self._initargs = initializer, initargs
        self._key = new_id()
        self._wrapped: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()
        self._pending: set[TaskFuture] = set()
        self._backlog: deque[Prepared] = deque()
        self._free = max_workers or 0
        self._shut = False
        self._broken: str | bool = False
        exits.register(self)

    # --- concurrent.futures.Executor ---

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> TaskFuture:
        """Submit `fn(*args, **kwargs)`."""
        self._check()
        client = self._client
        prepared = client.prepare(
            fn if self._initializer is None else self._initialised(fn),
            payload.encode_args(args, kwargs),
            endpoint=self._endpoint,
            options=self._options,
        )
        given.note_call(prepared[0], fn, args, kwargs)
        return self._send(client, prepared)

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[Any]:
        """As `map`, the calls anywhere, the results in order. With `chunksize` > 1 each task runs so many calls.

        `buffersize`: at most so many results (chunks) are submitted ahead of what was taken; the iterables are then
        read lazily. TimeoutError `timeout` seconds after this call; leaving the iterator cancels what has not run.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        if chunksize > MAP_ITEMS_MAX:
            raise ValueError(f"chunksize must be <= {MAP_ITEMS_MAX}.")
        self._check()
        end = None if timeout is None else time.monotonic() + timeout
        work = self._work(fn, iterables, chunksize)
        if buffersize is None:
            started = deque(work)
            work = iter(())
        else:
            started = deque(itertools.islice(work, buffersize))
        return _results(started, work, end, chunked=chunksize > 1)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; with `wait` return when all are done; with `cancel_futures` those that have not
        begun are cancelled."""
        with self._lock:
            self._shut = True
            pending = list(self._pending)
        if cancel_futures:
            self._cancel_waiting(pending)
        if wait:
            if pending:
                self._client.flush()
            concurrent.futures.wait(pending)

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: object) -> bool | None:
        """As every Executor's; after an interrupt what runs there is stopped, too, and nobody waits for it."""
        if exc_type is None or not issubclass(exc_type, KeyboardInterrupt):
            self.shutdown(wait=True)
            return None
        self.shutdown(wait=False)
        if interrupts.passes_on("cancel"):
            for future in list(self._pending):
                if not future.cancel():
                    future.cancel_running(reason="interrupted by its caller")
        return None

    # --- inside ---

    @property
    def _client(self) -> HubClient:
        return self._client_given or default_client()

    def after_fork(self) -> None:
        """In a forked child: what the parent waits for is the parent's."""
        self._lock = threading.Lock()
        self._pending.clear()
        self._backlog.clear()
        self._free = self._max_workers or 0

    def _check(self) -> None:
        if self._broken:
            raise BrokenExecutor(self._broken)
        if self._shut:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if exits.exiting():
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    def _work(self, fn: Callable[..., Any], iterables: tuple[Iterable[Any], ...], size: int) -> Iterator[TaskFuture]:
        if size == 1:
            for args in zip(*iterables, strict=False):
                yield self.submit(fn, *args)
            return
        run = fn if self._initializer is None else self._initialised(fn)
        star = len(iterables) != 1
        source: Iterator[Any] = iter(zip(*iterables, strict=False)) if star else iter(iterables[0])
        client = self._client
        while chunk := list(itertools.islice(source, size)):
            self._check()
            prepared = client.prepare_map(run, chunk, star=star, endpoint=self._endpoint, options=self._options)
            given.note_chunk(prepared[0], fn, chunk)
            yield self._send(client, prepared)

    def _send(self, client: HubClient, prepared: Prepared) -> TaskFuture:
        future: TaskFuture = prepared[0]
        self._pending.add(future)
        future._owner = self  # noqa: SLF001
        if self._max_workers is None:
            client.push(prepared)
            return future
        future._bounded = True  # noqa: SLF001
        with self._lock:
            if self._free <= 0:
                self._backlog.append(prepared)
                return future
            self._free -= 1
        # As in a pool of processes: what has a place counts as running, sent or not.
        future.set_running_or_notify_cancel()
        client.push(prepared)
        return future

    def _done(self, future: TaskFuture) -> None:
        self._pending.discard(future)
        if self._initializer is not None and not future.cancelled():
            error = concurrent.futures.Future.exception(future)
            if isinstance(error, BrokenExecutor):
                self._broken = str(error)
        if self._max_workers is not None:
            self._next(future)

    def _next(self, done: TaskFuture) -> None:
        with self._lock:
            if not done.cancelled() or done._sent:  # noqa: SLF001 it held one of the places
                self._free += 1
            ready = []
            while self._free > 0 and self._backlog:
                prepared = self._backlog.popleft()
                if prepared[0]._begin():  # noqa: SLF001
                    self._free -= 1
                    ready.append(prepared)
        for prepared in ready:
            self._client.push(prepared)

    def _cancel_waiting(self, pending: list[TaskFuture]) -> None:
        running: set[str] = set()
        sent = [future for future in pending if future._sent and not future._bounded]  # noqa: SLF001
        if sent:
            for state in ("RUNNING", "ACCEPTED"):
                told = self._client.request("tasks.list", {"state": state, "limit": 1000})
                running.update(info["task_id"] for info in told["tasks"])
        for future in pending:
            if future.task_id not in running:
                future.cancel()

    def _initialised(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        try:
            found: Callable[..., Any] | None = self._wrapped.get(fn)
        except TypeError:
            return with_initializer(fn, self._initializer, self._initargs, self._key)
        if found is None:
            found = with_initializer(fn, self._initializer, self._initargs, self._key)
            try:
                self._wrapped[fn] = found
            except TypeError:
                pass
        return found


def with_initializer(fn: Any, initializer: Any, initargs: tuple[Any, ...], key: str) -> Callable[..., Any]:
    """`fn`, preceded by the initializer in each process that has not run it. A closure, so that it travels by value."""

    def call(*args: Any, **kwargs: Any) -> Any:
        import sys
        from concurrent.futures import BrokenExecutor

        ran = sys.__dict__.setdefault("_jupyter_fx_initialized", set())
        if key not in ran:
            try:
                initializer(*initargs)
            except BaseException as error:
                raise BrokenExecutor(f"the initializer failed there: {type(error).__name__}: {error}") from error
            ran.add(key)
        return fn(*args, **kwargs)

    return call


def _results(
    started: deque[TaskFuture], work: Iterator[TaskFuture], end: float | None, *, chunked: bool
) -> Iterator[Any]:
    """The results in order. What has not run is cancelled when the iterator is left.

    No reference to a result is kept here once it was handed out.
    """
    try:
        while started:
            if not chunked:
                yield _taken(started, work, end)
                continue
            values = _taken(started, work, end)
            failed = values.failed
            values.reverse()
            if not failed:
                while values:
                    yield values.pop()
                continue
            while values:
                if type(values[-1]) is payload.ItemError:
                    raise draw_for_notebooks(values[-1].error)
                yield values.pop()
    finally:
        for future in started:
            future.cancel()


def _taken(started: deque[TaskFuture], work: Iterator[TaskFuture], end: float | None) -> Any:
    """The value of the first future, which is forgotten, and one more is started. A future whose time is over is
    cancelled."""
    future = started.popleft()
    try:
        started.extend(itertools.islice(work, 1))
        return future.result(None if end is None else max(0.0, end - time.monotonic()))
    finally:
        future.cancel()
        del future
