"""A manager small enough to read: it starts real zygotes and workers, and puts what they say into one ordered log."""

from __future__ import annotations

import hashlib
import mmap
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import jupyter_fx_worker
from jupyter_fx_worker import bundle, envelope, frames

SOURCE = str(Path(jupyter_fx_worker.__file__).parent.parent)
DEADLINE = 60.0


class Channel:
    """One control socket with its reader."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.reader = frames.Reader()
        self.frames: list[tuple[dict[str, Any], memoryview]] = []
        self.closed = False

    def pump(self, timeout: float) -> bool:
        """Read once; True when something (or the end) came."""
        ready, _, _ = select.select([self.sock], [], [], timeout)
        if not ready:
            return False
        try:
            data = self.sock.recv(1 << 18)
        except ConnectionError:
            data = b""
        self.closed = self.closed or not data
        self.frames += self.reader.feed(data)
        return True

    def expect(self, op: str, **fields: Any) -> dict[str, Any]:
        """Wait for a frame of this kind; others stay."""
        until = time.monotonic() + DEADLINE
        while True:
            for at, (header, _) in enumerate(self.frames):
                if header["op"] == op and all(header.get(key) == value for key, value in fields.items()):
                    del self.frames[at]
                    return header
            if self.closed or time.monotonic() > until:
                raise AssertionError(f"no {op} {fields} came; closed={self.closed}, got {[h for h, _ in self.frames]}")
            self.pump(0.2)


class Worker:
    """A worker as its manager sees it.

    `log` holds ("out", text), ("err", text), ("display", …), ("items", …), ("done", …) in order.
    """

    def __init__(self, zygote: Zygote, name: str, **spec: Any) -> None:
        self.zygote, self.name = zygote, name
        ours, theirs = socket.socketpair()
        self.out, out = os.pipe()
        self.err, err = os.pipe()
        counter = os.memfd_create("counter")
        os.ftruncate(counter, 64)
        self.counter = mmap.mmap(counter, 64)
        header = {
            "op": "fork",
            "worker": name,
            "cores": 1,
            "gpus": "",
            "cwd": zygote.scratch,
            "env": {},
            "session": None,
        }
        frames.send_fds(zygote.channel.sock, {**header, **spec}, [theirs.fileno(), out, err, counter])
        for fd in (out, err, counter):
            os.close(fd)
        theirs.close()
        self.channel = Channel(ours)
        self.log: list[tuple[str, Any]] = []
        self.results: dict[int, tuple[str, Any, dict[str, Any]]] = {}
        self.items: dict[int, list[tuple[int, dict[str, Any], list[Any]]]] = {}
        self._text = {self.out: b"", self.err: b""}
        self._seen = {self.out: 0, self.err: 0}
        self._no = 0
        self.pid = zygote.channel.expect("forked", worker=name)["pid"]
        up = self.channel.expect("up")
        assert up["pid"] == self.pid
        self._marker = re.compile(b"\0fx:" + up["nonce"].encode() + rb":(\d+)\0")

    # Sending.

    def send(self, header: dict[str, Any], parts: list[Any] | tuple[Any, ...] = ()) -> None:
        frames.send(self.channel.sock, header, parts)

    def teach(self, function: Callable[..., Any]) -> str:
        pieces = envelope.dumps(function, "fn", name=function.__name__)
        digest = hashlib.blake2b(b"".join(pieces), digest_size=8).hexdigest()
        self.send({"op": "fn", "digest": digest}, pieces)
        return digest

    def submit(self, verb: str, fn: str, pieces: list[Any], **opts: Any) -> int:
        return self.submit_many([(verb, fn, pieces, opts)])[0]

    def submit_many(self, tasks: list[tuple[str, str, list[Any], dict[str, Any]]]) -> list[int]:
        listed, body, numbers = [], [], []
        for verb, fn, pieces, opts in tasks:
            self._no += 1
            numbers.append(self._no)
            listed.append([self._no, verb, fn, envelope.size_of(pieces), opts])
            body += pieces
        self.send({"op": "run", "tasks": listed}, body)
        return numbers

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run one call and return (outcome, value or error header, info)."""
        return self.wait(self.submit("call", self.teach(function), envelope.dumps((args, kwargs), "args")))

    def map(self, function: Callable[..., Any], items: list[Any], *, star: bool = False, **opts: Any) -> int:
        extra = {"star": True} if star else {}
        return self.submit("map", self.teach(function), envelope.dumps(items, "items", n=len(items), **extra), **opts)

    def cell_no(self, source: str, captured: dict[str, Any] | None = None, **extra: Any) -> int:
        digest = hashlib.blake2b(source.encode(), digest_size=4).hexdigest()
        fields = {"source": source, "filename": f"<fx-cell:{digest}>", "count": 1, "want": [], "bind": [], **extra}
        return self.submit("cell", "", envelope.dumps(captured or {}, "cell", **fields))

    def cell(self, source: str, captured: dict[str, Any] | None = None, **extra: Any) -> Any:
        return self.wait(self.cell_no(source, captured, **extra))

    # Hearing.

    def wait(self, no: int) -> Any:
        self.until(lambda: no in self.results)
        return self.results[no]

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited in vain; log: {self.log[-20:]}")
            self.step()

    def step(self) -> None:
        fds = [self.channel.sock, self.out, self.err]
        ready, _, _ = select.select(
            [fd for fd in fds if not (fd is self.channel.sock and self.channel.closed)], [], [], 0.2
        )
        if self.channel.sock in ready:
            self.channel.pump(0)
            found, self.channel.frames = self.channel.frames, []
            for header, body in found:
                self._hear(header, body)
        for fd in (self.out, self.err):
            if fd in ready:
                self._read(fd)

    def _read(self, fd: int) -> None:
        if select.select([fd], [], [], 0)[0]:
            self._text[fd] += os.read(fd, 1 << 16)
        if not self._marker.search(self._text[fd]):
            self._emit(fd, self._text[fd])
            self._text[fd] = b""

    def _emit(self, fd: int, text: bytes) -> None:
        if text:
            self.log.append(("out" if fd == self.out else "err", text.decode()))

    def _settle(self, mark: int) -> None:
        """Deliver what stands before marker `mark` on both pipes."""
        for fd in (self.out, self.err):
            deadline = time.monotonic() + DEADLINE
            while self._seen[fd] < mark:
                found = self._marker.search(self._text[fd])
                if found:
                    self._emit(fd, self._text[fd][: found.start()])
                    self._text[fd] = self._text[fd][found.end() :]
                    self._seen[fd] = int(found[1])
                    continue
                assert time.monotonic() < deadline, f"marker {mark} never came"
                if select.select([fd], [], [], 0.2)[0]:
                    self._text[fd] += os.read(fd, 1 << 16)

    def _hear(self, header: dict[str, Any], body: memoryview) -> None:
        if header["op"] == "done":
            at = 0
            for told in header["results"]:
                if isinstance(told[1], int):
                    told[1:] = ["ok", told[1], {"t0": told[2], "t1": told[3]}]
                no, outcome, size, info = told
                self._settle(info.get("m", 0))
                value: Any = None
                payload: Any = body[at : at + size]
                at += size
                if "path" in info:
                    payload = bytearray(Path(info["path"]).read_bytes())
                if len(payload) > 0:
                    head, value = envelope.loads(payload)
                    if outcome != "ok":
                        value = {**head, "value": value}
                    elif head["k"] == "names":
                        value = {**head, "values": value}
                self.results[no] = (outcome, value, info)
                self.log.append(("done", no))
        elif header["op"] == "items":
            payload = bytearray(Path(header["path"]).read_bytes()) if "path" in header else body
            head, values = envelope.loads(payload)
            assert len(values) == header["count"]
            self.items.setdefault(header["no"], []).append((header["first"], head.get("errors", {}), values))
            self.log.append(("items", header))
        elif header["op"] == "display":
            self._settle(header.get("mark", 0))
            if header.get("body") == "json":
                import json

                header["content"] = json.loads(bytes(body))
            self.log.append(("display", header))
        else:
            self.log.append((header["op"], header))

    def item_values(self, no: int) -> list[Any]:
        return [value for _, _, values in self.items.get(no, []) for value in values]

    def text(self, stream: str = "out") -> str:
        return "".join(text for kind, text in self.log if kind == stream)

    def displays(self) -> list[dict[str, Any]]:
        return [entry for kind, entry in self.log if kind == "display"]

    # The counter.

    def counts(self) -> tuple[int, int, int]:
        started, finished, item = struct.unpack_from("<QQQ", self.counter)
        return started, finished, item

    def set_mail(self) -> None:
        struct.pack_into("<Q", self.counter, 24, 1)

    def aim(self, ordinal: int) -> None:
        struct.pack_into("<Q", self.counter, 32, ordinal)

    def interrupt(self) -> None:
        os.kill(self.pid, signal.SIGINT)

    def exited(self) -> dict[str, Any]:
        return self.zygote.channel.expect("exited", worker=self.name)

    def close(self) -> None:
        self.channel.sock.close()
        os.close(self.out)
        os.close(self.err)
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


class Zygote:
    """A real zygote, started from source or from the zip."""

    def __init__(
        self, *, path: str = SOURCE, python: str = sys.executable, extra_path: str | None = None, **hello: Any
    ) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="fx")
        self.scratch = self.folder.name
        ours, theirs = socket.socketpair()
        flags = ["-I"] if path != SOURCE else []
        before = f"import sys; sys.path.insert(0, {extra_path!r}); " if extra_path else ""
        command = [python, *flags, "-c", before + bundle.boot(path, theirs.fileno())]
        self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        self.channel = Channel(ours)
        self.workers: list[Worker] = []
        header = {"op": "hello", "preload": [], "cores": 1, "scratch": self.scratch, "env": {}}
        frames.send(ours, {**header, **hello})
        self.ready = self.channel.expect("ready")

    def fork(self, **spec: Any) -> Worker:
        worker = Worker(self, f"w{len(self.workers)}", **spec)
        self.workers.append(worker)
        return worker

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        self.channel.sock.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("the zygote did not end after its last worker") from None
        finally:
            self.folder.cleanup()


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    """One zygote for a module: workers are cheap, zygotes are not."""
    started = Zygote(preload=["numpy"])
    yield started
    started.close()


@pytest.fixture
def worker(zygote: Zygote) -> Worker:
    """A fresh worker, of its own session."""
    return zygote.fork()


@pytest.fixture
def start() -> Iterator[Callable[..., Zygote]]:
    """Start zygotes that are ended with the test."""
    started: list[Zygote] = []

    def begin(**options: Any) -> Zygote:
        started.append(Zygote(**options))
        return started[-1]

    yield begin
    for each in started:
        each.close()
