"""The manager's side of a zygote: starts it, asks it for workers, hears of their ends."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from jupyter_fx.endpoint.wire import FrameSocket
from jupyter_fx_worker import bundle

__all__ = ["ZygoteProc", "boot_program"]

READY_WITHIN: Final = 120.0
"""Seconds after which a silent zygote is given up."""


def boot_program(python: str, fd: int, scratch: Path) -> str:
    """The program of a zygote: our own interpreter knows the package, any other gets the zip."""
    if python == sys.executable:
        return f"from jupyter_fx_worker import zygote; zygote.main({fd})"
    bundled = scratch / "worker.zip"
    data = bundle.build()
    if not bundled.exists() or bundled.read_bytes() != data:
        fresh = bundled.with_suffix(".new")
        fresh.write_bytes(data)
        fresh.replace(bundled)
    return bundle.boot(str(bundled), fd)


class ZygoteProc:
    """One zygote. `on_ready(info)`, `on_exited(worker, frame)`, `on_dead(reason)` are the pool's."""

    def __init__(
        self,
        python: str,
        *,
        env: Mapping[str, str],
        hello: Mapping[str, Any],
        log: Path,
        scratch: Path,
        loop: asyncio.AbstractEventLoop,
        on_ready: Callable[[dict[str, Any]], None],
        on_forked: Callable[[str, int], None],
        on_exited: Callable[[str, dict[str, Any]], None],
        on_dead: Callable[[str], None],
    ) -> None:
        self._on_ready, self._on_forked, self._on_exited, self._on_dead = on_ready, on_forked, on_exited, on_dead
        self.ready = False
        self.info: dict[str, Any] = {}
        self.since = time.monotonic()
        self._log = log
        ours, theirs = socket.socketpair()
        try:
            with log.open("ab") as out:
                boot = boot_program(python, theirs.fileno(), scratch)
                self._process = subprocess.Popen(
                    [python, "-c", boot],
                    pass_fds=[theirs.fileno()],
                    env=dict(env),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    start_new_session=True,
                    cwd="/",
                )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self.pid = self._process.pid
        self._wire = FrameSocket(ours, self._frame, self._closed, loop)
        self._wire.send({"op": "hello", **hello})
        self._silent = loop.call_later(READY_WITHIN, self._gave_up)

    def fork(self, spec: Mapping[str, Any], fds: list[int]) -> None:
        """Ask for a worker."""
        self._wire.send_fds({"op": "fork", **spec}, fds)

    def _frame(self, header: dict[str, Any], _body: memoryview) -> None:
        op = header["op"]
        if op == "ready":
            self._silent.cancel()
            self.ready, self.info = True, header
            self._on_ready(header)
        elif op == "forked":
            self._on_forked(header["worker"], header["pid"])
        elif op in {"exited", "failed"}:
            self._on_exited(header["worker"], header)

    def _gave_up(self) -> None:
        self.kill()

    def _closed(self) -> None:
        self._silent.cancel()
        try:
            status = self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            self.kill()
            status = self._process.wait(5)
        self._on_dead(f"the zygote ended with status {status}{self._last_words()}")

    def _last_words(self) -> str:
        try:
            tail = self._log.read_bytes()[-2000:].decode(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return f": {tail[-1][:300]}" if tail else ""

    def kill(self) -> None:
        """SIGKILL: workers die with it."""
        if self._process.poll() is None:
            self._process.kill()

    def close(self) -> None:
        """End it and reap it, without telling."""
        self._silent.cancel()
        self._wire.close()
        self.kill()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            os.waitpid(self.pid, os.WNOHANG)
