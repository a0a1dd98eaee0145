"""What a hub process leaves in the runtime directory: hub.lock while it lives, hub.json while it listens."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from jupyter_fx.errors import UsageError
from jupyter_fx.processes import began

__all__ = ["HubFiles"]


class HubFiles:
    """The two files of the embedded hub, or of one that others of this user find by itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = -1
        self._written = False

    @property
    def path(self) -> Path:
        """hub.json."""
        return self.folder / "hub.json"

    def take(self) -> None:
        """Take hub.lock, or raise UsageError naming who has it."""
        if sys.platform == "win32":
            return  # no flock: the database's own lock has to do
        import fcntl

        path = self.folder / "hub.lock"
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(file, 32).decode("ascii", "replace").strip()
            os.close(file)
            who = f"pid {holder}" if holder.isdigit() else "another process"
            raise UsageError(
                f"an fx hub of yours runs on this host already ({who}): use it, end that process (what it acknowledged "
                "is on its disk), or set JUPYTER_FX_RUNTIME_DIR and JUPYTER_FX_STATE_DIR to run a second one"
            ) from error
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())
        self._lock = file

    def write(self, **content: Any) -> None:
        """Write hub.json as a whole, for its owner only."""
        boot = Path("/proc/sys/kernel/random/boot_id")
        told = {
            "pid": os.getpid(),
            "start_time": began(os.getpid()),
            "boot_id": boot.read_text(encoding="ascii").strip() if boot.exists() else "",
            **content,
        }
        fresh = self.folder / f".hub.json.{os.getpid()}"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(told, file)
        fresh.replace(self.path)
        self._written = True

    def remove(self) -> None:
        """Remove hub.json if it is ours, and let go of the lock (its file stays: deleting it would let two in)."""
        if self._written:
            self._written = False
            try:
                if json.loads(self.path.read_text(encoding="utf-8")).get("pid") == os.getpid():
                    self.path.unlink()
            except (OSError, ValueError):
                pass
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
