"""Ends process trees: what a worker started must not outlive it, whichever way it tried to hide.

A worker leads a session of its own. A child that double-forked is found by its session; one that left the session by
its parent, as long as that lives. Process ids are used together with their start times, since ids are used again.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import psutil

from jupyter_fx.processes import began

__all__ = ["PidFile", "descendants", "kill_session", "kill_tree", "session_members"]

_PROC = Path("/proc")


def session_members(leader: int) -> list[int]:
    """Processes whose session is led by `leader`, itself left out."""
    found = []
    for pid in psutil.pids():
        if pid != leader:
            with contextlib.suppress(OSError):
                if os.getsid(pid) == leader:
                    found.append(pid)
    return found


def descendants(pid: int) -> list[int]:
    """Children of a process, theirs, and so on."""
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []


def _kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def kill_tree(pid: int) -> None:
    """SIGKILL a worker, its group, its session and all their descendants; those that multiply are stopped first."""
    found = {*descendants(pid), *session_members(pid)}
    if len(found) > 32:
        for _ in range(20):
            for one in found:
                with contextlib.suppress(OSError):
                    os.kill(one, signal.SIGSTOP)
            again = {*descendants(pid), *session_members(pid)}
            if again <= found:
                break
            found |= again
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)
    _kill([pid, *found])


def kill_session(leader: int) -> int:
    """The leader is gone: SIGKILL what is left of its session. How many."""
    count = 0
    for _ in range(10):
        left = session_members(leader)
        if not left:
            break
        count += len(left)
        _kill(left)
    return count


class PidFile:
    """The processes of a manager, on disk, so that its successor ends those that outlived it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pids: dict[int, float] = {}

    def add(self, pid: int) -> None:
        """A process began."""
        with contextlib.suppress(psutil.Error):
            self._pids[pid] = began(pid)
            self._write()

    def remove(self, pid: int) -> None:
        """It has ended."""
        if self._pids.pop(pid, None) is not None:
            self._write()

    def clear(self) -> None:
        """All have."""
        self._pids.clear()
        self._write()

    def _write(self) -> None:
        # A full disk costs the clean-up after a crash, not the work.
        with contextlib.suppress(OSError):
            fresh = self._path.with_suffix(".new")
            fresh.write_text("".join(f"{pid} {since!r}\n" for pid, since in self._pids.items()))
            fresh.replace(self._path)

    def kill_left(self) -> int:
        """End those that an earlier manager wrote down and that still live."""
        try:
            lines = self._path.read_text().split("\n")
        except OSError:
            return 0
        count = 0
        for line in lines:
            with contextlib.suppress(ValueError, psutil.Error):
                pid, since = line.split()
                if began(int(pid)) == float(since):
                    kill_tree(int(pid))
                    count += 1
        return count
