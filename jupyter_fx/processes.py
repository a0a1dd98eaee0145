"""What is said of a process to the system, and what the system says of one.

When it began, by a clock that nobody sets: a pid and this number name a process for as long as it lives.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import psutil

__all__ = ["began", "keep_memory", "lock_holder"]


def began(pid: int) -> float:
    """When process `pid` began, to be compared with an earlier answer only. Raises psutil.NoSuchProcess.

    On Linux these are seconds since the machine's start. psutil's `create_time` adds the time of that start to them,
    which moves whenever the clock is set: after a correction of a second every process would seem to be another.
    """
    if sys.platform != "linux":
        return psutil.Process(pid).create_time()
    try:
        text = Path("/proc", str(pid), "stat").read_bytes()
    except OSError:
        raise psutil.NoSuchProcess(pid) from None
    # proc(5): field 22, in clock ticks; the second one, in parentheses, may hold anything.
    return int(text.rpartition(b")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT, _LARGE = 32 << 20, 4 << 20


def keep_memory() -> None:
    """Let glibc keep up to 32 MiB of freed memory, and give blocks below 4 MiB from it.

    For the processes that pass frames on: by default every buffer of 128 KiB or more is mapped and unmapped, and the
    kernel clears its pages each time. Elsewhere than on glibc nothing happens.
    """
    import ctypes

    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
        mallopt(_M_MMAP_THRESHOLD, _LARGE)


def lock_holder(path: Path) -> int:
    """The pid that whoever holds the lock of this file (flock) has written into it; 0 when nobody holds it."""
    if sys.platform == "win32":
        return 0
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.pread(descriptor, 32, 0).decode(errors="replace").strip() or 0)
    finally:
        os.close(descriptor)
    return 0
