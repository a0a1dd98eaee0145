"""TaskFuture: a `concurrent.futures.Future` for a task that is durable somewhere else.

The client's thread completes it with the raw outcome; the value is unpickled in the thread that asks for it, once, so
that a large result or a slow import never holds up the link.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import _base
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from jupyter_fx import payload
from jupyter_fx.client import watchers
from jupyter_fx.client.displays import Displays, whole_events
from jupyter_fx.client.notes import remark
from jupyter_fx.client.turns import Turn
from jupyter_fx.errors import FxError, PayloadError, notebook_lines
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import BlobRef, CancelMode, Event, EventKind, Kind, Outcome

if TYPE_CHECKING:
    from jupyter_fx.client.executor import Executor
    from jupyter_fx.client.hub import HubClient

__all__ = ["OnEvent", "TaskFuture", "as_completed", "wait"]


log = logging.getLogger(__name__)


class _Shown:
    """Renders a task's error for IPython without the frames that fetched it."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __call__(self) -> list[str]:
        return notebook_lines(self._error)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Shown, (self._error,)


def draw_for_notebooks(error: BaseException) -> BaseException:
    """Return `error`, to be shown by IPython as `errors.notebook_lines` says, where there is an IPython."""
    drawn = isinstance(error, FxError) or getattr(error, "_render_traceback_", None) is not None
    if not drawn and "IPython" in sys.modules:
        with contextlib.suppress(AttributeError):
            error._render_traceback_ = _Shown(error)  # type: ignore[attr-defined]
    return error


OnEvent = Callable[[Event], None]
_NO_RUNS: Final[Mapping[int, Any]] = MappingProxyType({})
_AS_KNOWN: Final = vars(concurrent.futures.Future()).keys() == {
    *("_condition", "_state", "_result", "_exception", "_waiters", "_done_callbacks"),
}
"""Whether this Python's futures hold what they held when this was written, so that it can be put there directly."""
_POLL = 0.2  # seconds between looks at a task's events by `events()`


class TaskFuture(concurrent.futures.Future[Any]):
    """What `submit` returns. Everything of `concurrent.futures.Future`, and `await`, and the task's story.

    `result()` gives the value or raises what the task raised there: the original exception where it can be brought home
    (its `__cause__` is a RemoteError with the remote traceback), else RemoteError; an error of the machinery is a class
    of `jupyter_fx.errors`. For a cell, `result()` gives the raw `Outcome`.
    """

    kind: int = Kind.CALL
    name: str = ""
    items: int = 0
    """Of a chunk of a map: how many items it has."""
    _fx_handle_ = True
    outcome: Outcome | None = None
    """How the task ended, as the hub told it; None before."""

    # Thousands of futures are out at a time: what most of them never change is not stored in each.
    _sent = False
    _told = 0
    _why = ""
    _call: str | tuple[str, tuple[Any, ...]] = ""  # what it was given: see `given`
    _watch = 0
    _at = 0  # of a chunk of a map that runs: items that are done
    _next_event = 0
    _on_event: OnEvent | None = None
    _displays: Displays | None = None
    _bounded = False
    _fetches = True
    """Whether its result is brought here when it is a blob."""
    _owner: Executor | None = None
    """Whose `_done` is called before the callbacks when it is done."""
    _runs: Mapping[int, Any] = _NO_RUNS
    """Of a map: index of the first item -> BlobRef, envelope, or error in words."""

    def __init__(self, client: HubClient, task_id: str) -> None:
        if _AS_KNOWN:
            self._state: str = _base.PENDING
            self._result = self._exception = None
        else:
            super().__init__()
        self._condition: Any = Turn()
        self.task_id = task_id
        self._client = client

    # Lists that few futures need are made when they are asked for: thousands of empty ones are the collector's work.
    _waiting: list[Any] | None = None
    _calling: list[Any] | None = None

    @property
    def _waiters(self) -> Any:
        found = self._waiting
        if found is None:
            found = self._waiting = []
        return found

    @_waiters.setter
    def _waiters(self, found: list[Any]) -> None:
        self._waiting = found

    @property
    def _done_callbacks(self) -> Any:
        found = self._calling
        if found is None:
            found = self._calling = []
        return found

    @_done_callbacks.setter
    def _done_callbacks(self, found: list[Any]) -> None:
        self._calling = found

    # --- what people ask ---

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the value, at most `timeout` seconds (TimeoutError), or raise the task's error."""
        if self._state not in _DONE:
            self._client.flush()
        try:
            value = super().result(timeout)
        except concurrent.futures.CancelledError:
            raise self._cancelled() from None
        except BaseException as error:  # noqa: BLE001 it is raised again
            draw_for_notebooks(error)
            # Where in concurrent.futures it was raised again tells nobody anything.
            raise error.with_traceback(None)  # noqa: B904 it is the error itself
        if type(value) is Outcome and self.kind != Kind.CELL:
            return self._open()
        return value

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the task's error, or None when it succeeded and its value can be opened here."""
        if self._state not in _DONE:
            self._client.flush()
        try:
            found = super().exception(timeout)
        except concurrent.futures.CancelledError:
            raise self._cancelled() from None
        if found is None and type(self._result) is Outcome and self.kind != Kind.CELL:
            try:
                self._open()
            except FxError as error:
                return error
        return found

    def running(self) -> bool:
        """Whether it has been started and is not done.

        Without `watch` the hub is asked, for all futures at once and not more often than 20 times a second: the answer
        may be so old.
        """
        if self._state != _base.PENDING or self._watch or not self._sent:
            return super().running()
        if self._client.is_running(self.task_id):
            with self._condition:
                if self._state == _base.PENDING:
                    self._state = _base.RUNNING
        return super().running()

    @property
    def state(self) -> TaskState:
        """The task's state: what its outcome or its last event says; without either the hub is asked."""
        if self.outcome is not None:
            return TaskState(self.outcome.state)
        if self.cancelled():
            return TaskState.CANCELLED
        if not self._sent:
            return TaskState.WAITING
        return TaskState(self._told) if self._told else TaskState[self._info()["state"]]

    @property
    def why(self) -> str:
        """A sentence: what the task waits for, or how it ended."""
        if self.outcome is not None:
            error = self.outcome.error
            return error.message if error is not None else TaskState(self.outcome.state).name.lower()
        if not self._sent:
            return "not sent yet: its executor runs as many tasks as it may" if self._bounded else "about to be sent"
        why = str(self._info().get("why", "")) or self._why
        # Only for who waits until that endpoint is there: the hub calls it by its name.
        waits = why.startswith("endpoint local ") and "; the task waits" in why
        trouble = self._client.trouble if waits else ""
        return f"{why}; {trouble}" if trouble else why

    @property
    def remote_traceback(self) -> str:
        """The traceback of the task's error as text, with the frames that ran there; empty when there is none."""
        error = self.exception() if self.done() and not self.cancelled() else None
        return payload.remote_traceback(error) if error is not None else ""

    def events(self) -> Iterator[Event]:
        """Everything that the task tells: what happened so far, then what happens, until it is done."""
        return whole_events(self._events())

    def _events(self) -> Iterator[Event]:
        number = 0
        while True:
            last = self.done()
            told = self._client.request("tasks.events", {"task_id": self.task_id, "from": number, "limit": 1000})
            for n, kind, t, data in told["events"]:
                yield Event(self.task_id, n, kind, t, data)
                number = n + 1
            if told["events"]:
                continue
            if last:
                return
            concurrent.futures.wait([self], timeout=_POLL)

    def logs(self, stream: str | None = None) -> str:
        """What the task printed so far; `stream` is `stdout` or `stderr`, by default both as they came."""
        args: dict[str, Any] = {"task_id": self.task_id}
        if stream is not None:
            args["stream"] = stream
        return str(self._client.request("tasks.log", args)["text"])

    def attach(self, first: int = 0) -> TaskFuture:
        """Print here what the task tells, from event `first` on, until it is done; itself. Ctrl-C leaves it running."""
        from jupyter_fx.client.live import Screen

        screen = Screen()
        screen.watch(self._client.attach(self.task_id, on_event=screen.take, first=first))
        return self

    # --- stopping ---

    def cancel(self) -> bool:
        """Cancel the task if it is not known to run: it is removed, or stopped if it began meanwhile. Returns
        whether it is cancelled.

        A task that is known to run is asked to stop and False is returned: it is cancelled when the endpoint says so. A
        task of an executor with `max_workers` is left alone once it runs, as with any `concurrent.futures.Executor`.
        """
        with self._condition:
            if self._state == _base.RUNNING:
                if self._bounded:
                    return False
                self.cancel_running()
                return False
            if self._state in _CANCELLED:
                return True
            if not super().cancel():
                return False
            if self._state == _base.CANCELLED:
                self.set_running_or_notify_cancel()
            sent = self._sent
        self._client._forget(self)  # noqa: SLF001
        if sent:
            self._client.cancel([self.task_id])
        return True

    def cancel_running(self, mode: CancelMode = CancelMode.CANCEL, reason: str = "") -> None:
        """Ask the endpoint to stop the task: SIGINT, then stronger (pool work). It ends as CANCELLED when that
        worked."""
        self._client.cancel([self.task_id], mode, reason)

    def interrupt(self) -> None:
        """Send the task a KeyboardInterrupt and nothing stronger."""
        self.cancel_running(CancelMode.INTERRUPT)

    def __await__(self) -> Generator[Any, None, Any]:
        self._client.flush()
        return asyncio.wrap_future(self).__await__()

    def __repr__(self) -> str:
        state = TaskState(self._told).name if self._told and not self.done() else self._state
        return f"<TaskFuture {self.name or 'task'} {self.task_id[-8:]} {state.lower()}>"

    def __reduce_ex__(self, _protocol: Any) -> Any:
        return payload.as_input(self.task_id, "a TaskFuture")

    # --- for the client's thread ---

    def _tell(self, event: Event) -> None:
        """Take one event in; those that were told before are dropped."""
        if event.n < self._next_event:
            return
        self._next_event = event.n + 1
        if event.kind == EventKind.STATE and isinstance(event.data, dict):
            self._told = int(event.data.get("state", self._told))
            self._why = str(event.data.get("reason", ""))
            if self._told == TaskState.RUNNING and self._state == _base.PENDING:
                self.set_running_or_notify_cancel()
        elif event.kind == EventKind.NOTE:
            self._why = remark(event) or self._why
        elif event.kind == EventKind.ITEMS and isinstance(event.data, dict):
            self._take_items(event.data)
        elif event.kind == EventKind.PROGRESS and self.kind == Kind.MAP and isinstance(event.data, dict):
            for bar in event.data.get("bars", ()):
                if bar.get("id") == "items":
                    self._at = min(self.items, int(bar.get("done", 0)))
        if self._on_event is None:
            return
        if event.kind == EventKind.DISPLAY:
            self._displays = self._displays or Displays()
            whole = self._displays.whole(event)
            if whole is None:
                return
            event = whole
        self._on_event(event)

    def _take_items(self, data: dict[str, Any]) -> None:
        run: Any
        if "blob" in data:
            run = BlobRef(*data["blob"])
        else:
            run = data.get("payload") or str(data.get("error", "its results did not reach the hub"))
        self._keep_run(data["first"], run)

    def _keep_run(self, first: int, run: Any) -> None:
        if type(self._runs) is not dict:
            self._runs = {}
        self._runs[first] = run

    def unfetched(self) -> list[tuple[int, BlobRef]]:
        """Of a chunk of a map: runs of results that are blobs at the hub still."""
        return [(first, run) for first, run in self._runs.items() if isinstance(run, BlobRef)]

    def finished_items(self) -> payload.Items:
        """Of a chunk of a map: what is known of its items, with an ItemError where nothing is."""
        return payload.finished_items(self._runs, self.items, lambda: payload.lost_item(self.outcome))

    def _finish(self, outcome: Outcome) -> None:
        """Complete with the task's outcome, whose payload is here."""
        if self._state in _DONE:
            return
        self.outcome = outcome
        if outcome.state == TaskState.SUCCEEDED:
            self._succeed(outcome)
        elif outcome.state == TaskState.CANCELLED:
            self._become_cancelled()
        else:
            self.set_exception(payload.decode_error(outcome))

    def _succeed(self, outcome: Outcome) -> None:
        """`set_result`, which would make a list of those that wait in order to find it empty."""
        with self._condition:
            alone = _AS_KNOWN and self._waiting is None
            if alone:
                if self._state in _DONE:
                    raise concurrent.futures.InvalidStateError(f"{self._state}: {self!r}")
                self._result = outcome
                self._state = _base.FINISHED
                self._condition.notify_all()
        if alone:
            self._invoke_callbacks()
        else:
            self.set_result(outcome)

    def _fail(self, error: BaseException) -> None:
        if self._state not in _DONE:
            self.set_exception(error)

    def _invoke_callbacks(self) -> None:
        owner, self._owner = self._owner, None
        if owner is not None:
            try:
                owner._done(self)  # noqa: SLF001
            except Exception:
                log.exception("the end of task %s could not be dealt with", self.task_id[-8:])
        if self._calling:
            super()._invoke_callbacks()  # type: ignore[misc]

    def _begin(self) -> bool:
        """Count as running from now on; False when it was cancelled before."""
        with self._condition:
            return self._state not in _DONE and self.set_running_or_notify_cancel()

    def _become_cancelled(self) -> None:
        with self._condition:
            if self._state == _base.RUNNING:
                self._state = _base.PENDING
            if super().cancel() and self._state == _base.CANCELLED:
                self.set_running_or_notify_cancel()

    def _cancelled(self) -> concurrent.futures.CancelledError:
        error = self.outcome.error if self.outcome is not None else None
        return concurrent.futures.CancelledError(error.message) if error else concurrent.futures.CancelledError()

    def _open(self) -> Any:
        with self._condition:
            outcome: Any = self._result
            if type(outcome) is not Outcome:
                return outcome
            if outcome.ref is not None and not outcome.payload:
                self._result = self._client.result_ref(self.task_id, outcome.ref)
            elif self.kind == Kind.MAP and not outcome.payload:
                self._result = self.finished_items()
                self._runs = _NO_RUNS
            else:
                try:
                    self._result = payload.decode_value(outcome.payload)
                except Exception as error:
                    raise PayloadError(
                        f"the result of task {self.task_id[-8:]} cannot be opened here: "
                        f"{type(error).__name__}: {error}",
                        task_id=self.task_id,
                    ) from error
                outcome.payload = b""
            payload.note_origins(self._result, outcome)
            return self._result

    def _info(self) -> dict[str, Any]:
        info: dict[str, Any] = self._client.request("tasks.get", {"task_id": self.task_id})
        return info


_CANCELLED = frozenset((_base.CANCELLED, _base.CANCELLED_AND_NOTIFIED))
_DONE = _CANCELLED | {_base.FINISHED}


def _flush(futures: Iterable[concurrent.futures.Future[Any]]) -> None:
    seen = set()
    for future in futures:
        if isinstance(future, TaskFuture) and future._client not in seen:  # noqa: SLF001
            seen.add(future._client)  # noqa: SLF001
            future._client.flush()  # noqa: SLF001


def wait(
    futures: Iterable[concurrent.futures.Future[Any]],
    timeout: float | None = None,
    return_when: str = concurrent.futures.ALL_COMPLETED,
    *,
    card: bool = True,
) -> Any:
    """`concurrent.futures.wait`: sets of those that are done and those that are not.

    In a notebook a card shows how they do; not with `card=False`.
    """
    futures = list(futures)
    _flush(futures)
    watcher = watchers.on_wait(futures) if card and watchers.on_wait is not None else None
    try:
        return concurrent.futures.wait(futures, timeout, return_when)
    finally:
        if watcher is not None:
            watcher.ended()


def as_completed(
    futures: Iterable[concurrent.futures.Future[Any]], timeout: float | None = None, *, card: bool = True
) -> Iterator[concurrent.futures.Future[Any]]:
    """`concurrent.futures.as_completed`: each future as it completes; TimeoutError after `timeout` seconds.

    In a notebook a card shows how they do; not with `card=False`.
    """
    futures = list(futures)
    _flush(futures)
    deadline = None if timeout is None else time.monotonic() + timeout
    watcher = watchers.on_wait(futures) if card and watchers.on_wait is not None else None
    completed = concurrent.futures.as_completed(
        futures, None if deadline is None else max(0.0, deadline - time.monotonic())
    )
    return completed if watcher is None else _watched(completed, watcher)


def _watched(
    completed: Iterator[concurrent.futures.Future[Any]], watcher: watchers.Watcher
) -> Iterator[concurrent.futures.Future[Any]]:
    try:
        yield from completed
    finally:
        watcher.ended()
