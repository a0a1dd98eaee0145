"""The manager's side of a zygote: starts it, asks it for workers, hears of their ends.

On the host a zygote inherits its socket. One in a container connects to a socket in a directory of ours that is
mounted: not every runtime hands descriptors on, and the credentials of who connects tell its pid as seen from here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil

from jupyter_fx.endpoint import reap
from jupyter_fx.endpoint.wire import FrameSocket
from jupyter_fx_worker import bundle

__all__ = ["Launch", "ZygoteProc", "boot_program", "worker_zip"]

log = logging.getLogger(__name__)

READY_WITHIN: Final = 120.0
"""Seconds after which a silent zygote is given up."""
LOOK_EVERY: Final = 0.05
_CREDENTIALS: Final = struct.Struct("3i")
_WORDS: Final = 4000


class Launch(NamedTuple):
    """How a zygote is started. `listen`: where it is to connect to; None: it inherits the descriptor `command` is
    told.
    """

    command: Callable[[int], list[str]]
    env: Mapping[str, str]
    listen: Path | None = None
    ready_within: float = READY_WITHIN


def worker_zip(folder: Path) -> Path:
    """The worker zip in `folder`, written if what is there is something else."""
    bundled = folder / "worker.zip"
    data = bundle.build()
    if not bundled.exists() or bundled.read_bytes() != data:
        fresh = bundled.with_suffix(".new")
        fresh.write_bytes(data)
        fresh.chmod(0o444)
        fresh.replace(bundled)
    return bundled


def boot_program(python: str, fd: int, scratch: Path) -> str:
    """The program of a zygote: our own interpreter knows the package, any other gets the zip."""
    if python == sys.executable:
        return f"from jupyter_fx_worker import zygote; zygote.main({fd})"
    return bundle.boot(str(worker_zip(scratch)), fd)


class ZygoteProc:
    """One zygote. `on_ready(info)`, `on_forked(worker, pid)`, `on_exited(worker, frame)`, `on_dead(status, words)` are
    told; `status` is None for one that was silent for too long.
    """

    def __init__(
        self,
        launch: Launch,
        *,
        hello: Mapping[str, Any],
        log: Path,
        loop: asyncio.AbstractEventLoop,
        on_ready: Callable[[dict[str, Any]], None],
        on_forked: Callable[[str, int], None],
        on_exited: Callable[[str, dict[str, Any]], None],
        on_dead: Callable[[int | None, str], None],
    ) -> None:
        self._on_ready, self._on_forked, self._on_exited, self._on_dead = on_ready, on_forked, on_exited, on_dead
        self._hello = {"op": "hello", **hello}
        self._loop = loop
        self._log = log
        self._wire: FrameSocket | None = None
        self._listener: socket.socket | None = None
        self._listens_at = launch.listen
        self._silent = False
        self._ended = False
        self._own_pids = False
        self._deadline = 0.0
        self._timers: list[asyncio.TimerHandle] = []
        self._began = log.stat().st_size if log.exists() else 0
        self.ready = False
        self.info: dict[str, Any] = {}
        self.since = time.monotonic()
        ours = theirs = None
        if launch.listen is None:
            ours, theirs = socket.socketpair()
        else:
            self._listen(launch.listen)
        try:
            with log.open("ab") as out:
                self._process = subprocess.Popen(
                    launch.command(theirs.fileno() if theirs is not None else -1),
                    pass_fds=[theirs.fileno()] if theirs is not None else [],
                    env=dict(launch.env),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    start_new_session=True,
                    cwd="/",
                )
        except OSError:
            if ours is not None:
                ours.close()
            self._stop_listening()
            raise
        finally:
            if theirs is not None:
                theirs.close()
        self.pid = self._process.pid
        """Of the zygote, as seen from here; until one in a container has connected, of what starts it."""
        self._later(launch.ready_within, self._gave_up)
        if ours is not None:
            self._talk(ours)
        else:
            self._later(LOOK_EVERY, self._look)

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        self._timers = [timer for timer in self._timers if not timer.cancelled() and timer.when() > self._loop.time()]
        self._timers.append(self._loop.call_later(seconds, what))

    # Meeting.

    def _listen(self, path: Path) -> None:
        """Listen in a directory of ours. Its path may be longer than a socket's name can be: it is named through us."""
        folder = os.open(path.parent, os.O_DIRECTORY | os.O_CLOEXEC)
        listener = socket.socket(socket.AF_UNIX)
        try:
            path.unlink(missing_ok=True)
            listener.bind(f"/proc/self/fd/{folder}/{path.name}")
        finally:
            os.close(folder)
        listener.listen(1)
        listener.setblocking(False)
        self._listener = listener
        self._loop.add_reader(listener.fileno(), self._accept)

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()
            self._listener = None
            if self._listens_at is not None:
                self._listens_at.unlink(missing_ok=True)

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        pid, uid, _gid = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        if uid != os.getuid() or not pid:
            sock.close()
            return
        self._stop_listening()
        self.pid = pid
        self._talk(sock)

    def _talk(self, sock: socket.socket) -> None:
        self._wire = FrameSocket(sock, self._frame, self._closed, self._loop)
        self._wire.send(self._hello)

    def _look(self) -> None:
        """What was to start it may have ended before it came."""
        if self._wire is not None or self._ended:
            return
        if self._process.poll() is not None:
            self._dead()
        else:
            self._later(LOOK_EVERY, self._look)

    # Talking.

    def fork(self, spec: Mapping[str, Any], fds: list[int]) -> None:
        """Ask for a worker. OSError when it cannot be asked."""
        if self._wire is None:
            raise BrokenPipeError("the zygote is not there")
        self._wire.send_fds({"op": "fork", **spec}, fds)

    def preload(self, modules: list[str]) -> None:
        """Have it import these, too, if it can still fork then."""
        if self._wire is not None:
            self._wire.send({"op": "preload", "modules": modules})

    def _frame(self, header: dict[str, Any], _body: memoryview) -> None:
        op = header["op"]
        if op == "ready":
            self.ready, self.info = True, header
            self._own_pids = header["pid"] != self.pid
            self._on_ready(header)
        elif op == "forked":
            self._on_forked(header["worker"], self.outside(header["pid"]))
        elif op == "preloaded":
            log.info("imported in advance from now on: %s", ", ".join([*header["modules"], *header["warnings"]]))
        elif op in {"exited", "failed"}:
            self._on_exited(header["worker"], header)

    def outside(self, pid: int) -> int:
        """The pid, as seen from here, of a child of the zygote that has this pid inside; 0 when it is gone."""
        if not self._own_pids:
            return pid
        for child in self._children():
            with contextlib.suppress(OSError, ValueError, StopIteration):
                status = Path(f"/proc/{child}/status").read_text(encoding="ascii", errors="replace")
                line = next(line for line in status.splitlines() if line.startswith("NSpid:"))
                if int(line.split()[-1]) == pid:
                    return child
        return 0

    def _children(self) -> list[int]:
        """Of the zygote, the youngest first. psutil looks at all processes of the machine: that takes long."""
        try:
            told = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii")
            return [int(one) for one in reversed(told.split())]
        except OSError:
            # Not every kernel tells.
            with contextlib.suppress(psutil.Error):
                return [child.pid for child in psutil.Process(self.pid).children()]
            return []

    # Its end.

    def _gave_up(self) -> None:
        if not self.ready and not self._ended:
            self._silent = True
            self.kill()
            if self._wire is None:
                self._deadline = self._loop.time() + 5.0
                self._wait()

    def _closed(self) -> None:
        self._deadline = self._loop.time() + 5.0
        self._wait()

    def _wait(self) -> None:
        """Its channel is closed: what started it ends, too, or is ended."""
        if self._ended:
            return
        if self._process.poll() is None:
            if self._loop.time() > self._deadline:
                reap.kill_tree(self._process.pid)
                self._deadline = self._loop.time() + 5.0
            self._later(0.01, self._wait)
            return
        self._dead()

    def _dead(self) -> None:
        self._ended = True
        self._stop_listening()
        for timer in self._timers:
            timer.cancel()
        self._on_dead(None if self._silent else self._process.returncode, self.words())

    def words(self) -> str:
        """What it, or what starts it, has written to its log since it was started."""
        try:
            with self._log.open("rb") as file:
                file.seek(max(self._began, self._log.stat().st_size - _WORDS))
                return file.read().decode(errors="replace")
        except OSError:
            return ""

    def kill(self) -> None:
        """SIGKILL: workers die with it."""
        if self.pid != self._process.pid and not self._ended:
            with contextlib.suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)
        elif self._process.poll() is None:
            if self._listens_at is not None:
                reap.kill_tree(self._process.pid)
            self._process.kill()

    def close(self) -> None:
        """End it and reap it, without telling."""
        self._ended = True
        for timer in self._timers:
            timer.cancel()
        self._stop_listening()
        self.kill()
        if self._wire is not None:
            self._wire.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            reap.kill_tree(self._process.pid)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(2)
