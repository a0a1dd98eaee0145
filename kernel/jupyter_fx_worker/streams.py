"""Standard output and error at the file descriptor: C code and subprocesses write to the same pipes as Python does.

The manager owns the read ends. Each Python write is written through at once, so that the last words before a crash
arrive. Markers are written through private duplicates, because user code may close or redirect descriptors 1 and 2.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import fcntl
import io
import os
import sys
import termios
from typing import Any, NoReturn

__all__ = ["NO_INPUT", "Streams"]

NO_INPUT = (
    "input was asked for, but nobody sits at the keyboard of a remote worker: "
    "ask in a local cell and use the variable in the remote one"
)


class NoInput(io.TextIOBase):
    """A standard input that answers every read with a sentence instead of hanging."""

    encoding = "utf-8"

    def _refuse(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise RuntimeError(NO_INPUT)

    read = readline = readlines = __next__ = _refuse

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 0

    def isatty(self) -> bool:
        return False


class _Pipe(io.RawIOBase):
    """Write all of it, at once, and note that something was written."""

    def __init__(self, fd: int, streams: Streams) -> None:
        self._fd = fd
        self._streams = streams
        self.name = "<stdout>" if fd == 1 else "<stderr>"
        self.mode = "wb"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def write(self, data: Any) -> int:
        self._streams.dirty = True
        size = os.write(self._fd, data)
        view = memoryview(data)
        total = view.nbytes
        if size < total:
            view = view.cast("B")
            while size < total:
                size += os.write(self._fd, view[size:])
        return total


class Streams:
    """The two output pipes of this worker, and the markers in them."""

    def __init__(self, stdout: int, stderr: int, nonce: str) -> None:
        """Take over two write ends of pipes: they become descriptors 1 and 2."""
        self.dirty = False
        self.mark = 0
        self._nonce = nonce
        self._files: list[ctypes.c_void_p] = []
        self._pending = array.array("i", [0])
        try:
            # PyDLL keeps the GIL: fflush of a quiet stream takes less than letting go of it would. Only the standard
            # streams: fflush(NULL) would wait for any file that another thread is reading.
            libc = ctypes.PyDLL(None)
            prefix = "__{}p" if sys.platform == "darwin" else "{}"
            self._files = [ctypes.c_void_p.in_dll(libc, prefix.format(name)) for name in ("stdout", "stderr")]
            self._fflush = libc.fflush
        except (OSError, AttributeError, ValueError):
            self._files = []
        # fcntl's DUPFD keeps the private ends far from the low numbers that scripts like `exec 3>` use.
        self._private = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 200) for fd in (stdout, stderr)]
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        for fd in {stdout, stderr, null} - {0, 1, 2}:
            os.close(fd)
        self._install()

    def _install(self) -> None:
        wrap = io.TextIOWrapper
        self.out = wrap(_Pipe(1, self), "utf-8", "backslashreplace", write_through=True)
        self.err = wrap(_Pipe(2, self), "utf-8", "backslashreplace", write_through=True)
        sys.stdout = sys.__stdout__ = self.out  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = self.err  # type: ignore[misc]
        sys.stdin = sys.__stdin__ = NoInput()  # type: ignore[misc,assignment]

    @property
    def private_stderr(self) -> int:
        """A descriptor of the error pipe that user code does not know."""
        return self._private[1]

    def _unread(self, fd: int) -> bool:
        pending = self._pending
        fcntl.ioctl(fd, termios.FIONREAD, pending)
        return pending[0] > 0

    def _changed(self) -> bool:
        return self.dirty

    def settle(self) -> int:
        """Flush Python's and C's streams.

        If anything was written since the last marker, write one and return its number, else 0.
        """
        for file in self._files:
            self._fflush(file)
        if not self.dirty:
            for stream in (sys.stdout, sys.stderr):
                if stream is not self.out and stream is not self.err:
                    self._flush(stream)
            out, err = self._private
            if not (self._changed() or self._unread(out) or self._unread(err)):
                return 0
        else:
            self._flush(sys.stdout)
            self._flush(sys.stderr)
        self.dirty = False
        self.mark += 1
        marker = b"\0fx:%s:%d\0" % (self._nonce.encode(), self.mark)
        for fd in self._private:
            os.write(fd, marker)
        return self.mark

    @staticmethod
    def _flush(stream: Any) -> None:
        # User code may have put anything there; its flush is not ours to report.
        with contextlib.suppress(Exception):
            stream.flush()
