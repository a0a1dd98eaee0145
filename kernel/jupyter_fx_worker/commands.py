"""Programs that a task runs to build something, with what they say told as its output while they run."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections import deque
from typing import Any

__all__ = ["run", "say"]


def say(text: str) -> None:
    """Tell it now, as output of the task."""
    sys.stdout.write(text)
    sys.stdout.flush()


def run(
    command: list[str],
    env: dict[str, str],
    folder: str | None = None,
    *,
    quiet: bool = False,
    hides: tuple[str, ...] = (),
) -> tuple[int, str]:
    """Its status, and the last 200 lines that it said, told at once unless `quiet`, or one of `hides` is in them.

    Who is interrupted meanwhile ends it, and what it started.
    """
    # A cancelled task's whole group is interrupted. A builder that went by that before we look would leave behind what
    # it started, and nobody could tell whose that was.
    apart: dict[str, Any] = {"process_group": 0} if sys.version_info >= (3, 11) else {"preexec_fn": os.setpgrp}
    said: deque[str] = deque(maxlen=200)
    process = subprocess.Popen(
        command,
        env=env,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        **apart,
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            said.append(line)
            if not quiet and not any(part in line for part in hides):
                say(line)
        return process.wait(), "".join(said)
    except BaseException:
        _end(process.pid)
        process.wait()
        raise
    finally:
        process.stdout.close()


def _end(pid: int) -> None:
    """Kill a process and what it started; all are stopped first, so that none of them starts another meanwhile."""
    found: set[int] = set()
    for _ in range(20):
        more = {pid, *_below(pid)} - found
        if not more:
            break
        found |= more
        _signal(more, signal.SIGSTOP)
    _signal(found, signal.SIGKILL)


def _signal(pids: set[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def _below(pid: int) -> list[int]:
    """What a process started, and what that started; where there is no /proc nothing is known."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                for child in file.read().split():
                    found += [int(child), *_below(int(child))]
    return found
