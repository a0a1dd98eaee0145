"""The zygote: an interpreter that has imported what its environment's tasks need, and forks workers in milliseconds."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from jupyter_fx_worker import cells, forksafe, frames, learning, worker

__all__ = ["main", "main_at", "plain_main"]

# Versions worth telling without reading every package's metadata.
_TELL = ("numpy", "pandas", "scipy", "sklearn", "torch", "matplotlib", "IPython", "cloudpickle")


class Zygote:
    """One control socket, many children. Single-threaded, and without an event loop: a fork must be safe."""

    def __init__(self, fd: int) -> None:
        self._sock = socket.socket(fileno=fd)
        os.set_inheritable(fd, False)
        self._reader = frames.Reader()
        self._fds: list[int] = []
        self._children: dict[int, str] = {}
        self._trials: dict[int, list[str]] = {}
        """What is being tried in a process apart, by its pid."""
        self._plain: list[Any] = []
        self._engine: cells.Engine | None = None
        self._setters: list[Any] = []
        self._hello: dict[str, Any] = {}
        self._open = True
        self._orphaned_at: float | None = None
        self._wake_r, self._wake_w = os.pipe()
        os.set_blocking(self._wake_r, False)
        os.set_blocking(self._wake_w, False)
        signal.set_wakeup_fd(self._wake_w, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _signum, _frame: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def run(self) -> None:
        """Serve until the manager says `exit` or goes away, and the last child has ended."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        poll.register(self._wake_r, select.POLLIN)
        while self._open or self._children:
            poll.poll(1000 if self._orphaned_at is not None else None)
            self._reap()
            if self._open:
                self._receive()
                if not self._open:
                    poll.unregister(self._sock)
            self._end_orphans()

    def _receive(self) -> None:
        try:
            self._sock.setblocking(False)
            data, fds = frames.recv_fds(self._sock)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        finally:
            self._sock.setblocking(True)
        self._fds += fds
        if not data:
            self._open = False
            self._orphaned_at = time.monotonic()
            return
        for header, _body in self._reader.feed(data):
            self._handle(header)

    def _handle(self, header: dict[str, Any]) -> None:
        op = header["op"]
        if op == "hello":
            self._hello = header
            self._tell(self._prepare(header))
        elif op == "fork":
            fds, self._fds = self._fds[:4], self._fds[4:]
            self._fork(header, fds)
        elif op == "preload":
            self._try(header["modules"])
        elif op == "exit":
            self._open = False

    def _tell(self, header: dict[str, Any]) -> None:
        try:
            frames.send(self._sock, header)
        except OSError:
            self._open = False

    def _prepare(self, hello: dict[str, Any]) -> dict[str, Any]:
        if hello.get("die_with_parent", True):
            forksafe.die_with_parent()
        os.environ.update({str(k): str(v) for k, v in (hello.get("env") or {}).items()})
        forksafe.set_pools(1, [])
        notes = []
        try:
            self._engine = cells.prepare_engine(hello.get("scratch"))
        except Exception as error:
            notes.append(f"cells cannot be prepared: {type(error).__name__}: {error}"[:500])
        notes += self._import(hello.get("preload") or ())
        why = forksafe.why_not_forkable()
        self._setters = forksafe.pool_setters()
        if hello.get("umask", -1) >= 0:
            # What was made so far is ours; from here on files are the user's.
            os.umask(hello["umask"])
        gc.collect()
        gc.freeze()
        return {
            "op": "ready",
            "pid": os.getpid(),
            "python": list(sys.version_info[:3]),
            "ipython": getattr(sys.modules.get("IPython"), "__version__", None),
            "packages": _versions(),
            "warnings": notes,
            "forkable": why is None,
            "why": why,
        }

    def _import(self, modules: Sequence[str]) -> list[str]:
        """Import them as a cell would: pandas looks then whether it is in a notebook. Why some could not be."""
        with self._engine.importing() if self._engine is not None else contextlib.nullcontext():
            return learning.import_all(modules)

    def _try(self, modules: list[str]) -> None:
        """Import them too, if that leaves it safe to fork: a process apart finds out."""
        if forksafe.why_not_forkable() is None:
            own = [self._sock.fileno(), self._wake_r, self._wake_w, *self._fds]
            self._trials[learning.try_apart(modules, own)] = modules

    def _tried(self, modules: list[str], status: int) -> None:
        notes = self._import(modules) if status == 0 else ["a trial in a process apart failed"]
        self._setters = forksafe.pool_setters()
        gc.collect()
        gc.freeze()
        self._tell({"op": "preloaded", "modules": modules, "warnings": notes, "packages": _versions()})

    def _fork(self, spec: dict[str, Any], fds: list[int]) -> None:
        spec.setdefault("scratch", self._hello.get("scratch"))
        spec.setdefault("learn", self._hello.get("learn"))
        spec["parent"] = os.getpid()
        try:
            if len(fds) != 4:
                raise ValueError(f"a fork needs four descriptors, {len(fds)} came")
            why = forksafe.why_not_forkable()
            pid = self._start_plainly(spec, fds) if why else self._start_forked(spec, fds)
        except (OSError, ValueError) as error:
            why = f"the worker cannot be started: {error}"
            gone = {"op": "exited", "worker": spec["worker"], "pid": 0, "status": 256, "maxrss": 0, "cpu": 0.0}
            self._tell({**gone, "why": why})
            return
        finally:
            for fd in fds:
                os.close(fd)
        self._children[pid] = spec["worker"]
        self._tell({"op": "forked", "worker": spec["worker"], "pid": pid})

    def _start_forked(self, spec: dict[str, Any], fds: list[int]) -> int:
        pid = os.fork()
        if pid:
            return pid
        try:
            for fd in (self._sock.detach(), self._wake_r, self._wake_w, *self._fds):
                if fd == self._wake_w:
                    signal.set_wakeup_fd(-1)
                os.close(fd)
            worker.main(spec, fds, self._engine, self._setters)
        finally:
            os._exit(1)

    def _start_plainly(self, spec: dict[str, Any], fds: list[int]) -> int:
        """Start a worker as a program of its own: what this process has loaded does not survive a fork."""
        home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        read, write = os.pipe()
        try:
            boot = f"import sys; sys.path.insert(0, {home!r}); "
            boot += f"from jupyter_fx_worker import zygote; zygote.plain_main({read})"
            child = subprocess.Popen([sys.executable, "-c", boot], pass_fds=[read, *fds], stdin=subprocess.DEVNULL)
            with open(write, "wb") as pipe:
                write = -1
                pipe.write(json.dumps({"spec": spec, "fds": fds}).encode())
        finally:
            os.close(read)
            if write >= 0:
                os.close(write)
        # Reaped by wait4 like every other child; subprocess must not wait for it a second time.
        child.returncode = 0
        return child.pid

    def _reap(self) -> None:
        try:
            while os.read(self._wake_r, 4096):
                pass
        except BlockingIOError:
            pass
        while self._children or self._trials:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid in self._trials:
                self._tried(self._trials.pop(pid), status)
                continue
            name = self._children.pop(pid, None)
            if name is None:
                continue
            unit = 1024 if sys.platform == "darwin" else 1
            cpu = round(usage.ru_utime + usage.ru_stime, 6)
            maxrss = usage.ru_maxrss // unit
            self._tell({"op": "exited", "worker": name, "pid": pid, "status": status, "maxrss": maxrss, "cpu": cpu})

    def _end_orphans(self) -> None:
        grace = self._hello.get("orphan_grace")
        if self._orphaned_at is None or grace is None or time.monotonic() - self._orphaned_at < grace:
            return
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)


def _versions() -> dict[str, str]:
    found = {}
    for name in _TELL:
        module = sys.modules.get(name)
        version = getattr(module, "__version__", None)
        if isinstance(version, str):
            found[name] = version
    return found


def main(fd: int) -> None:
    """Be a zygote on the inherited socket `fd` until the manager is done with it."""
    Zygote(fd).run()


def main_at(address: str) -> None:
    """Be a zygote for the manager that listens on the Unix socket at `address`."""
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(address)
    main(sock.detach())


def plain_main(fd: int) -> None:
    """Be a worker that was started as a program: what to be is read from the pipe `fd`."""
    with open(fd, "rb") as pipe:
        told = json.loads(pipe.read())
    for inherited in told["fds"]:
        os.set_inheritable(inherited, False)
    worker.main(told["spec"], told["fds"], None, [])
