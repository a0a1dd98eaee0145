"""A Channel carries frames over one connection; what they mean is the link's business."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Any, Final

__all__ = ["WRITE_HIGH", "Channel"]

WRITE_HIGH: Final = 4 * 1024 * 1024
"""Bytes waiting to be written from which on a channel is `paused`."""


def _ignore(*_: Any) -> None:
    """Nobody listens yet."""


class Channel(abc.ABC):
    """One connection. Callbacks are called on the event loop's thread; set them before giving control back to the loop.

    A channel does not read before `start` is called, so that no frame comes while nobody listens.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        """For people: where the other side is."""
        self.info: dict[str, Any] = {}
        """What the transport knows of the other side: `uid`, `pid`, `token`, `user`, `key` …"""
        self.on_frame: Callable[[bytes], None] = _ignore
        """A whole frame came in."""
        self.on_closed: Callable[[Exception | None], None] = _ignore
        """The connection is gone, because of the error if there is one. Called once."""
        self.on_writable: Callable[[], None] = _ignore
        """`paused` ended."""
        self.paused = False
        """More than WRITE_HIGH bytes wait to be written: hold back."""

    @abc.abstractmethod
    def start(self) -> None:
        """Begin to read: the callbacks are set."""

    @abc.abstractmethod
    def write(self, frames: Sequence[bytes]) -> None:
        """Write frames, in order; they are buffered without limit, so mind `paused`. Nothing once it is closed."""

    @abc.abstractmethod
    def close(self) -> None:
        """Write what is buffered, then close. `on_closed` follows."""

    @abc.abstractmethod
    def abort(self) -> None:
        """Close at once; what is buffered is lost. `on_closed` follows."""

    @abc.abstractmethod
    def pause_reading(self) -> None:
        """Read no more for now: the other side will have to wait."""

    @abc.abstractmethod
    def resume_reading(self) -> None:
        """Read again."""
