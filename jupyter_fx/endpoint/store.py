"""Files that an endpoint keeps: functions by digest, inputs that were fetched, result refs. All in its own 0700
directory.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Collection
from pathlib import Path
from typing import Final

from jupyter_fx.errors import UsageError
from jupyter_fx.paths import private_dir

__all__ = ["Store", "free_space"]

_DIGEST: Final = re.compile(r"[0-9a-zA-Z_-]{1,128}")
FUNCTIONS_MOST: Final = 2000
INPUTS_KEPT: Final = 7 * 86400.0
"""Seconds since its last use for which a fetched input is kept at most."""
REFS_KEPT: Final = 14 * 86400.0


def free_space(folder: Path) -> tuple[int, int]:
    """Free and total bytes of the file system that holds `folder`."""
    usage = shutil.disk_usage(folder)
    return usage.free, usage.total


class Store:
    """`functions`, `inputs` and `refs` below one directory."""

    def __init__(self, home: Path) -> None:
        self._functions = private_dir(home / "functions")
        self._inputs = private_dir(home / "inputs")
        self._refs = private_dir(home / "refs")

    # Functions.

    def put_function(self, digest: str, payload: bytes) -> None:
        """Keep a function, so that a restarted agent can run what it holds. Raises OSError."""
        if _DIGEST.fullmatch(digest):
            _write_whole(self._functions / digest, payload)

    def functions(self) -> dict[str, bytes]:
        """All functions, the newest 2000."""
        paths = sorted(self._functions.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in paths[FUNCTIONS_MOST:]:
            path.unlink(missing_ok=True)
        return {path.name: path.read_bytes() for path in paths[:FUNCTIONS_MOST] if not path.name.startswith(".")}

    # Inputs.

    def input_path(self, digest: str) -> Path:
        """Where the bytes of a digest are or will be; UsageError for what is none: no name leads out."""
        if not _DIGEST.fullmatch(digest):
            raise UsageError(f"{digest[:40]!r} is no digest")
        return self._inputs / digest

    def has_input(self, digest: str) -> bool:
        """Whether they are here; if so they are used again."""
        path = self.input_path(digest)
        if path.exists():
            with contextlib.suppress(OSError):
                os.utime(path)
            return True
        return False

    def fresh_input(self, digest: str) -> Path:
        """A name for a file that is being fetched."""
        return self._inputs / f".{digest}-{secrets.token_hex(4)}"

    def take_input(self, fresh: Path, digest: str) -> Path:
        """Keep fetched bytes under their name. Raises OSError."""
        path = self.input_path(digest)
        fresh.replace(path)
        return path

    def trim(self, limit: int, held: Collection[str]) -> list[str]:
        """Delete inputs beyond `limit` bytes, those first that were used longest ago, and those past their time; the
        names of what is gone. What is `held` stays, and counts as used now.
        """
        found = []
        for path in self._inputs.iterdir():
            with contextlib.suppress(OSError):
                if path.name in held:
                    os.utime(path)
                info = path.stat()
                found.append((info.st_mtime, info.st_size, path))
        total = sum(size for _, size, _ in found)
        old = time.time() - INPUTS_KEPT
        gone = []
        for used, size, path in sorted(found):
            if path.name in held or (path.name.startswith(".") and used > old):
                continue
            if total > limit or used < old:
                with contextlib.suppress(OSError):
                    path.unlink()
                    total -= size
                    gone.append(path.name)
        return gone

    def join(self, name: str, parts: list[bytes | str]) -> str:
        """A file of these parts (bytes, or paths), one after another; its path. Raises OSError."""
        path = self._inputs / f"joined-{name}"
        with open(path, "wb") as out:
            for part in parts:
                if isinstance(part, str):
                    with open(part, "rb") as source:
                        shutil.copyfileobj(source, out, 1 << 20)
                else:
                    out.write(part)
        return str(path)

    # Result refs.

    def keep_ref(self, ref_id: str, path: str) -> None:
        """Take over a spilled result as a ref; it is on disk when this returns. Raises OSError."""
        target = self._refs / ref_id
        if target.exists() and not Path(path).exists():
            return  # an agent that was killed before it could say so has done it
        with open(path, "rb") as file:
            os.fsync(file.fileno())
        Path(path).replace(target)

    def ref_path(self, ref_id: str) -> Path | None:
        """The file of a ref, or None."""
        path = self._refs / ref_id
        return path if _DIGEST.fullmatch(ref_id) and path.is_file() else None

    def drop_ref(self, ref_id: str) -> None:
        """Delete a ref."""
        if (path := self.ref_path(ref_id)) is not None:
            path.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Delete refs that are past their time."""
        now = time.time()
        for path in self._refs.iterdir():
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < now - REFS_KEPT:
                    path.unlink()


def _write_whole(path: Path, data: bytes | bytearray) -> None:
    if path.exists():
        return
    fresh = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        fresh.write_bytes(data)
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
