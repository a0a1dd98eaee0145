"""What to say about a worker that died: from its wait status, its peak memory and its last words. Pure."""

from __future__ import annotations

from typing import Any, Final

from jupyter_fx.protocol.messages import ErrorInfo

__all__ = ["Dump", "lost_error", "signal_name"]

# The names are the same on every platform that has workers; the numbers are Linux's and macOS's common ones.
_SIGNALS: Final = {
    1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE",
    9: "SIGKILL", 11: "SIGSEGV", 13: "SIGPIPE", 14: "SIGALRM", 15: "SIGTERM", 24: "SIGXCPU", 25: "SIGXFSZ",
    31: "SIGSYS",
}  # fmt: skip
_HINTS: Final = {
    "SIGSEGV": "memory was accessed that is not the process's: a bug in compiled code, or endless recursion there",
    "SIGABRT": "compiled code gave up",
    "SIGBUS": "memory or a mapped file went away: a full /dev/shm or disk does this",
    "SIGILL": "compiled for another kind of processor",
    "SIGFPE": "a division by zero in compiled code",
    "SIGKILL": "killed from outside: usually the kernel, because memory ran out; take less at a time or ask for more",
    "SIGXCPU": "the limit of processor time was reached",
}
_LINES: Final = 12
_LIBRARIES: Final = ("/site-packages/", "/dist-packages/", "/lib/python")
_FATAL: Final = b"Fatal Python error: "
_MACHINERY: Final = (
    "/jupyter_fx_worker/",
    "/IPython/core/interactiveshell.py",
    "/asyncio/",
    '"<string>", line 1 in <module>',
)


def signal_name(status: int) -> str | None:
    """The signal in a wait status, or None when the process exited."""
    number = status & 0x7F
    return _SIGNALS.get(number, f"signal {number}") if number else None


def _ours(line: str) -> bool:
    """Whether it is a frame of the worker's own in a fatal error's dump, which says nothing to the task's author."""
    frame = line.lstrip()
    return frame.startswith('File "') and any(part in frame for part in _MACHINERY)


class Dump:
    """Takes what a worker writes on stderr, and leaves the machinery's frames out of the dump of a fatal error.

    The dump names the crashed frame first; below the user's own lines stand those of whoever ran them.
    """

    __slots__ = ("_dumping", "_held")

    def __init__(self) -> None:
        self._dumping = False
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Bytes in, bytes out; the beginning of a frame's line is held back until it is whole."""
        before = b""
        if not self._dumping:
            at = data.find(_FATAL)
            if at < 0:
                return data
            self._dumping = True
            before, data = data[:at], data[at:]
        lines = (self._held + data).splitlines(keepends=True)
        self._held = lines.pop() if lines and lines[-1][:1] == b" " and not lines[-1].endswith(b"\n") else b""
        return before + b"".join(line for line in lines if not _ours(line.decode("utf-8", "replace")))

    def rest(self) -> bytes:
        """The stream has ended: what was held back."""
        held, self._held = self._held, b""
        return held


def _crashed_at(lines: list[str]) -> str:
    """The innermost frame of the user's in the dump of a fatal error, in words; empty when there is no dump."""
    if not any(_FATAL.decode() in line for line in lines):
        return ""
    frames = [line.strip() for line in lines if line.lstrip().startswith('File "')]
    own = [frame for frame in frames if not any(part in frame for part in _LIBRARIES)] or frames
    return f"it crashed at {own[0][:200]}" if own else ""


def lost_error(
    *,
    doing: str,
    status: int | None,
    rss: int,
    last_words: bytes,
    why: str = "",
    extra: dict[str, Any] | None = None,
    over: bool = False,
) -> ErrorInfo:
    """The WorkerLost of a job, or the TaskLost of one that was `over` already.

    `doing` ends "the worker process died while …"; `rss` bytes; `why`: a reason that the manager itself had.
    """
    lines = [line for line in last_words.decode("utf-8", "replace").splitlines() if not _ours(line)][-_LINES:]
    name = signal_name(status) if status is not None else None
    code = (status >> 8) & 0xFF if status is not None and name is None else None
    if why:
        how = why
    elif name is not None:
        how = f"it was ended by {name}" + (f" ({_HINTS[name]})" if name in _HINTS else "")
    elif code is not None:
        how = f"it exited with code {code} (os._exit, or compiled code that ends its process: raise an error instead)"
    else:
        how = "its end was not seen"
    message = f"the worker process died while {doing}: {how}"
    if rss:
        message += f"; peak memory {rss / 2**20:.0f} MiB"
    said = _crashed_at(lines) or (f"last line: {lines[-1].strip()[:200]}" if lines and lines[-1].strip() else "")
    if said:
        message += f"; {said}"
    details = {"signal": name, "exit_code": code, "rss": rss, "last_lines": lines, **(extra or {})}
    if over:
        # It did not kill its worker, which counts with retries.
        told = f"this task had ended, but its worker died before the result was told: {how}"
        return ErrorInfo("TaskLost", told, details)
    return ErrorInfo("WorkerLost", message, details)
