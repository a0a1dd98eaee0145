"""One worker: takes up tasks one by one, in the order in which `run` listed them, and tells what became of them."""

from __future__ import annotations

import atexit
import faulthandler
import json
import os
import secrets
import signal
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Any

from jupyter_fx_worker import (
    asks,
    barhooks,
    bars,
    calls,
    cells,
    envelope,
    errors,
    files,
    forksafe,
    learning,
    usermodules,
)
from jupyter_fx_worker.channel import FINISHED, MAIL, STARTED, TAKEN, Channel, Counter, Interrupts
from jupyter_fx_worker.files import MAX_INLINE
from jupyter_fx_worker.streams import Streams

__all__ = ["Worker", "main"]

Task = tuple[int, str, str, Any, dict[str, Any]]

MAX_FUNCTIONS = 512
# What is flushed when: PROMISES and the protocol page speak of 1 ms.
_HOLD = 0.001
_MAX_HELD = 512
_MAX_HELD_BYTES = 1 << 20
_ANSWER_MAX = 700 * 1024


class Worker:
    """The main loop and what the verbs share."""

    def __init__(self, spec: dict[str, Any], fds: Sequence[int], engine: cells.Engine | None) -> None:
        """`spec` is the `fork` header.

        `fds` are control, stdout, stderr, counter; `engine` was prepared by the zygote, or None.
        """
        control, stdout, stderr, counter = fds
        self.pid = os.getpid()
        self.name = spec["worker"]
        nonce = secrets.token_hex(8)
        self.streams = Streams(stdout, stderr, nonce)
        self.cells = Counter(counter).cells
        self.interrupts = Interrupts(self.cells)
        self.channel = Channel(control, self.interrupts)
        self.functions: OrderedDict[str, Any] = OrderedDict()
        usermodules.borrow()
        self._worlds: dict[str, usermodules.World] = {}
        self.session = cells.Session(self, engine, spec)
        self._imports = learning.Imports(spec.get("learn") or ())
        self._queue: deque[Task] = deque()
        self._asks: deque[dict[str, Any]] = deque()
        self._held: list[list[Any]] = []
        self._parts: list[envelope.Buffer] = []
        self._held_bytes = 0
        self._held_since = 0.0
        self._started = self._finished = 0
        self._exiting = False
        self._no = 0
        # Threads of the user's may display too; a mark and its frame go together.
        self._telling = threading.RLock()
        faulthandler.enable(self.streams.private_stderr)
        barhooks.install(bars.report_to(self.event, lambda: self._no), (self.streams.out, self.streams.err))
        up = {"op": "up", "worker": self.name, "pid": self.pid, "nonce": nonce, "cwd": os.getcwd()}
        self.channel.send(up)

    # What user code may cause, from any thread.

    def display(self, kind: str, content: dict[str, Any]) -> None:
        """Send one rich output; everything written before it is delivered before it."""
        if os.getpid() == self.pid:
            with self._telling:
                cells.send_display(self.channel, self._no, kind, content, self.streams.settle())

    def event(self, kind: str, data: Any) -> None:
        """Tell something about the task in hand, say its progress."""
        self.channel.send({"op": "event", "no": self._no, "kind": kind, "data": data})

    # The loop.

    def run(self) -> None:
        """Work until `exit` or until the manager is gone."""
        self.interrupts.install()
        while True:
            if self.cells[MAIL]:
                self.cells[MAIL] = 0
                if not self._read(wait=False):
                    # The manager rings before it sends: look again before the next task.
                    self.cells[MAIL] = 1
            if self._asks:
                # Asked while nothing ran: what was handed over since waits for the answer, which is soon.
                self._answer(self._asks.popleft())
                continue
            if self._queue:
                self._take()
                continue
            self._flush()
            if self._exiting or self.channel.closed:
                return
            self.interrupts.install()
            self.session.wait_idle(self.channel)
            self._read(wait=True)

    def _read(self, wait: bool) -> int:
        found = self.channel.receive(wait)
        for header, body in found:
            op = header["op"]
            if op == "run":
                self._enqueue(header, body)
            elif op == "fn":
                self._keep_function(header["digest"], body)
            elif op == "drop":
                self._drop(header["tasks"])
            elif op == "ask":
                self._asks.append(header)
            elif op == "exit":
                self._exiting = True
        return len(found) or self.channel.closed

    def _enqueue(self, header: dict[str, Any], body: memoryview) -> None:
        at = 0
        if "fn" in header:
            verb, fn, opts = header["verb"], header["fn"], header["opts"]
            for no, size in header["tasks"]:
                self._queue.append((no, verb, fn, body[at : at + size], opts))
                at += size
            return
        for no, verb, fn, size, opts in header["tasks"]:
            if not opts or not (opts.get("path") or opts.get("inputs")):
                self._queue.append((no, verb, fn, body[at : at + size], opts))
                at += size
                continue
            if opts.get("path"):
                size = 0
            inline = sum(length for _task, path, length in opts.get("inputs") or () if not path)
            self._queue.append((no, verb, fn, body[at : at + size + inline], opts))
            at += size + inline

    def _keep_function(self, digest: str, body: memoryview) -> None:
        world, before = usermodules.World(), usermodules.active()
        usermodules.activate(world)
        try:
            function = envelope.loads(body)[1]
        except (Exception, SystemExit) as error:  # of a module that it is from
            function = calls.Broken(error)
        usermodules.activate(before)
        if world.entries:
            self._worlds[digest] = world
        self.functions[digest] = function
        self.functions.move_to_end(digest)
        while len(self.functions) > MAX_FUNCTIONS:
            self._worlds.pop(self.functions.popitem(last=False)[0], None)

    def _answer(self, header: dict[str, Any]) -> None:
        found = asks.answer(self.session, header.get("what", ""), header.get("args") or {})
        text = json.dumps(found, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace")
        if len(text) > _ANSWER_MAX:
            text = b'{"error": "the answer is too long"}'
        self.channel.send({"op": "answer", "n": header.get("n")}, [text])

    def _drop(self, numbers: list[int]) -> None:
        unwanted = set(numbers)
        dropped = [task[0] for task in self._queue if task[0] in unwanted]
        if dropped:
            self._queue = deque(task for task in self._queue if task[0] not in unwanted)
        self.channel.send({"op": "dropped", "tasks": dropped})

    def _take(self) -> None:
        no, verb, fn, payload, opts = self._queue.popleft()
        if self._held and (not (opts and opts.get("short")) or time.monotonic() - self._held_since >= _HOLD):
            self._flush()
        self._no = no
        self._started += 1
        self.cells[TAKEN] = no
        self.cells[STARTED] = self._started
        begun = time.time()
        try:
            outcome, parts, info = self._run(no, verb, fn, payload, opts)
        except BaseException as error:
            # Not the user's: an interrupt that came while an outcome was being packed, or a damaged payload.
            self.interrupts.live = False
            calls.leave_if_forked(self.pid, 1)
            outcome = "interrupted" if isinstance(error, KeyboardInterrupt) else "error"
            parts, info = errors.dumps_error(error), {}
        self._finish(no, outcome, parts, info, opts, begun)

    def _run(self, no: int, verb: str, fn: str, payload: Any, opts: dict[str, Any]) -> calls.Outcome:
        apart: Sequence[memoryview] = ()
        if opts:
            if opts.get("path") or opts.get("inputs"):
                payload = _gather(payload, opts)
            if opts.get("parts"):
                apart = [files.shown(path) for path in opts["parts"]]
            if opts.get("seed") is not None:
                calls.seed_generators(opts["seed"])
        if verb == "cell":
            return self.session.run(payload, opts, apart)
        function = self.functions.get(fn)
        if function is None:
            return "error", (), {"nofn": True}
        self.functions.move_to_end(fn)
        usermodules.activate(self._worlds.get(fn))
        if verb == "call":
            return calls.run_call(self, function, payload, apart)
        if verb == "map":
            return calls.run_map(self, no, function, payload, opts, apart)
        raise ValueError(f"this worker knows no verb {verb!r}: it is older than the one who asks")

    def _finish(
        self,
        no: int,
        outcome: str,
        parts: Sequence[envelope.Buffer],
        info: dict[str, Any],
        opts: dict[str, Any],
        begun: float,
    ) -> None:
        size = 0
        for part in parts:
            size += part.nbytes if type(part) is memoryview else len(part)
        if size > MAX_INLINE or (opts and size > opts.get("max_inline", MAX_INLINE)):
            spilled = self._spill_or_refuse(parts, size, opts)
            parts, size = spilled[0], envelope.size_of(spilled[0])
            info.update(spilled[1])
            outcome = spilled[2] or outcome
        with self._telling:
            mark = self.streams.settle()
        if mark:
            info["m"] = mark
        if imported := self._imports.new():
            self.channel.send({"op": "imported", "modules": imported})
        ended = time.time()
        self._finished += 1
        self.cells[FINISHED] = self._finished
        if not self._held:
            self._held_since = time.monotonic()
        if outcome == "ok" and not info:
            self._held.append([no, size, begun, ended])
        else:
            info["t0"], info["t1"] = begun, ended
            self._held.append([no, outcome, size, info])
        self._parts += parts
        self._held_bytes += size
        # What was taken for short and was not has shown that the next may be long too, or die: nothing waits for it.
        long = ended - begun >= _HOLD
        if long or len(self._held) >= _MAX_HELD or self._held_bytes >= _MAX_HELD_BYTES:
            self._flush()

    def _spill_or_refuse(
        self, parts: Sequence[envelope.Buffer], size: int, opts: dict[str, Any]
    ) -> tuple[Sequence[envelope.Buffer], dict[str, Any], str | None]:
        try:
            spilled = self.spill(parts, opts)
            if spilled is not None:
                return (), spilled, None
            if size <= envelope.MAX_INLINE_EVER:
                return parts, {}, None
            raise ValueError(
                f"the result has {size} bytes, more than a frame holds, and no place to spill it to was given"
            )
        except (OSError, ValueError) as error:
            return errors.dumps_error(error), {}, "error"

    def spill(self, parts: Sequence[envelope.Buffer], opts: dict[str, Any]) -> dict[str, Any] | None:
        """Write an envelope above `max_inline` to a file in `spill`.

        Return {path, bytes}, or None when it may travel inline.
        """
        return files.spill(parts, opts)

    def _flush(self) -> None:
        if not self._held:
            return
        held, parts = self._held, self._parts
        self._held, self._parts, self._held_bytes = [], [], 0
        self.channel.send({"op": "done", "results": held}, parts)


def _gather(inline: memoryview, opts: dict[str, Any]) -> memoryview:
    """Return a payload and the results it takes, one after another, from the body's bytes and from files."""
    inputs = opts.get("inputs") or ()
    if not inputs:
        return files.shown(opts["path"])
    own = len(inline) - sum(length for _task, path, length in inputs if not path)
    whole = bytearray(files.contents(opts["path"]) if opts.get("path") else inline[:own])
    at = own
    for _task, path, length in inputs:
        if path:
            whole += files.contents(path)
        else:
            whole += inline[at : at + length]
            at += length
    return memoryview(whole)


def main(spec: dict[str, Any], fds: Sequence[int], engine: cells.Engine | None, setters: list[Any]) -> None:
    """Be the worker that `spec` describes, in a process of its own. Does not return."""
    code = 0
    try:
        _settle_in(spec, setters)
        Worker(spec, fds, engine).run()
        atexit._run_exitfuncs()  # noqa: SLF001 - leaving by os._exit would skip what user code registered
    except BaseException:
        code = 1
        import traceback

        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _settle_in(spec: dict[str, Any], setters: list[Any]) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    # Python itself ignores SIGPIPE; so must a worker whose user code talks to pipes.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    if os.getsid(0) != os.getpid():
        os.setsid()
    forksafe.die_with_parent()
    if spec.get("parent") and os.getppid() != spec["parent"]:
        # It was gone before Linux was asked.
        os._exit(0)
    env = {str(key): str(value) for key, value in (spec.get("env") or {}).items()}
    gpus = spec.get("gpus")
    if gpus is not None:
        for variable in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
            os.environ[variable] = str(gpus)
    forksafe.set_pools(int(spec.get("cores") or 1), setters, env)
    os.environ.update(env)
    forksafe.reseed()
    if spec.get("cwd"):
        os.chdir(spec["cwd"])
        if "" not in sys.path:
            sys.path.insert(1, "")
