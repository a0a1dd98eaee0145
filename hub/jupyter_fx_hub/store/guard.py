"""Who may open a database: one hub at a time, and not across a network.

SQLite's locks and its write-ahead log are not safe on network file systems, and `fsync` there means whatever the
server likes. The lock file carries the pid of its holder for the error's sentence; the lock itself is flock (and
SQLite's own EXCLUSIVE lock).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from jupyter_fx.errors import UsageError

__all__ = ["NETWORK", "HubLock", "check_file_system", "file_system_of"]

NETWORK: Final = frozenset(
    {
        *(
            "nfs",
            "nfs4",
            "lustre",
            "gpfs",
            "beegfs",
            "cifs",
            "smb",
            "smb2",
            "smb3",
            "smbfs",
            "afs",
            "ceph",
            "glusterfs",
        ),
        *("pvfs2", "orangefs", "panfs", "ncpfs", "9p", "coda", "ocfs2", "gfs2", "davfs", "wekafs", "fuse.sshfs"),
        *("fuse.ceph", "fuse.glusterfs", "fuse.s3fs", "fuse.rclone", "fuse.davfs", "fuse.juicefs", "fuse.weka"),
    }
)
"""Types in /proc/mounts whose files another machine may hold."""


def file_system_of(path: Path, mounts: str | None = None) -> str:
    """The type of the file system that `path` is on (or will be), from /proc/mounts; "" where that is not told."""
    if mounts is None:
        try:
            mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
    real = os.path.realpath(path)
    best, found = -1, ""
    for line in mounts.splitlines():
        parts = line.split(" ")
        if len(parts) < 3:
            continue
        point = parts[1].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        # A later mount on the same point lies on top of the earlier one.
        if (real == point or real.startswith(point.rstrip("/") + "/")) and len(point) >= best:
            best, found = len(point), parts[2]
    return found


def check_file_system(path: Path, mounts: str | None = None) -> None:
    """Raise UsageError if `path` is on a network file system."""
    kind = file_system_of(path, mounts)
    if kind in NETWORK:
        raise UsageError(
            f"the database {path} would be on a network file system ({kind}), where it could be damaged: "
            "set JUPYTER_FX_STATE_DIR to a directory on a local disk, or allow_network_fs if you know it to be safe"
        )


class HubLock:
    """The lock file beside a database."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + ".lock")
        self._database = database
        self._file = -1

    def take(self) -> None:
        """Take the lock, or raise UsageError naming who has it."""
        try:
            import fcntl
        except ImportError:
            return  # Windows: SQLite's own lock has to do
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(file, 32).decode("ascii", "replace").strip()
            os.close(file)
            who = f"pid {holder}" if holder.isdigit() else "another process"
            raise UsageError(
                f"the database {self._database} is held by another fx hub ({who}): stop it, or name another database"
            ) from error
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())
        self._file = file

    def give_back(self) -> None:
        """Let the next one in. The file stays: deleting it would let two in."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
