"""The directory in which it is decided who has a parcel: see `jupyter_fx_worker.parcels`.

Each life of an engine's host has a fence of its own. When the host is dead its fence is moved away, at one stroke: from
then on no parcel of it can start, and the files in it say which have.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
import shutil
from pathlib import Path
from typing import Any, Final, NamedTuple

from jupyter_fx.paths import private_dir
from jupyter_fx_worker import frames

__all__ = ["Fence", "Frame", "Started", "forget", "left_behind", "name_of", "started"]

_OVER: Final = ".over"
_REVOKED: Final = "revoked"
_NAME: Final = re.compile(r"([0-9a-f]+)-(\d+)-(\d+)-\d+")
"""What `name_of` makes."""

Frame = tuple[dict[str, Any], memoryview]


class Started(NamedTuple):
    """A parcel that started under a host that is dead. `tasks`: their ids, in the order that `log` speaks of."""

    attempt: int
    tasks: list[str]
    log: list[Frame]


def name_of(task_id: str, attempt: int, count: int, number: int) -> str:
    """The name of a parcel: its first task, the attempt, how many tasks, and which parcel of its host it is. The engine
    may still have an earlier one of the same tasks, which was revoked.
    """
    return f"{task_id}-{attempt}-{count}-{number}"


def started(log: list[Frame], count: int) -> set[int]:
    """Which of a parcel's tasks have started, by their places. A single one has as soon as somebody took the parcel:
    what its worker wrote may not have come through.
    """
    return {0} if count == 1 else {header["no"] for header, _ in log if header["op"] == "start"}


def _read(path: Path) -> list[Frame]:
    """The whole frames of a file; what was begun and not finished is left out."""
    with contextlib.suppress(OSError, frames.FrameError, ValueError):
        return frames.Reader().feed(path.read_bytes())
    return []


class _Followed:
    """A file of frames that grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader = frames.Reader()
        self._read = 0
        self._frames: list[Frame] = []
        self._broken = False

    def so_far(self) -> list[Frame]:
        """Its whole frames by now; none of one that is no such file."""
        with contextlib.suppress(OSError):
            if not self._broken:
                with open(self._path, "rb") as file:
                    file.seek(self._read)
                    data = file.read()
                self._read += len(data)
                try:
                    self._frames += self._reader.feed(data)
                except (frames.FrameError, ValueError):
                    self._frames, self._broken = [], True
        return list(self._frames)


class Fence:
    """The fence of a host that lives."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = private_dir(private_dir(folder) / name)
        self._followed: dict[str, _Followed] = {}

    def claimed(self) -> set[str]:
        """The names of parcels that somebody has: workers, or we ourselves."""
        return {one.name for one in self.path.iterdir()}

    def revoke(self, name: str) -> bool:
        """See to it that a parcel never starts; False when it has."""
        try:
            # A link is there with what it says, or it is not there: a file may be made on a full disk and say nothing.
            (self.path / name).symlink_to(_REVOKED)
        except FileExistsError:
            return False
        return True

    def held(self, name: str) -> bool:
        """Whether the worker of a parcel is seen to hold its lock: it lives."""
        try:
            with open(self.path / name, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def log(self, name: str) -> list[Frame]:
        """What the worker of a parcel has written; what was read of it before is not read again."""
        return self._followed.setdefault(name, _Followed(self.path / name)).so_far()

    def forget(self, name: str) -> None:
        """The ends of a parcel's tasks are journaled."""
        self._followed.pop(name, None)
        (self.path / name).unlink(missing_ok=True)

    def close(self) -> None:
        """Nothing of it will start any more."""
        shutil.rmtree(self.path, ignore_errors=True)


def left_behind(folder: Path) -> list[Started]:
    """Close the fences of hosts that are dead; what had started behind them. It says the same again until `forget`."""
    if not folder.is_dir():
        return []
    for one in folder.iterdir():
        if one.is_dir() and not one.name.endswith(_OVER):
            one.rename(one.with_name(one.name + _OVER))
    found: list[Started] = []
    for path in sorted(folder.glob(f"*{_OVER}/*")):
        if (named := _NAME.fullmatch(path.name)) is None:
            continue  # of the file system: what is deleted while it is open keeps a name on NFS
        task_id, attempt, count = named.groups()
        if path.is_symlink():
            continue  # it was revoked
        log = _read(path)
        if log:
            found.append(Started(int(attempt), list(log[0][0]["tasks"]), log))
        elif int(count) == 1:
            found.append(Started(int(attempt), [task_id], log))
        # Else: the names were on disk before the first of them started, and they are not, so nothing did.
    return found


def forget(folder: Path) -> None:
    """What was left behind is journaled."""
    for one in folder.glob(f"*{_OVER}"):
        shutil.rmtree(one, ignore_errors=True)
