"""The client's thread: one asyncio loop, the link to the hub, and what comes and goes on it.

Users' threads append to `outbox` and wake the loop; the loop sends in batches: at once when it was quiet, else at most
1 ms after the last batch, and at once when somebody waits for a result.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from jupyter_fx import __version__
from jupyter_fx.client import listeners
from jupyter_fx.client.blobs import Blobs
from jupyter_fx.client.glance import Glance
from jupyter_fx.errors import FxError, HubUnavailable, UsageError
from jupyter_fx.ids import new_id
from jupyter_fx.protocol.faults import error_from
from jupyter_fx.protocol.limits import TASKS_PER_FRAME, UNACKED_MAX
from jupyter_fx.protocol.messages import (
    OLDEST_VERSION,
    VERSION,
    Attach,
    Events,
    Functions,
    Hello,
    OpenSession,
    Outcome,
    Outcomes,
    Rejected,
    SessionEvent,
    Submit,
    TaskSpec,
    Welcome,
)
from jupyter_fx.transport import Peer

if TYPE_CHECKING:
    from jupyter_fx.client.futures import TaskFuture
    from jupyter_fx.client.listeners import Listener
    from jupyter_fx.client.sessions import SessionHandle
    from jupyter_fx.client.story import Story

__all__ = ["Core"]

log = logging.getLogger(__name__)
T = TypeVar("T")

BATCH_EVERY = 0.001
BATCH_BYTES = 512 * 1024
KEEP_EVERY = 2.0  # seconds
SPEC_OVERHEAD = 160  # bytes of a TaskSpec beside its payload, about


class Core:
    """A link to the hub on a thread of its own. Public methods may be called from any thread."""

    def __init__(
        self,
        address: str,
        *,
        token: str,
        on_lost: Callable[[FxError], None],
        on_back: Callable[[], None],
        keeper: Callable[[], str | None] | None = None,
    ) -> None:
        self.address = address
        self.futures: dict[str, TaskFuture | Story] = {}
        """Tasks that are waited for, or followed."""
        self.also: dict[str, list[Listener]] = {}
        """Who else listens to one of them: see `client.listeners`."""
        self.glance = Glance()
        """Which tasks run, for who asks without following them."""
        self.sessions: dict[str, SessionHandle] = {}
        self.outbox: deque[Any] = deque()
        """(future, spec, function) of a task to be submitted, or a message to be sent (kept)."""
        self.queued_bytes = 0
        self.refused: FxError | None = None
        """Why the hub does not want us, for good."""
        self.welcome: Welcome | None = None
        self.trouble = ""
        """Why the endpoint that is looked after here does not come up."""
        self._on_lost, self._on_back, self._keeper = on_lost, on_back, keeper
        self._room = threading.Event()
        """Set when something was acknowledged."""
        software = f"jupyter-fx {__version__} (Python {platform.python_version()})"
        info = {"host": platform.node(), "pid": os.getpid(), "program": sys.argv[0][-100:] if sys.argv else ""}
        self._hello = Hello(VERSION, OLDEST_VERSION, "client", new_id(), software, token, info)
        self._blob_hello = Hello(VERSION, OLDEST_VERSION, "blobs", new_id(), software, token)
        self.functions: set[str] = set()
        """Digests of functions that the hub has, or that are on their way."""
        self._awake = True  # nothing wakes the loop before it runs
        self._delayed = False  # a batch waits for the end of its millisecond
        self._urgent = False  # somebody waits for an answer
        self._last = 0.0
        self._fetching: set[asyncio.Task[None]] = set()
        self._started: Future[None] = Future()
        self.thread = threading.Thread(target=self._run, name="jupyter-fx-client", daemon=True)

    # --- any thread ---

    def start(self, timeout: float) -> Welcome:
        """Start the thread and wait for the hub's Welcome; raises why there is none."""
        self.thread.start()
        self._started.result()
        try:
            return self.call(self.peer.opened(timeout))
        except BaseException:
            self.stop()
            raise

    def wake(self) -> None:
        """See to it that what was appended to the outbox is sent soon."""
        if not self._awake:
            self._awake = True
            self.loop.call_soon_threadsafe(self._drain)

    def flush(self) -> None:
        """See to it that it is sent now."""
        if self.outbox:
            self._urgent = True
            if self._delayed or not self._awake:
                self._awake = True
                self.loop.call_soon_threadsafe(self._drain_now)

    def call(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine on the loop and wait for it. UsageError on the loop's own thread, which must not wait."""
        if threading.current_thread() is self.thread:
            work.close()
            raise UsageError(
                "this cannot be asked from a callback of the client, which must not wait: use another thread"
            )
        if not self.thread.is_alive():
            work.close()
            raise HubUnavailable("the client is closed")
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result(timeout)
        except TimeoutError:
            if future.done():
                raise
            future.cancel()
            raise HubUnavailable(f"no answer within {timeout:g} s") from None
        except BaseException:
            future.cancel()
            raise

    @property
    def unacked_bytes(self) -> int:
        """Bytes that are queued here or sent and not acknowledged."""
        return self.queued_bytes + self.peer.link.unacked_bytes

    @property
    def idle(self) -> bool:
        """Whether everything that was sent is acknowledged."""
        return not self.outbox and not self.peer.link.unacked_bytes

    def wait_for_room(self) -> None:
        """Wait while UNACKED_MAX bytes are on their way; not on the thread that sends them."""
        if self.unacked_bytes <= UNACKED_MAX or threading.current_thread() is self.thread:
            return
        while self.unacked_bytes > UNACKED_MAX and self.refused is None and self.thread.is_alive():
            self._room.clear()
            if self.unacked_bytes > UNACKED_MAX:
                self._room.wait(0.05)

    def drain(self, timeout: float) -> bool:
        """Wait until everything is acknowledged; False when it is not within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while self.thread.is_alive() and self.refused is None and not self.idle:
            if time.monotonic() > deadline:
                return False
            self.flush()
            self._room.clear()
            if not self.idle:
                self._room.wait(0.02)
        return True

    def stop(self) -> None:
        """End link and thread; tasks go on."""
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self._stop)
            if threading.current_thread() is not self.thread:
                self.thread.join(5.0)

    def fail_all(self, error: FxError) -> None:
        """Nobody hears of any task from here any more."""
        waiting = [*self.futures.values(), *listeners.all_of(self)]
        self.futures.clear()
        self.also.clear()
        for future in waiting:
            future._fail(error)  # noqa: SLF001

    # --- the loop's thread ---

    def _run(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.call_soon(self._begin)
        try:
            self.loop.run_forever()
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.run_until_complete(asyncio.sleep(0))
            self.loop.close()

    def _begin(self) -> None:
        try:
            self.peer = Peer(
                self.address,
                self._hello,
                on_message=self._take,
                on_open=self._opened,
                on_lost=self._on_lost,
                on_acked=lambda _number: self._room.set(),
                on_refused=self._refuse,
            ).start()
            self.blobs = Blobs(self.address, self._blob_hello)
        except BaseException as error:
            self._started.set_exception(error)
            raise
        self._started.set_result(None)
        self._drain_now()
        if self._keeper is not None:
            self.loop.call_later(KEEP_EVERY, self._keep)

    def _keep(self) -> None:
        """While something is waited for, let whoever keeps the endpoint alive look at it."""
        assert self._keeper is not None
        if self.futures:
            self.loop.run_in_executor(None, self._keeper).add_done_callback(self._kept)
        self.loop.call_later(KEEP_EVERY, self._keep)

    def _kept(self, done: asyncio.Future[str | None]) -> None:
        if done.cancelled():
            return
        if done.exception() is not None:
            log.warning("the local endpoint could not be looked after: %s", done.exception())
        elif (said := done.result()) is not None:
            self.trouble = said

    def _stop(self) -> None:
        self.blobs.close()
        self.peer.close()
        self.loop.call_later(0.01, self.loop.stop)

    def _drain(self) -> None:
        now = self.loop.time()
        if not self._urgent and now - self._last < BATCH_EVERY:
            self._delayed = True
            self.loop.call_at(self._last + BATCH_EVERY, self._drain_now)
            return
        self._drain_now()

    def _drain_now(self) -> None:
        self._awake = self._delayed = self._urgent = False
        self._last = self.loop.time()
        self.queued_bytes = 0
        outbox, peer, functions = self.outbox, self.peer, self.functions
        specs: list[TaskSpec] = []
        size = 0
        while outbox:
            item = outbox.popleft()
            if type(item) is not tuple:
                if specs:
                    peer.send(Submit(specs), keep=True)
                    specs, size = [], 0
                peer.send(item, keep=True)
                continue
            future, spec, function = item
            future._sent = True  # noqa: SLF001 before its state is read: `cancel` reads them the other way round
            if future.cancelled():
                continue
            if function is not None and function.digest not in functions:
                functions.add(function.digest)
                peer.send(Functions([function]), keep=True)
            size += len(spec.payload) + SPEC_OVERHEAD
            if specs and (size > BATCH_BYTES or len(specs) >= TASKS_PER_FRAME):
                peer.send(Submit(specs), keep=True)
                specs, size = [], len(spec.payload) + SPEC_OVERHEAD
            specs.append(spec)
        if specs:
            peer.send(Submit(specs), keep=True)
        peer.flush()

    def _opened(self, welcome: Welcome) -> None:
        first = self.welcome is None
        self.welcome = welcome
        self._on_back()
        if first:
            return
        # A copy: users' threads submit meanwhile.
        waiting = [(f.task_id, f._next_event, f._watch) for f in list(self.futures.values()) if f._sent]  # noqa: SLF001
        if self.also:
            waiting = listeners.attached(self, waiting)
        for at in range(0, len(waiting), TASKS_PER_FRAME):
            self.peer.send(Attach(waiting[at : at + TASKS_PER_FRAME]))
        self._drain_now()  # one that is about to be opened is not taken for one that is lost
        for session in list(self.sessions.values()):
            if not session.ended:
                # We are here for it still; and if it has ended meanwhile, we want to know.
                self.peer.send(OpenSession(session.spec, again=True))

    def _refuse(self, error: FxError) -> None:
        self.refused = error
        self.fail_all(error)
        self._room.set()

    def _take(self, message: Any, _number: int) -> None:
        kind = type(message)
        if kind is Outcomes:
            for outcome in message.outcomes:
                if self.also and outcome.task_id in self.also:
                    listeners.ended(self, outcome)
                future = self.futures.get(outcome.task_id)
                if future is None:
                    continue
                if not self.finish(future, outcome):
                    del self.futures[outcome.task_id]
        elif kind is Events:
            if self.also:
                listeners.tell(self, message.events)
            for event in message.events:
                future = self.futures.get(event.task_id)
                if future is not None:
                    try:
                        future._tell(event)  # noqa: SLF001
                    except Exception:
                        log.exception("a callback for events failed")
        elif kind is Rejected:
            self._rejected(message)
        elif kind is SessionEvent:
            session = self.sessions.get(message.session_id)
            if session is not None:
                session._tell(message)  # noqa: SLF001

    def finish(self, future: TaskFuture | Story, outcome: Outcome) -> bool:
        """Complete the future; True when that has to wait for bytes that are fetched first."""
        if (outcome.blob is not None and future._fetches) or (future._runs and future.unfetched()):  # noqa: SLF001
            task = self.loop.create_task(self._fetch(future, outcome))
            self._fetching.add(task)
            task.add_done_callback(self._fetching.discard)
            return True
        future._finish(outcome)  # noqa: SLF001
        return False

    async def _fetch(self, future: TaskFuture | Story, outcome: Outcome) -> None:
        try:
            if outcome.blob is not None:
                # Writable memory: arrays of the value live in it.
                outcome.payload = await self.blobs.get(outcome.blob)  # type: ignore[assignment]
            for first, blob in future.unfetched():
                future._keep_run(first, await self.blobs.get(blob))  # noqa: SLF001
        except FxError as error:
            self.futures.pop(outcome.task_id, None)
            future._fail(error)  # noqa: SLF001
            return
        self.futures.pop(outcome.task_id, None)
        future._finish(outcome)  # noqa: SLF001

    def _rejected(self, message: Rejected) -> None:
        for task_id in message.tasks:
            future = self.futures.pop(task_id, None)
            for one in [*([future] if future is not None else []), *self.also.pop(task_id, [])]:
                one._fail(error_from(message.error, task_id))  # noqa: SLF001
        session = self.sessions.get(message.session_id) if message.session_id else None
        if session is not None:
            session._refused(error_from(message.error))  # noqa: SLF001
