"""The second connection: what is asked of the store for a download."""

from __future__ import annotations

import asyncio
from typing import Any

from jupyter_fx.protocol.messages import BlobData, BlobGet
from jupyter_fx_hub.bloblinks import BlobLink


class Kept:
    """A blob of ten bytes in chunks of three, that counts how often it is asked for its size."""

    def __init__(self) -> None:
        self.asked = 0

    async def size(self, _owner: str, _digest: str, *, endpoint_id: str = "") -> int:
        self.asked += 1
        return 10

    async def chunk(self, _digest: str, size: int, offset: int, length: int = 0) -> bytes:
        return b"0123456789"[offset : offset + min(length or 3, 3, size - offset)]


class Other:
    """The other side."""

    def __init__(self) -> None:
        self.got: list[BlobData] = []
        self.is_open = True

    async def wait_uncongested(self) -> None:
        """It reads at once."""

    def send(self, message: Any) -> None:
        self.got.append(message)

    def resume_reading(self) -> None:
        """It was never paused."""


def test_whether_a_range_may_be_read_is_asked_once() -> None:
    async def story() -> None:
        kept: Any = Kept()
        other: Any = Other()
        link = BlobLink(kept, other, "endpoint:e", "e", lambda _link: None)
        link.on_message(BlobGet("d" * 64, 2, 7), 0)
        await asyncio.sleep(0)
        while link._worker is not None:
            await link._worker
        assert [(message.offset, message.data) for message in other.got] == [(2, b"234"), (5, b"567"), (8, b"8")]
        assert kept.asked == 1

    asyncio.run(story())
