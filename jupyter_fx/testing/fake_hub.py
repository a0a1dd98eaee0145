"""FakeHub: an fx hub in this process, on a real Unix socket, that runs calls itself. For tests of clients; nothing
is durable."""

from __future__ import annotations

import asyncio
import contextlib
import io
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from jupyter_fx.digest import digest
from jupyter_fx.errors import FxError, UsageError
from jupyter_fx.protocol.faults import error_info
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.limits import BLOB_CHUNK, INLINE_MAX
from jupyter_fx.protocol.messages import (
    Attach,
    BlobData,
    BlobGet,
    BlobPut,
    BlobRef,
    BlobStored,
    Cancel,
    ErrorInfo,
    Event,
    EventKind,
    Events,
    Functions,
    Hello,
    Kind,
    Outcome,
    Outcomes,
    Rejected,
    Request,
    Submit,
    TaskSpec,
    Welcome,
)
from jupyter_fx.transport import Channel, Served
from jupyter_fx.transport.unix import serve
from jupyter_fx_worker import envelope, errors, inputs

__all__ = ["FakeHub"]


class FakeHub:
    """Use it as a context manager. `held`: tasks stay QUEUED until `release()`. `submitted` lists every TaskSpec
    that came.

    `cut()` breaks every connection; what was acknowledged is remembered. `run` may be replaced: it makes a task's
    outcome.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "hub.sock"
        self.address = f"unix:{self.path}"
        self.held = False
        self.refuse: FxError | None = None
        self.reject: FxError | None = None
        self.answers: dict[str, Callable[[dict[str, Any]], Any]] = {}
        self.submitted: list[TaskSpec] = []
        self.functions: dict[str, bytes] = {}
        self.messages: list[Any] = []
        self.blobs: dict[str, bytearray] = {}
        self.took = 0
        """Bytes of blobs that were sent to it."""
        self.outcomes: dict[str, Outcome] = {}
        self.events: dict[str, list[Event]] = {}
        self.run: Callable[[TaskSpec], Outcome] = self.execute
        self.acknowledges = True
        self._received: dict[str, int] = {}
        self._tasks: dict[str, TaskSpec] = {}
        self._links: list[Served] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake-hub", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(serve(self.path, self._accept), self._loop).result(5)
        return self

    def __exit__(self, *_: object) -> None:
        self.do(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def do(self, work: Callable[[], Any]) -> Any:
        """Run `work` on the hub's thread and wait for it."""

        async def run() -> Any:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(5)

    def cut(self) -> None:
        """Break every connection."""
        self.do(lambda: [link.channel.abort() for link in self._links if link.channel is not None])

    def release(self) -> None:
        """Run what was held."""
        self.held = False
        self.do(self._run_held)

    def tell(self, task_id: str, kind: EventKind, data: Any) -> None:
        """Let a task tell something."""
        self.do(lambda: self._event(task_id, kind, data))

    def finish(self, outcome: Outcome) -> None:
        """Give a task an outcome."""
        self.do(lambda: self._finish(outcome))

    # --- on the hub's thread ---

    def _close(self) -> None:
        self._server.close()
        for link in self._links:
            link.close()

    def _accept(self, channel: Channel) -> None:
        link = Served(
            channel,
            on_hello=self._hello,
            on_message=lambda message, number: self._take(link, message, number),
            on_request=self._answer,
        )
        self._links.append(link)

    def _hello(self, hello: Hello, _link: Served) -> Welcome:
        if self.refuse is not None:
            raise self.refuse
        return Welcome(hello.version, 1, "tester", self._received.get(hello.link_id, 0))

    def _take(self, link: Served, message: Any, number: int) -> None:
        self.messages.append(message)
        if number and self.acknowledges:
            assert link.hello is not None
            self._received[link.hello.link_id] = number
            link.acknowledge(number)
        if isinstance(message, Functions):
            for function in message.functions:
                self.functions[function.digest] = function.payload or bytes(self.blobs[function.blob.digest])  # type: ignore[union-attr]
        elif isinstance(message, Submit):
            self._submit(link, message)
        elif isinstance(message, Cancel):
            for task_id in message.tasks:
                if task_id in self._tasks and task_id not in self.outcomes:
                    self._finish(
                        Outcome(task_id, TaskState.CANCELLED, error=ErrorInfo("", message.reason or "cancelled"))
                    )
        elif isinstance(message, Attach):
            for task_id, first, _watch in message.tasks:
                link.send(Events([event for event in self.events.get(task_id, []) if event.n >= first]))
                if task_id in self.outcomes:
                    link.send(Outcomes([self.outcomes[task_id]]))
        elif isinstance(message, (BlobPut, BlobData, BlobGet)):
            self._bytes(link, message)

    def _submit(self, link: Served, message: Submit) -> None:
        for spec in message.tasks:
            if spec.task_id in self._tasks:
                continue
            self.submitted.append(spec)
            if self.reject is not None:
                link.send(Rejected([spec.task_id], error_info(self.reject)))
                continue
            self._tasks[spec.task_id] = spec
            if not self.held:
                self._run(spec)

    def _run_held(self) -> None:
        for spec in list(self._tasks.values()):
            if spec.task_id not in self.outcomes:
                self._run(spec)

    def _run(self, spec: TaskSpec) -> None:
        self._event(spec.task_id, EventKind.STATE, {"state": int(TaskState.RUNNING)})
        self._finish(self.run(spec))

    def _finish(self, outcome: Outcome) -> None:
        if outcome.task_id in self.outcomes:
            return
        if len(outcome.payload) > INLINE_MAX:
            name = digest(outcome.payload)
            self.blobs[name] = bytearray(outcome.payload)
            outcome.blob, outcome.payload = BlobRef(name, len(outcome.payload)), b""
        self.outcomes[outcome.task_id] = outcome
        self._send(Outcomes([outcome]))

    def _event(self, task_id: str, kind: EventKind, data: Any) -> None:
        story = self.events.setdefault(task_id, [])
        story.append(Event(task_id, len(story), int(kind), time.time(), data))
        spec = self._tasks.get(task_id)
        if spec is not None and spec.watch:
            self._send(Events([story[-1]]))

    def _send(self, message: Any) -> None:
        for link in self._links:
            if link.is_open and link.hello is not None and link.hello.role == "client":
                link.send(message)

    def _bytes(self, link: Served, message: BlobPut | BlobData | BlobGet) -> None:
        if isinstance(message, BlobGet):
            data = self.blobs[message.digest]
            end = message.offset + message.length if message.length else len(data)
            for at in range(message.offset, end, BLOB_CHUNK):
                link.send(BlobData(message.digest, at, len(data), bytes(data[at : min(end, at + BLOB_CHUNK)])))
            return
        held = self.blobs.setdefault(message.digest, bytearray())
        if isinstance(message, BlobData):
            self.took += len(message.data)
            if message.offset == len(held):
                held += message.data
        link.send(BlobStored(message.digest, len(held), message.size))

    def _answer(self, request: Request) -> Any:
        args = request.args
        if request.op in self.answers:
            return self.answers[request.op](args)
        if request.op == "whoami":
            return {"user": "tester", "hub_boot": 1, "version": "fake", "scopes": []}
        if request.op == "tasks.list":
            return {"tasks": [], "next": None}
        if request.op == "tasks.get":
            return self._info(args["task_id"])
        if request.op == "tasks.events":
            story = [e for e in self.events.get(args["task_id"], []) if e.n >= args.get("from", 0)]
            return {"events": [[e.n, e.kind, e.t, e.data] for e in story], "next": None}
        if request.op == "tasks.log":
            texts = [
                e.data for e in self.events.get(args["task_id"], []) if e.kind in {EventKind.STDOUT, EventKind.STDERR}
            ]
            return {"text": b"".join(texts).decode(), "dropped": 0}
        raise UsageError(f"no operation {request.op!r}")

    def _info(self, task_id: str) -> dict[str, Any]:
        found = [known for known in self._tasks if known.endswith(task_id)]
        if len(found) != 1:
            raise UsageError(f"no task {task_id!r}")
        outcome = self.outcomes.get(found[0])
        state = TaskState(outcome.state) if outcome is not None else TaskState.QUEUED
        return {"task_id": found[0], "name": "", "kind": self._tasks[found[0]].kind, "state": state.name, "why": "held"}

    # --- running ---

    def execute(self, spec: TaskSpec) -> Outcome:
        """The outcome of a call or of a chunk of a map, run here and now; what it prints is told as events."""
        options = spec.options
        payload = spec.payload
        if options is not None and options.blob is not None:
            payload = bytes(self.blobs[options.blob.digest])
        parts = []
        if options is not None:
            parts = [bytearray(self.blobs[part.digest]) for part in options.parts]
            payload += b"".join(self.outcomes[task_id].payload for task_id in options.inputs)
        printed = io.StringIO()
        times = [time.time()] * 4
        usage = None
        try:
            function = envelope.loads(self.functions[spec.function])[1]
            header, value = inputs.loads(bytearray(payload), parts)
            with contextlib.redirect_stdout(printed):
                if spec.kind == Kind.MAP:
                    packed, failed = self._map(function, value, star=bool(header.get("star")))
                    run, usage = b"".join(packed), {"items": len(value), "failed": failed}
                    self._event(spec.task_id, EventKind.ITEMS, {"first": 0, "count": len(value), "payload": run})
                    pieces: list[Any] = []
                else:
                    pieces = envelope.dumps(function(*value[0], **value[1]), "result")
            state, error = TaskState.SUCCEEDED, None
        except BaseException as caught:  # noqa: BLE001 the task's error is its outcome
            pieces, state = errors.dumps_error(caught), TaskState.FAILED
            error = ErrorInfo(type(caught).__name__, str(caught))
        if printed.getvalue():
            self._event(spec.task_id, EventKind.STDOUT, printed.getvalue().encode())
        return Outcome(spec.task_id, state, b"".join(pieces), error, times=[*times, time.time()], usage=usage)

    @staticmethod
    def _map(function: Any, items: list[Any], *, star: bool) -> tuple[list[Any], int]:
        values: list[Any] = []
        bad: dict[str, int] = {}
        for at, item in enumerate(items):
            try:
                values.append(function(*item) if star else function(item))
            except Exception as error:  # noqa: BLE001 an item's error is its outcome
                bad[str(at)] = at
                values.append(errors.item_record(error))
        return envelope.dumps(values, "results", **({"errors": bad} if bad else {})), len(bad)
