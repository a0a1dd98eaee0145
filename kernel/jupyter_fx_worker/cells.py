"""The verb `cell`: notebook cells in one namespace that lives as long as this worker.

An engine runs the code (`shell.IPythonEngine` where the environment has IPython, else `plain.PlainEngine`); this
module does what is common: captured names in, bound functions, the persistent event loop, interrupts, assigned names
home.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import contextvars
import json
import os
import sys
import types
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jupyter_fx_worker import (
    ambient,
    asks,
    binding,
    calls,
    envelope,
    errors,
    inputs,
    inventory,
    names,
    shown,
    usermodules,
    warned,
)
from jupyter_fx_worker.channel import Channel
from jupyter_fx_worker.results import dumps_result

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from jupyter_fx_worker.worker import Worker

__all__ = ["Engine", "Session", "fresh_main", "jsonable", "prepare_engine", "send_display"]

_HOME_LIMIT = 1 << 20
# Beyond this a display travels in the frame's body: headers are limited to 1 MiB.
_DISPLAY_IN_HEADER = 900 * 1024
_DISPLAY_LIMIT = 64 << 20


class Engine:
    """What a way of running cells offers. Prepared once in the zygote, used in the worker."""

    namespace: dict[str, Any]
    hidden: frozenset[str] = frozenset()
    value: Any = None
    """Of the last expression of the cell that ran last, as far as it was shown."""

    def attach(self, session: Session) -> None:
        """Called once in the worker: connect displays to `session`."""
        raise NotImplementedError

    async def execute(self, source: str, filename: str, count: int, silent: bool) -> BaseException | None:
        """Run one cell; return the exception that ended it, or None."""
        raise NotImplementedError

    def after(self, silent: bool) -> None:
        """Called after each cell, while user code may still be interrupted: flush figures and the like."""

    def importing(self) -> contextlib.AbstractContextManager[Any]:
        """While modules are imported that cells are going to find."""
        return contextlib.nullcontext()

    def complete(self, code: str, at: int) -> tuple[int, list[list[str]]]:
        """Return where the completed text starts, and [text, type] of each way to complete `code` at position `at`."""
        raise NotImplementedError

    def inspect(self, code: str, at: int, detail: int) -> dict[str, str]:
        """Return what is known of the name at position `at`, by MIME type; nothing when there is no such name."""
        raise NotImplementedError


def fresh_main() -> types.ModuleType:
    """Make a new, empty `__main__` and put it in its place: the namespace of a session."""
    module = types.ModuleType("__main__", "The namespace of this remote session.")
    module.__dict__["__builtins__"] = sys.modules["builtins"]
    sys.modules["__main__"] = module
    return module


def prepare_engine(scratch: str | None) -> Engine:
    """Return the best engine that this environment offers.

    Starts no thread and opens no event loop, so that it may be forked.
    """
    try:
        from jupyter_fx_worker import shell
    except ImportError:
        from jupyter_fx_worker import plain

        return plain.PlainEngine(fresh_main())
    return shell.IPythonEngine(fresh_main(), scratch)


def jsonable(value: Any) -> Any:
    """Return `value` as strict JSON data: bytes in base64, NaN as null, what is unknown as its text."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [jsonable(item) for item in value]
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "size", 0) == 1:
        return jsonable(item())
    return str(value)


def send_display(channel: Channel, no: int, kind: str, content: dict[str, Any], mark: int) -> None:
    """Send one display frame.

    A large content stands in the body, as JSON; the header then says `"body": "json"` and holds a stub of it.
    """
    header: dict[str, Any] = {"op": "display", "no": no, "kind": kind, "mark": mark}
    clean = jsonable(content)
    text = json.dumps(clean, ensure_ascii=False).encode("utf-8", "backslashreplace")
    if len(text) <= _DISPLAY_IN_HEADER:
        channel.send({**header, "content": clean})
        return
    said = f"<a display of {len(text) / 2**20:.1f} MiB: the limit is {_DISPLAY_LIMIT >> 20} MiB>"
    stub = {**clean, "data": {"text/plain": said}, "metadata": {}}
    if len(text) > _DISPLAY_LIMIT:
        channel.send({**header, "content": stub})
    else:
        channel.send({**header, "content": stub, "body": "json"}, [text])


async def _leaving_context(
    run: Coroutine[Any, Any, BaseException | None], left: list[contextvars.Context]
) -> BaseException | None:
    """Await `run`; put the context that it leaves into `left`."""
    try:
        return await run
    finally:
        left.append(contextvars.copy_context())


def _refusal(lacks: list[list[str]]) -> errors.PayloadError:
    (name, by), version = lacks[0], ".".join(map(str, sys.version_info[:3]))
    return errors.PayloadError(
        f"{by} needs {name}, which is not installed where this would run (Python {version}, {sys.executable}); "
        "nothing was run"
    )


class Session:
    """The cells of one notebook session, and what lives between them."""

    def __init__(self, worker: Worker, engine: Engine | None, spec: dict[str, Any]) -> None:
        self.worker = worker
        self._engine = engine
        self._scratch = spec.get("scratch")
        self._attached = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ambient = ambient.Ambient()
        self._untold: dict[str, Any] = {}
        """What background cells changed of the process, which home has not heard of yet."""
        self.made: dict[str, str] = {}
        """Where each variable came from: `In[3]`, or `sent`."""
        self.kept: dict[str, bytes] = {}
        """Fingerprints of the variables that were kept, as they were then."""
        self.cells = 0
        self._leased = bool(spec.get("session"))
        self._world = usermodules.World()

    def ready(self) -> Engine:
        """Return the engine, made and connected at the first use."""
        if self._engine is None:
            self._engine = prepare_engine(self._scratch)
        if not self._attached:
            self._attached = True
            warned.install()
            self._engine.attach(self)
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        return self._engine

    def wait_idle(self, channel: Channel) -> None:
        """Wait for the channel on the session's event loop if tasks of the user's live there; else return at once."""
        loop = self._loop
        if loop is None or not asyncio.all_tasks(loop):
            return
        loop.add_reader(channel.fileno(), loop.stop)
        try:
            with contextlib.suppress(BaseException):
                loop.run_forever()
        finally:
            loop.remove_reader(channel.fileno())

    def run(
        self,
        payload: envelope.Buffer,
        opts: dict[str, Any] | None = None,
        apart: Sequence[envelope.Buffer] = (),
    ) -> calls.Outcome:
        """Run one `cell` envelope. The outcome's parts are a `names` or an `error` envelope."""
        worker = self.worker
        engine = self.ready()
        # A cell without a session shares the worker with strangers, whose modules may have the same names.
        usermodules.activate(self._world if self._leased else usermodules.World())
        if lacks := self._lacks(envelope.peek(payload)[0].get("needs") or {}):
            return "error", errors.dumps_error(_refusal(lacks), lacks=lacks), {}
        header, captured = inputs.loads(payload, apart)
        ns = engine.namespace
        if header.get("keep"):
            return self._keep(ns, str(header["keep"]), opts or {})
        missing = self._bring_in(ns, header, captured or {})
        if missing:
            return "error", (), {"nofn": True, "missing": missing}
        worker.interrupts.install()
        with envelope.sharing(ns):
            limits = (
                int(header.get("home_limit") or _HOME_LIMIT),
                engine.hidden,
                int(header.get("want_limit") or 1 << 30),
            )
            before = names.Snapshot(ns, header["source"], *limits)
        errors.values_wanted = bool(header.get("reprs"))
        error = self._execute(engine, header)
        calls.leave_if_forked(worker.pid, 0 if error is None else 1)
        worker.interrupts.install()
        same_python = list(header.get("py") or ()) == envelope.PYTHON
        want = frozenset(header.get("want") or ())
        with envelope.sharing(ns):
            home = before.compare(ns, want, same_python=same_python, whole=error is None)
            self._note(home, header)
            self._tell_ambient(home, background=bool(header.get("background")))
            if error is None:
                self._send_value(home, engine, header, same_python=same_python)
                return "ok", home.dumps(), {}
            outcome = "interrupted" if isinstance(error, KeyboardInterrupt) else "error"
            return outcome, errors.dumps_error(error, home.values, **home.header()), {}

    def _tell_ambient(self, home: names.Home, *, background: bool) -> None:
        """Send home what the cell changed of the process.

        Of a background cell nobody could say between which of the notebook's cells that happened: it comes with the
        next one that the notebook waits for, whose place is known.
        """
        self._untold.update(self._ambient.changed())
        if self._untold and not background:
            home.values[ambient.NAME], self._untold = self._untold, {}

    def _send_value(self, home: names.Home, engine: Engine, header: dict[str, Any], *, same_python: bool) -> None:
        """Send the last expression's value, unless it is a variable that comes by its name or is there already."""
        value, engine.value = engine.value, None
        if value is None or header.get("silent"):
            return
        home.last = next((name for name, other in home.values.items() if other is value), "")
        known = header.get("known")
        if home.last or (known and engine.namespace.get(known) is value):
            return
        limit = int(header.get("home_limit") or _HOME_LIMIT)
        if (packed := shown.pack(value, limit, same_python=same_python)) is not None:
            home.values[shown.NAME] = packed

    def _keep(self, ns: dict[str, Any], name: str, opts: dict[str, Any]) -> calls.Outcome:
        """Write a variable to a file as a `result` that any worker can open: its endpoint keeps that."""
        interrupts = self.worker.interrupts
        try:
            if name not in ns:
                raise NameError(f"the session has no variable {name!r} any more", name=name)
            interrupts.install()
            interrupts.live = True
            parts = dumps_result(ns[name])
            interrupts.live = False
            self.kept[name] = asks.fingerprint(parts)
            spilled = self.worker.spill(parts, {**opts, "max_inline": -1})
        except BaseException as error:
            interrupts.live = False
            outcome = "interrupted" if isinstance(error, KeyboardInterrupt) else "error"
            return outcome, errors.dumps_error(error), {}
        return ("ok", (), spilled) if spilled is not None else ("ok", parts, {})

    def _note(self, home: names.Home, header: dict[str, Any]) -> None:
        """Remember which cell made what."""
        if header.get("source"):
            self.cells += 1
        where = f"In[{header.get('count') or 1}]"
        for made in (home.values, home.stay, home.modules):
            self.made.update(dict.fromkeys(made, where))
        for name in home.deleted:
            self.made.pop(name, None)

    def _lacks(self, needs: dict[str, str]) -> list[list[str]]:
        """Return those of the packages that are not here, with what needs them."""
        return [[name, by] for name, by in needs.items() if not inventory.has(name)]

    def _bring_in(self, ns: dict[str, Any], header: dict[str, Any], captured: dict[str, Any]) -> list[str]:
        functions = self.worker.functions
        fns: dict[str, str] = header.get("fns") or {}
        missing = [digest for digest in fns.values() if digest not in functions]
        if missing:
            return missing
        for name, digest in fns.items():
            function = functions[digest]
            if isinstance(function, calls.Broken):
                raise function.error
            captured[name] = function
        captured.pop(usermodules.NAME, None)
        told = captured.pop(ambient.NAME, {})
        self._untold = {kind: value for kind, value in self._untold.items() if kind not in told}
        self._ambient.take(told, header["source"])
        self._ambient.settle()
        for name in header.get("bind") or ():
            if name in captured:
                captured[name] = binding.bind(captured[name], ns)
        ns.update(captured)
        self.made.update(dict.fromkeys(captured, "sent"))
        return []

    def _execute(self, engine: Engine, header: dict[str, Any]) -> BaseException | None:
        """Run the cell on the persistent loop; an interrupted `await` ends as KeyboardInterrupt."""
        loop, interrupts = self._loop, self.worker.interrupts
        assert loop is not None
        silent = bool(header.get("silent"))
        run = engine.execute(header["source"], header["filename"], int(header.get("count") or 1), silent)
        left: list[contextvars.Context] = []
        task = loop.create_task(_leaving_context(run, left))
        interrupted: KeyboardInterrupt | None = None
        error: BaseException | None = None
        while not task.done():
            try:
                interrupts.live = True
                loop.run_until_complete(task)
            except KeyboardInterrupt as interrupt:
                # Raised inside of the loop itself: the cell is waiting, or is about to.
                interrupted = interrupt
                task.cancel()
            except BaseException:  # noqa: S112 - a cell's own exception is read from its task below
                # Of the cell, and then it is done; or of a background task, which does not end the cell.
                continue
        # A task has a context of its own. Cells go on in one another's: numpy keeps its print options there.
        for variable, value in left[0].items() if left else ():
            variable.set(value)
        try:
            if task.cancelled():
                error = interrupted or asyncio.CancelledError()
            elif task.done():
                error = task.exception() or task.result()
            engine.after(silent)
            interrupts.live = False
        except KeyboardInterrupt as interrupt:
            error = error or interrupt
        finally:
            interrupts.live = False
        if os.getpid() != self.worker.pid:
            code = getattr(error, "code", 1) if isinstance(error, SystemExit) else int(error is not None)
            calls.leave_if_forked(self.worker.pid, code if isinstance(code, int) else 1)
        if interrupted is not None and isinstance(error, asyncio.CancelledError):
            return interrupted.with_traceback(error.__traceback__)
        return error

    def display(self, kind: str, content: dict[str, Any]) -> None:
        """Send one rich output of the cell in hand."""
        self.worker.display(kind, content)
