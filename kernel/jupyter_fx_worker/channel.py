"""The worker's side of its control channel, its counters, and what SIGINT means when.

A frame that was begun is always finished: an interrupt that comes while one is being sent is raised right after it.
"""

from __future__ import annotations

import mmap
import os
import select
import signal
import socket
import threading
from collections.abc import Sequence
from typing import Any

from jupyter_fx_worker import frames

__all__ = ["AIM", "FINISHED", "ITEM", "MAIL", "STARTED", "TAKEN", "Channel", "Counter", "Interrupts"]

STARTED, FINISHED, ITEM, MAIL, AIM, TAKEN = range(6)
_CHUNK = 1 << 18


class Counter:
    """The 64-byte mapping that this worker shares with the manager.

    `cells` is its view as eight unsigned 64-bit numbers.
    """

    def __init__(self, fd: int) -> None:
        if os.fstat(fd).st_size < 64:
            os.ftruncate(fd, 64)
        self._map = mmap.mmap(fd, 64)
        os.close(fd)
        self.cells: Any = memoryview(self._map).cast("Q")


class Interrupts:
    """SIGINT raises KeyboardInterrupt in user code and is ignored elsewhere.

    The handler stays installed all the time (an ignored SIGINT would be inherited by the user's subprocesses); `live`
    says whether user code runs. When the manager aims (counter AIM), only the task of that number is interrupted.
    """

    def __init__(self, cells: Any) -> None:
        self.live = False
        self.busy = 0
        self.pending = False
        self._cells = cells
        self._pid = os.getpid()

    def install(self) -> None:
        """Make this the handler of SIGINT, again if user code had put another one there."""
        signal.signal(signal.SIGINT, self.handle)

    def handle(self, _signum: int, _frame: Any) -> None:
        """Raise KeyboardInterrupt if it is for what runs now."""
        if os.getpid() == self._pid:
            if not self.live:
                return
            aim = self._cells[AIM]
            if aim and aim != self._cells[TAKEN]:
                return
            if self.busy:
                self.pending = True
                return
        raise KeyboardInterrupt


class Channel:
    """Whole frames over a blocking socket, from any thread."""

    def __init__(self, fd: int, interrupts: Interrupts) -> None:
        self._sock = socket.socket(fileno=fd)
        self._sock.setblocking(True)
        self._reader = frames.Reader()
        self._lock = threading.Lock()
        self._interrupts = interrupts
        self._pid = os.getpid()
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self.closed = False

    def fileno(self) -> int:
        """The socket's descriptor, for somebody's event loop."""
        return self._sock.fileno()

    def send(self, header: frames.Header, parts: Sequence[frames.Buffer] = ()) -> None:
        """Send one frame.

        A process that user code forked sends nothing. Raises FrameError above the limits; a gone manager ends us.
        """
        if os.getpid() != self._pid:
            return
        pieces = frames.pack(header, parts)
        interrupts = self._interrupts
        main = threading.current_thread() is threading.main_thread()
        if main:
            interrupts.busy += 1
        try:
            with self._lock:
                frames.send_pieces(self._sock, pieces)
        except OSError:
            os._exit(0)
        finally:
            if main:
                interrupts.busy -= 1
        if main and interrupts.pending and not interrupts.busy:
            interrupts.pending = False
            if interrupts.live:
                raise KeyboardInterrupt

    def receive(self, wait: bool) -> list[tuple[frames.Header, memoryview]]:
        """Return the frames that are here; with `wait`, wait for at least one. Sets `closed` at the end of file."""
        found: list[tuple[frames.Header, memoryview]] = []
        while not self.closed:
            must = (wait and not found) or self._reader.partial
            if not must and not self._poll.poll(0):
                break
            try:
                data = self._sock.recv(_CHUNK)
            except OSError:
                data = b""
            if not data:
                self.closed = True
                break
            found += self._reader.feed(data)
            if len(data) < _CHUNK and found and not self._reader.partial and wait:
                break
        return found
