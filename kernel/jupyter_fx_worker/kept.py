"""What is built once and kept below one folder, for all who use it: turns at building, marks of use, collection.

`NAME/` is whole: it gets this name at one stroke. Who builds it holds `NAME.lock`; who runs it holds `NAME.used`,
whose time says when it was used last.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from typing import IO

from jupyter_fx_worker.commands import say

__all__ = ["NAME", "BuildError", "clear", "collect", "hold", "remove", "size_of", "touch", "turn"]

NAME = re.compile(r"[0-9a-f]{40}\Z")
_FRESH = 3600.0
"""Seconds for which nothing is removed after its last use, whatever it takes: not every file system shows locks."""
_LOOK = 0.25


class BuildError(RuntimeError):
    """It cannot be built; one sentence says why."""


def touch(path: str) -> None:
    """It is used now."""
    with contextlib.suppress(OSError):
        with open(path, "a"):
            pass
        os.utime(path)


def hold(root: str, name: str) -> IO[str] | None:
    """It is in use until this is closed: nobody removes it. None where no file can be written."""
    import fcntl

    used = None
    with contextlib.suppress(OSError):
        used = open(os.path.join(root, name + ".used"), "a")  # noqa: SIM115 - it stays open
        fcntl.flock(used, fcntl.LOCK_SH | fcntl.LOCK_NB)
        os.utime(used.name)
    return used


@contextlib.contextmanager
def turn(path: str) -> Iterator[bool]:
    """One at a time: True. Where locks cannot be had, two may build the same: False, and who is first wins."""
    import fcntl

    said = False
    while True:
        with open(path, "a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not said:
                    said = True
                    say("another task builds it already; waiting for it\n")
            except OSError:
                yield False
                return
            else:
                # Who removed the file meanwhile let the next one make another, and lock that.
                if _is(file.fileno(), path):
                    yield True
                    return
                continue
        time.sleep(_LOOK)


def _is(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False


def size_of(folder: str) -> int:
    """Bytes of the files below a folder."""
    total = 0
    for where, _folders, files in os.walk(folder):
        for file in files:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(where, file)).st_size
    return total


def collect(root: str, days: float, mib: int) -> list[str]:
    """Remove what was not used for so long, then the least recently used until the rest fits (0: no limit). Names."""
    now = time.time()
    there: list[tuple[float, str, int]] = []
    for name in os.listdir(root):
        path = os.path.join(root, name)
        if ".gone-" in name or (".part-" in name and now - _touched(path, now) > 86400):
            clear(path)
        elif NAME.match(name):
            used = _touched(path + ".used", _touched(path, now))
            size = 0
            with contextlib.suppress(OSError, ValueError, KeyError), open(os.path.join(path, "built.json")) as file:
                size = int(json.load(file)["bytes"])
            there.append((used, name, size))
    total = sum(size for _used, _name, size in there)
    gone: list[str] = []
    for used, name, size in sorted(there):
        old = days > 0 and now - used > days * 86400
        if now - used > _FRESH and (old or (mib and total > mib << 20)) and _unused(os.path.join(root, name)):
            total -= size
            gone.append(name)
    return gone


def _touched(path: str, otherwise: float) -> float:
    try:
        return os.lstat(path).st_mtime
    except OSError:  # others build and remove, too
        return otherwise


def _unused(path: str) -> bool:
    """Remove an environment that nobody runs or builds."""
    import fcntl

    try:
        with open(path + ".lock", "a") as lock, open(path + ".used", "a") as used:
            for file in (lock, used):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(path)
            for end in (".used", ".lock"):
                with contextlib.suppress(OSError):
                    os.unlink(path + end)
    except OSError:
        return False
    return True


def remove(path: str) -> None:
    """It is gone at one stroke, whatever becomes of us."""
    away = f"{path}.gone-{os.getpid()}"
    os.rename(path, away)
    clear(away)


def clear(path: str) -> None:
    """Delete a folder, also with directories in it that say that nobody may write in them, as images have."""
    shutil.rmtree(path, ignore_errors=True)
    if not os.path.lexists(path):
        return
    for where, folders, _files in os.walk(path):
        for folder in folders:
            one = os.path.join(where, folder)
            with contextlib.suppress(OSError):
                if not os.path.islink(one):
                    os.chmod(one, stat.S_IRWXU)
    shutil.rmtree(path, ignore_errors=True)
