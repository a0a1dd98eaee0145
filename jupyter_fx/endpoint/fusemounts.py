"""SquashFS files that are mounted by an ordinary user: what is mounted, mounting and unmounting. Linux only.

What mounts is a process, and the mount is as good as that: it ends with a manager that is killed, and unmounts as it
goes. Killed itself, it leaves a mount that answers nobody: whoever comes next takes it away.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final

from jupyter_fx_worker.specpack import fuse_tools

__all__ = ["Mounted", "mounted", "unmount_below", "unmount_dead"]

_WITHIN: Final = 10.0
"""Seconds that unmounting may take."""
_WORDS: Final = 300
_DEAD: Final = (errno.ENOTCONN, errno.ECONNABORTED)
_OURS: Final = re.compile(r"/jupyter-fx-")
# With the thread that starts it, so with its manager; and not at all if that is gone already.
_BOUND: Final = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15, 0, 0, 0); "
    "os.getppid() == int(sys.argv[1]) or sys.exit(1); os.execv(sys.argv[2], sys.argv[2:])"
)


def mounted() -> list[Path]:
    """Where this user has SquashFS files mounted. Asks no mount: one of a dead process answers nobody."""
    found = []
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_bytes().decode(errors="surrogateescape").splitlines():
            mine, _, theirs = line.partition(" - ")
            kind, _source, options = [*theirs.split(" ", 2), "", ""][:3]
            if kind.startswith("fuse.squashfuse") and f"user_id={os.getuid()}" in options.split(","):
                place = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), mine.split(" ")[4])
                found.append(Path(place))
    return found


def unmount_below(folder: Path) -> int:
    """Take away every mount below this directory, whoever uses it; how many."""
    top = Path(os.path.realpath(folder.parent), folder.name)
    return sum(_unmount(place) for place in mounted() if top in place.parents)


def unmount_dead() -> int:
    """Take away mounts of ours whose process is gone, and so the manager that it belonged to; how many."""
    count = 0
    for place in mounted():
        if _OURS.search(str(place)):
            try:
                # Not stat, which the kernel may answer by itself.
                os.statvfs(place)
            except OSError as error:
                count += error.errno in _DEAD and _unmount(place)
    return count


def _unmount(place: Path) -> bool:
    unmounts = fuse_tools()[1]
    words = ["-l"] if Path(unmounts).name == "umount" else ["-u", "-z", "-q"]
    if not unmounts:
        return False
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            [unmounts, *words, str(place)], stdin=subprocess.DEVNULL, capture_output=True, timeout=_WITHIN, check=False
        )
        return done.returncode == 0
    return False


class Mounted:
    """One file, mounted at a directory that is there and empty. To be made by the thread that lives as long as it."""

    def __init__(self, file: Path, place: Path, env: Mapping[str, str]) -> None:
        """Begin; OSError when there is nothing to begin with."""
        mounts, _unmounts, why = fuse_tools(env.get("PATH"))
        if why:
            raise OSError(errno.ENOTSUP, why)
        self._place = Path(os.path.realpath(place))
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process is
        command = [sys.executable, "-S", "-E", "-c", _BOUND, str(os.getpid()), mounts, "-f"]
        self.process = subprocess.Popen(
            [*command, "-o", "ro,nosuid,nodev", str(file), str(place)],
            # It unmounts by what is on its own PATH.
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=self._words,
            stderr=self._words,
            start_new_session=True,
            cwd="/",
        )

    def is_up(self) -> bool:
        """Whether it is mounted. OSError when it never will be."""
        if self._place in mounted():
            return True
        if self.process.poll() is not None:
            self._words.seek(0)
            said = self._words.read().decode(errors="replace").strip().splitlines() or [
                f"it ended with status {self.process.returncode}"
            ]
            raise OSError(errno.EIO, f"squashfuse: {said[-1][:_WORDS]}")
        return False

    def answer(self) -> None:
        """Wait until it answers. OSError when it never will. Only from then on it unmounts when it is told to end."""
        os.statvfs(self._place)

    def close(self) -> None:
        """Unmount it, whoever uses it."""
        self._words.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(2)
        if self._place in mounted():
            _unmount(self._place)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
