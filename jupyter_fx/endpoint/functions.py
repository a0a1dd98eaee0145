"""The functions of managers: those used last in memory, all others where their agent keeps them."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from pathlib import Path
from typing import Final

__all__ = ["Told"]

MOST: Final = 64 << 20
"""Bytes of functions in memory. One that the agent could not store stays there, whatever it takes."""


class Told:
    """See the module."""

    def __init__(self, home: Path) -> None:
        """`home`: the agent's, or what is seen of it where the manager is."""
        self._folder = home / "functions"
        self._here: OrderedDict[str, bytes] = OrderedDict()
        self._names: dict[str, None] = {}
        self._size = 0

    def put(self, digest: str, payload: bytes) -> None:
        """This one came; it was stored before, if it could be."""
        self._names[digest] = None
        self._hold(digest, payload)

    def get(self, digest: str) -> bytes | None:
        """A function; None when it was not told, or is gone from where it was kept."""
        found = self._here.get(digest)
        if found is not None:
            self._here.move_to_end(digest)
            return found
        if digest in self._names:
            with contextlib.suppress(OSError):
                found = (self._folder / digest).read_bytes()
                self._hold(digest, found)
        return found

    def names(self) -> list[str]:
        """The digests of all."""
        return list(self._names)

    def _hold(self, digest: str, payload: bytes) -> None:
        self._size += len(payload) - len(self._here.pop(digest, b""))
        self._here[digest] = payload
        if self._size <= MOST:
            return
        for other in [one for one in self._here if one != digest]:
            if self._size <= MOST:
                break
            if self._is_kept(other):
                self._size -= len(self._here.pop(other))

    def _is_kept(self, digest: str) -> bool:
        try:
            return (self._folder / digest).stat().st_size == len(self._here[digest])
        except OSError:
            return False
