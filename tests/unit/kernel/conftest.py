"""A notebook shell, and a stand-in for hub, endpoint and worker that runs cells at once in this process."""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from jupyter_fx import payload
from jupyter_fx.client import TaskFuture
from jupyter_fx.errors import UsageError
from jupyter_fx.ids import new_id
from jupyter_fx.payload.values import join
from jupyter_fx.protocol.lifecycle import SessionState, TaskState
from jupyter_fx.protocol.messages import Event, EventKind, Kind, Outcome, SessionSpec, TaskOptions
from jupyter_fx_kernel import standins
from jupyter_fx_kernel.magics import FxMagics
from jupyter_fx_worker import ambient, envelope, errors, names, plain


@contextlib.contextmanager
def as_main(module: types.ModuleType) -> Iterator[None]:
    """A worker's `__main__` is its session's namespace."""
    before = sys.modules["__main__"]
    sys.modules["__main__"] = module
    try:
        yield
    finally:
        sys.modules["__main__"] = before


class FakeHandle:
    def __init__(self, spec: SessionSpec) -> None:
        self.spec, self.state, self.reason, self.info = spec, SessionState.OPEN, "", {"python": [3, 11, 7], "pid": 7}
        self.session_id = spec.session_id
        self.error = None
        self.module = types.ModuleType("__main__")
        self.engine = plain.PlainEngine(self.module)
        self.tell: Callable[[int, Any], None] = lambda _kind, _data: None
        self.engine._session = self

    @property
    def ended(self) -> bool:
        return self.state in {SessionState.CLOSED, SessionState.LOST}

    def close(self, reason: str = "", *, kill: bool = False, when_idle: bool = False) -> None:
        self.state = SessionState.CLOSED

    def display(self, kind: str, content: dict[str, Any]) -> None:
        self.tell(EventKind.DISPLAY, {"kind": kind, "content": content})


class FakeFuture(TaskFuture):
    kind = Kind.CELL

    def interrupt(self) -> None:
        """Everything is over already."""


class FakeHub:
    """`sent` holds, for each cell, the names that travelled with it."""

    address = "fake:"
    endpoint = ""

    def __init__(self) -> None:
        self.sent: list[set[str]] = []
        self.around: list[dict[str, Any]] = []
        self.headers: list[dict[str, Any]] = []
        self.opened: list[FakeHandle] = []
        self.before_outcome: Callable[[], None] = lambda: None

    def flush(self) -> None:
        """Nothing waits."""

    def request(self, op: str, args: dict[str, Any]) -> Any:
        if op == "endpoints.get" and args["name"] != "local":
            raise UsageError(f"no endpoint {args['name']!r} (nearest: local)")
        return {"tasks": []} if op == "tasks.list" else {}

    def open_session(self, spec: SessionSpec) -> FakeHandle:
        self.opened.append(FakeHandle(spec))
        return self.opened[-1]

    def submit_cell(
        self, session: Any, cell: Any, *, on_event: Any, endpoint: str, options: TaskOptions, task_id: str
    ) -> FakeFuture:
        handle = session if session != "" else FakeHandle(SessionSpec(new_id(), endpoint, "k", "e"))
        future = FakeFuture(self, task_id)
        number = 0

        def tell(kind: int, data: Any) -> None:
            nonlocal number
            on_event(Event(future.task_id, number, kind, 0.0, data))
            number += 1

        handle.tell = tell
        with as_main(handle.module):
            header, captured = envelope.loads(bytearray(join(cell.pieces)), [bytearray(part) for part in cell.parts])
        self.around.append(captured.pop(ambient.NAME, {}))
        self.sent.append(set(captured))
        self.headers.append(header)
        ns = handle.module.__dict__
        ns.update(captured)
        before = names.Snapshot(ns, header["source"], header["home_limit"], handle.engine.hidden)
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            error = asyncio.run(handle.engine.execute(header["source"], header["filename"], 1, header["silent"]))
        if text.getvalue():
            tell(EventKind.STDOUT, text.getvalue().encode())
        home = before.compare(ns, frozenset(header["want"]), same_python=True, whole=error is None)
        parts = home.dumps() if error is None else errors.dumps_error(error, home.values, **home.header())
        state = TaskState.SUCCEEDED if error is None else TaskState.FAILED
        future.outcome = Outcome(future.task_id, state, join(parts))
        self.before_outcome()
        if error is None:
            future.set_result(future.outcome)
        else:
            future.set_exception(payload.decode_error(future.outcome))
        return future


class Notebook:
    """Runs cells as a front end does; `run` returns the result, raising what the cell raised."""

    def __init__(self) -> None:
        self.hub = FakeHub()
        config = Config()
        config.HistoryManager.enabled = False
        config.InteractiveShell.colors = "nocolor"
        self.shell = InteractiveShell(config=config)
        self.displays: list[dict[str, Any]] = []
        self.shell.display_pub.publish = self._publish
        standins.install(self.shell)
        self.magics = FxMagics(self.shell, lambda: self.hub)
        self.shell.register_magics(self.magics)
        self.ns: dict[str, Any] = self.shell.user_ns

    def _publish(self, data: Any, metadata: Any = None, **_more: Any) -> None:
        self.displays.append(data)

    def run(self, cell: str) -> Any:
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()):
            result = self.shell.run_cell(cell, store_history=True)
        self.out = out.getvalue()
        result.raise_error()
        return result.result

    def remote(self, body: str, line: str = "") -> Any:
        return self.run(f"%%remote {line}\n{body}")


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    # A worker says it to the programs that it starts; here they would be the JupyterLab of other tests.
    monkeypatch.setenv("MPLBACKEND", "agg")
    made = Notebook()
    yield made
    made.shell.reset(new_session=False)
