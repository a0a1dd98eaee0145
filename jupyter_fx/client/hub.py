"""HubClient: everything one can ask of an fx hub, from any thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Sequence
from typing import Any

from jupyter_fx import payload
from jupyter_fx.client import given, listeners, register
from jupyter_fx.client.blobs import put_of
from jupyter_fx.client.core import Core
from jupyter_fx.client.futures import OnEvent, TaskFuture
from jupyter_fx.client.options import with_options
from jupyter_fx.client.refs import Ref
from jupyter_fx.client.revival import Revival
from jupyter_fx.client.sessions import SessionHandle
from jupyter_fx.client.story import Story
from jupyter_fx.errors import HubUnavailable, UsageError
from jupyter_fx.ids import is_id, new_id
from jupyter_fx.protocol.limits import BLOB_MAX, INLINE_MAX, MAP_ITEMS_MAX
from jupyter_fx.protocol.messages import (
    Attach,
    BlobRef,
    Cancel,
    CancelMode,
    Detach,
    Function,
    Kind,
    OpenSession,
    Outcome,
    RefInfo,
    SessionEvent,
    SessionSpec,
    TaskOptions,
    TaskSpec,
    Watch,
)

__all__ = ["HubClient"]


class HubClient:
    """A link to the fx hub at `address` (``unix:/path``, ``https://host/prefix``, ``wss://…``) on a thread of its own.

    It comes back by itself after the hub was gone, sends again what was not acknowledged, under the same ids, and goes
    on with the story of every task where it stopped. In a forked child it becomes a link of the child's own, without
    the parent's tasks. `revive` is called (on a thread that may wait) whenever the link is lost: who started the hub
    may start it again. Raises HubUnavailable or AuthError when the hub does not welcome us within `timeout` seconds.
    """

    _fx_handle_ = True

    def __init__(
        self,
        address: str,
        *,
        token: str = "",
        endpoint: str = "",
        timeout: float = 20.0,
        revive: Callable[[], None] | None = None,
        keeper: Callable[[], str | None] | None = None,
    ) -> None:
        self.address = address
        self.endpoint = endpoint
        """The endpoint of calls that name none; empty: the hub's default."""
        self._token, self._timeout = token, timeout
        self._revival = Revival(revive, keeper, lambda: self._core)
        self._starting = threading.RLock()
        self.closed = False
        """Whether `close` was called."""
        self._core: Core | None = None
        self._live()
        register.add(self)

    # --- what is known ---

    @property
    def user(self) -> str:
        """Who we are to the hub."""
        welcome = self._live().welcome
        return welcome.user if welcome is not None else ""

    @property
    def hub_boot(self) -> int:
        """How often the hub has started on its database."""
        welcome = self._live().welcome
        return welcome.hub_boot if welcome is not None else 0

    @property
    def connected(self) -> bool:
        """Whether the link is open now."""
        core = self._core
        return core is not None and core.thread.is_alive() and core.peer.is_open

    @property
    def usable(self) -> bool:
        """Whether this client can still be used: neither closed nor refused for good."""
        return not self.closed and (self._core is None or self._core.refused is None)

    # --- asking ---

    def request(
        self, op: str, args: dict[str, Any] | None = None, *, timeout: float | None = 30.0, again: bool = True
    ) -> Any:
        """Ask the hub (operations: docs/wire-protocol.md) and wait for the answer; raises the error that it answers.

        A question whose answer was lost with the connection is asked once more, unless `again` is False.
        """
        core = self._live()
        if self._revival.down:
            self._revival.begin()

        async def ask() -> Any:
            return await core.peer.request(op, args, timeout)

        try:
            return core.call(ask())
        except HubUnavailable:
            if not again or not self.usable or op.endswith((".enrol", ".code", ".stop")):
                raise
            return core.call(ask())

    # --- tasks ---

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> TaskFuture:
        """Submit `function(*args, **kwargs)` to the default endpoint."""
        return self.submit_call(function, args, kwargs)

    def submit_call(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        endpoint: str = "",
        session: str = "",
        options: TaskOptions | None = None,
        watch: int = Watch.OUTCOME,
        on_event: OnEvent | None = None,
    ) -> TaskFuture:
        """Submit a call. Returns when it is on its way; waits only while UNACKED_MAX bytes are, or a large
        argument uploads.

        PayloadError when function or arguments cannot travel.
        """
        prepared = self.prepare(
            function,
            payload.encode_args(args, kwargs or {}),
            endpoint=endpoint,
            session=session,
            options=options,
            watch=watch,
            on_event=on_event,
        )
        given.note_call(prepared[0], function, args, kwargs or {})
        self.push(prepared)
        return prepared[0]

    def submit_map(
        self,
        function: Callable[..., Any],
        items: Sequence[Any],
        *,
        star: bool = False,
        endpoint: str = "",
        options: TaskOptions | None = None,
        on_event: OnEvent | None = None,
    ) -> TaskFuture:
        """Submit one chunk of a map; the future's value is `payload.Items` in the order of `items`."""
        prepared = self.prepare_map(function, items, star=star, endpoint=endpoint, options=options, on_event=on_event)
        given.note_chunk(prepared[0], function, items)
        self.push(prepared)
        return prepared[0]

    def prepare_map(
        self, function: Callable[..., Any], items: Sequence[Any], *, star: bool = False, **how: Any
    ) -> tuple[TaskFuture, TaskSpec, Function | None]:
        """What `push` takes, for a chunk of a map."""
        if len(items) > MAP_ITEMS_MAX:
            raise UsageError(
                f"a chunk of {len(items)} items is over the limit of {MAP_ITEMS_MAX}: use a smaller chunksize"
            )
        options = how.pop("options", None)
        options = TaskOptions(items=len(items)) if options is None else with_options(options, items=len(items))
        # The results of a chunk come as events, while it runs.
        how["watch"] = Watch.ALL
        prepared = self.prepare(function, payload.encode_items(items, star=star), kind=Kind.MAP, options=options, **how)
        prepared[0].items = len(items)
        return prepared

    def submit_cell(
        self,
        session: SessionHandle | str,
        envelope: Any,
        *,
        watch: int = Watch.ALL,
        on_event: OnEvent | None = None,
        options: TaskOptions | None = None,
        task_id: str | None = None,
        endpoint: str = "",
    ) -> TaskFuture:
        """Submit a cell, given as a `cell` envelope (encoded, as bytes, or in pieces), to a session; "" with an
        endpoint: a stateless one.

        `on_event` gets every event in order on the client's thread and must not wait. The future's `result()` is the
        raw Outcome, whose payload is the `names` or `result` envelope; it raises the cell's error.
        """
        session_id = session.session_id if isinstance(session, SessionHandle) else session
        options = options or TaskOptions()
        if not options.result_max:
            # What comes home was chosen name by name, or asked for: a ref to all of it together is of no use.
            options = with_options(options, result_max=BLOB_MAX)
        prepared = self.prepare(
            None,
            payload.as_encoded(envelope),
            kind=Kind.CELL,
            endpoint=endpoint if session_id == "" else "",
            session=session_id,
            options=options,
            watch=watch,
            on_event=on_event,
            task_id=task_id,
        )
        self.push(prepared)
        self.flush()
        return prepared[0]

    def prepare(
        self,
        function: Callable[..., Any] | None,
        encoded: payload.Encoded,
        *,
        kind: int = Kind.CALL,
        endpoint: str = "",
        session: str = "",
        options: TaskOptions | None = None,
        watch: int = Watch.OUTCOME,
        on_event: OnEvent | None = None,
        task_id: str | None = None,
    ) -> tuple[TaskFuture, TaskSpec, Function | None]:
        """Everything of a submission but the sending: what `push` takes. Uploads what is too large to be inline."""
        core = self._live()
        if core.refused is not None:
            raise core.refused
        future = TaskFuture(self, task_id or new_id())
        sent_function: Function | None = None
        digest = name = ""
        if function is not None:
            found = payload.encode_function(function)
            digest, name = found.digest, found.name
            sent_function = self._function(core, found)
        if encoded.inputs:
            options = with_options(options or TaskOptions(), inputs=encoded.inputs)
        if encoded.parts:
            options = with_options(options or TaskOptions(), parts=self.upload_all([[part] for part in encoded.parts]))
        data = b""
        if encoded.size > INLINE_MAX:
            options = with_options(options or TaskOptions(), blob=self.upload(encoded.pieces))
        else:
            data = payload.join(encoded.pieces)
        future.kind = kind
        future.name = options.name if options is not None and options.name else name
        if on_event is not None:
            future._on_event = on_event  # noqa: SLF001
        if watch:
            future._watch = int(watch)  # noqa: SLF001
        spec = TaskSpec(
            future.task_id,
            int(kind),
            digest,
            data,
            "" if session else endpoint or self.endpoint,
            session,
            int(watch),
            options,
        )
        return future, spec, sent_function

    def push(self, prepared: tuple[TaskFuture, TaskSpec, Function | None]) -> None:
        """Send what `prepare` made. Waits while UNACKED_MAX bytes are on their way."""
        core = self._live()
        if core.refused is not None:
            raise core.refused
        future, spec, _function = prepared
        core.futures[future.task_id] = future
        core.queued_bytes += len(spec.payload) + 200
        core.outbox.append(prepared)
        if not core._awake:  # noqa: SLF001
            core.wake()
        if self._revival.down:
            self._revival.begin()
        core.wait_for_room()

    def cancel(self, task_ids: Sequence[str], mode: int = CancelMode.CANCEL, reason: str = "") -> None:
        """Ask for tasks to be stopped. Does not wait, and survives a reconnect."""
        self.send(Cancel(list(task_ids), int(mode), reason))

    def is_running(self, task_id: str) -> bool:
        """Whether the hub said of the task, a moment ago, that it runs. Never raises; without a hub it takes 2 s."""
        core = self._core
        return core is not None and core.glance.sees(core, task_id)

    def attach(
        self, task_id: str, *, watch: int = Watch.ALL, on_event: OnEvent | None = None, first: int = 0
    ) -> listeners.Listener:
        """A future for a task that exists at the hub: an id, a unique end of one (6 digits or more), or a name.

        Events from number `first` on are told to `on_event`, then go on live, whoever else in this process follows the
        task; the future's `leave()` ends that. Of several tasks of one name it is the newest. UsageError when there is
        no such task.
        """
        core = self._live()
        info = self.request("tasks.get", {"task_id": task_id})
        if not is_id(str(info["task_id"])):
            raise UsageError(f"the hub answered no task id for {task_id!r}")
        future = listeners.made(self, info, watch=int(watch), on_event=on_event, first=first)
        core.call(listeners.begin(core, future, first))
        return future

    def ask(self, op: str, args: dict[str, Any] | None = None, *, timeout: float) -> concurrent.futures.Future[Any]:
        """As `request`, without waiting: for programs with a loop of their own (`asyncio.wrap_future`).

        It is asked once; HubUnavailable when there is no answer within `timeout` seconds. A hub that was stopped is not
        started for it: looking is no wish.
        """
        core = self._live()

        async def question() -> Any:
            return await core.peer.request(op, args or {}, timeout)

        return asyncio.run_coroutine_threadsafe(question(), core.loop)

    def follow(
        self,
        task_id: str,
        *,
        on_event: OnEvent,
        on_end: Callable[[Outcome | BaseException], None],
        watch: int = Watch.ALL,
    ) -> Story:
        """Have told what a task does from now on, and its end; what was before is asked for with `tasks.events`.

        Does not wait, and brings no result here; called again it changes how much is told. The callbacks run on the
        client's thread. UsageError when this client waits for the task's result already.
        """
        core = self._live()
        story = core.futures.get(task_id)
        if story is None:
            story = core.futures[task_id] = Story(task_id, int(watch), on_event, on_end)
        elif isinstance(story, Story):
            story.watch_more(int(watch))
        else:
            raise UsageError(f"task {task_id[-8:]} is waited for here already: its future tells its events")
        core.loop.call_soon_threadsafe(core.peer.send, Attach([(task_id, Story.LIVE, int(watch))]))
        return story

    def unfollow(self, task_id: str) -> None:
        """Have no more told of a task that was followed. It goes on."""
        core = self._core
        if core is not None and isinstance(core.futures.get(task_id), Story):
            del core.futures[task_id]
            core.loop.call_soon_threadsafe(core.peer.send, Detach([task_id]))

    # --- sessions ---

    def open_session(
        self, spec: SessionSpec, *, on_event: Callable[[SessionEvent], None] | None = None
    ) -> SessionHandle:
        """Ask for a session. Returns at once; cells may be submitted at once. `on_event` is called on the client's
        thread."""
        core = self._live()
        handle = SessionHandle(self, spec, on_event)
        core.sessions[spec.session_id] = handle
        self.send(OpenSession(spec))
        return handle

    # --- bytes ---

    def upload(self, pieces: Sequence[Any]) -> BlobRef:
        """Bring the pieces, one after another, to the hub as a blob; returns when they are on its disk.

        PayloadError above BLOB_MAX.
        """
        return self.upload_all([pieces])[0]

    def upload_all(self, blobs: Sequence[Sequence[Any]]) -> list[BlobRef]:
        """Bring several blobs to the hub, each in pieces. What the hub has of them is not sent again."""
        core = self._live()
        puts = [put_of(pieces) for pieces in blobs]
        if self._revival.down:
            self._revival.begin()  # it is waited for: nobody else would ask for the hub meanwhile

        async def all_of_them() -> list[BlobRef]:
            return list(await asyncio.gather(*(core.blobs.put(*put) for put in puts)))

        return core.call(all_of_them())

    def fetch(self, blob: BlobRef) -> bytearray:
        """The bytes of a blob, checked against its digest."""
        core = self._live()
        return core.call(core.blobs.get(blob))

    def result_ref(self, task_id: str, info: RefInfo) -> Ref:
        """A handle for a result that stayed at its endpoint."""
        return Ref(task_id, client=self, info=info)

    # --- the link ---

    def send(self, message: Any) -> None:
        """Send a message that the hub must get (it is sent again until it is acknowledged)."""
        core = self._live()
        if core.refused is not None:
            raise core.refused
        core.outbox.append(message)
        core.flush()
        if self._revival.down:
            self._revival.begin()

    def flush(self) -> None:
        """Send now what waits for the end of a batch."""
        core = self._core
        if core is not None and core.outbox:
            core.flush()

    def drain(self, timeout: float) -> bool:
        """Wait until the hub has acknowledged everything; False when it has not within `timeout` seconds."""
        core = self._core
        return core is None or core.drain(timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Wait for acknowledgements, then end the link. Tasks go on; their futures here fail with HubUnavailable."""
        if self.closed:
            return
        self.drain(timeout)
        self.closed = True
        self._revival.close()
        core, self._core = self._core, None
        if core is not None:
            core.stop()
            core.fail_all(HubUnavailable("the client was closed; the task goes on"))

    def __repr__(self) -> str:
        return f"<HubClient {self.address} {'connected' if self.connected else 'not connected'}>"

    # --- inside ---

    def _live(self) -> Core:
        core = self._core
        if core is not None:
            return core
        if self.closed:
            raise HubUnavailable("this client is closed: fx.connect() makes another one")
        with self._starting:
            if self._core is None:
                core = Core(
                    self.address,
                    token=self._token,
                    on_lost=self._revival.lost,
                    on_back=self._revival.back,
                    keeper=self._revival.look_after if self._revival.looks_after else None,
                )
                core.start(self._timeout)
                self._core = core
            return self._core

    def _function(self, core: Core, found: payload.EncodedFunction) -> Function | None:
        if found.digest in core.functions:
            return None
        if len(found.payload) <= INLINE_MAX:
            return Function(found.digest, found.payload, found.name)
        return Function(found.digest, b"", found.name, self.upload([found.payload]))

    def _forget(self, future: TaskFuture) -> None:
        core = self._core
        if core is not None:
            core.futures.pop(future.task_id, None)

    def bring_back(self) -> None:
        """Have the hub started again that this client has started or found, if it is gone. Waits; raises why not."""
        self._revival.start()
        core = self._live()
        if not core.peer.is_open:
            core.loop.call_soon_threadsafe(core.peer.retry_now)
            core.call(core.peer.opened(self._timeout))

    @property
    def trouble(self) -> str:
        """Why the endpoint that is started by itself does not come up; empty while it does."""
        return self._core.trouble if self._core is not None else ""

    def after_fork(self) -> None:
        """In a forked child: the parent's thread, loop and tasks are not ours."""
        core, self._core = self._core, None
        if core is not None:
            register.abandon(core)  # its sockets must not be closed by a destructor that thinks it has a loop
        self._revival.after_fork()
        self._starting = threading.RLock()
