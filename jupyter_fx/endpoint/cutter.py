"""Cuts the text of a worker's pipe at the markers that the worker puts into it (docs/worker-protocol.md). Pure."""

from __future__ import annotations

__all__ = ["Cutter"]


class Cutter:
    """Bytes in, `(text, mark)` out: `mark` is the number of the marker that ends the text, 0 when none has come yet.

    A marker may be cut anywhere between two reads; what could be the beginning of one is held back until it is clear.
    """

    __slots__ = ("_held", "_prefix")

    def __init__(self, nonce: str = "") -> None:
        self._held = b""
        self._prefix = b""
        if nonce:
            self.nonce(nonce)

    def nonce(self, nonce: str) -> None:
        """The worker told its nonce."""
        self._prefix = b"\0fx:" + nonce.encode() + b":"

    def feed(self, data: bytes) -> list[tuple[bytes, int]]:
        """Take what was read."""
        if self._held:
            data = self._held + data
            self._held = b""
        if b"\0" not in data or not self._prefix:
            return [(data, 0)] if data else []
        found: list[tuple[bytes, int]] = []
        start = at = 0
        while (at := data.find(b"\0", at)) >= 0:
            end = self._marker(data, at)
            if end < 0:
                self._held = data[at:]
                data = data[:at]
                break
            if end == 0:
                at += 1
                continue
            found.append((data[start:at], int(data[at + len(self._prefix) : end - 1])))
            start = at = end
        if start < len(data):
            found.append((data[start:], 0))
        return found

    def rest(self) -> bytes:
        """The pipe has ended: what was held back is text."""
        held, self._held = self._held, b""
        return held

    def _marker(self, data: bytes, at: int) -> int:
        """The end of the marker that begins at `at`; 0 when there is none, -1 when more bytes must tell."""
        prefix = self._prefix
        head = data[at : at + len(prefix)]
        if not prefix.startswith(head):
            return 0
        if len(head) < len(prefix):
            return -1
        digits = at + len(prefix)
        end = data.find(b"\0", digits, digits + 21)
        tail = data[digits : end if end >= 0 else digits + 21]
        if tail and not tail.isdigit():
            return 0
        if end < 0:
            return -1 if len(tail) < 21 else 0
        return end + 1 if tail else 0
