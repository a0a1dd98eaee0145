"""Programs that a task runs to build something, with what they say told as its output while they run."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections import deque

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
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            said.append(line)
            if not quiet and not any(part in line for part in hides):
                say(line)
        return process.wait(), "".join(said)
    except BaseException:
        for pid in [process.pid, *_below(process.pid)]:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        raise
    finally:
        process.stdout.close()


def _below(pid: int) -> list[int]:
    """What a process started, and what that started; where there is no /proc nothing is known."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                for child in file.read().split():
                    found += [int(child), *_below(int(child))]
    return found
