"""The results of a map chunk's items: `results` envelopes one after another, in memory while few, then in a file."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import BinaryIO

from jupyter_fx.protocol.limits import INLINE_MAX

__all__ = ["Rows", "head_of"]

_HEAD = 1 << 17


def head_of(path: str) -> bytes:
    """The first bytes of an envelope in a file; none when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""


class Rows:
    """Append with `add`; `whole` gives them all as (bytes, "", 0) or (b"", path, size)."""

    __slots__ = ("_file", "_folder", "_parts", "_path", "_size")

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts: list[bytes] = []
        self._size = 0
        self._file: BinaryIO | None = None
        self._path = ""

    def add(self, data: bytes, path: str = "") -> None:
        """Some more: bytes, or a file that is taken over. Raises OSError when the disk is full."""
        if path or self._size + len(data) > INLINE_MAX:
            file = self._open()
            if path:
                with open(path, "rb") as source:
                    shutil.copyfileobj(source, file, 1 << 20)
                Path(path).unlink()
            else:
                file.write(data)
            self._size = file.tell()
        else:
            if self._file is not None:
                self._file.write(data)
            else:
                self._parts.append(data)
            self._size += len(data)

    def _open(self) -> BinaryIO:
        if self._file is None:
            self._path = str(self._folder / f"{secrets.token_hex(12)}.fxe")
            self._file = open(self._path, "xb")  # noqa: SIM115 - closed by `whole`
            self._file.writelines(self._parts)
            self._parts.clear()
        return self._file

    def whole(self) -> tuple[bytes, str, int]:
        """All of it."""
        if self._file is None:
            return b"".join(self._parts), "", 0
        self._file.close()
        return b"", self._path, self._size
