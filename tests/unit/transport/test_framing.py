from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_fx.errors import RemoteProtocolError, UsageError
from jupyter_fx.protocol.limits import FRAME_MAX
from jupyter_fx.transport.framing import StreamChannel
from jupyter_fx.transport.websocket import link_url


class FakeTransport:
    def __init__(self) -> None:
        self.written = b""
        self.aborted = self.closed = False
        self.reading = True

    def set_write_buffer_limits(self, high: int) -> None:
        self.high = high

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed

    def writelines(self, pieces: list[bytes]) -> None:
        self.written += b"".join(pieces)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True


def connected() -> tuple[StreamChannel, Any, list[bytes]]:
    channel, transport, got = StreamChannel(), FakeTransport(), list[bytes]()
    channel.connection_made(transport)  # type: ignore[arg-type]
    channel.on_frame = got.append
    return channel, transport, got


@given(st.lists(st.binary(max_size=50), max_size=8), st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_frames_survive_any_cutting_of_the_stream(frames: list[bytes], cuts: list[int]) -> None:
    sender, wire, _ = connected()
    sender.write(frames)
    receiver, _, got = connected()
    data, turn = wire.written, 0
    while data:
        size = cuts[turn % len(cuts)]
        receiver.data_received(data[:size])
        data, turn = data[size:], turn + 1
    assert got == frames
    assert not receiver._buffer


def test_nothing_is_read_before_somebody_listens() -> None:
    channel, transport, _ = connected()
    assert not transport.reading
    channel.start()
    assert transport.reading


def test_an_oversized_frame_is_not_buffered_and_what_follows_is_not_read() -> None:
    channel, transport, got = connected()
    closed: list[Exception | None] = []
    channel.on_closed = closed.append
    good = struct.pack("!I", 2) + b"ok"
    channel.data_received(good + struct.pack("!I", FRAME_MAX + 1) + good)
    channel.data_received(good)
    assert got == [b"ok"]
    assert transport.aborted
    assert not channel._buffer
    channel.connection_lost(None)
    assert isinstance(closed[0], RemoteProtocolError)


def test_a_channel_that_a_callback_aborts_hands_over_no_more() -> None:
    channel, _, got = connected()

    def stop(frame: bytes) -> None:
        got.append(frame)
        channel.connection_lost(None)

    channel.on_frame = stop
    channel.data_received((struct.pack("!I", 1) + b"x") * 3)
    assert got == [b"x"]


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("http://127.0.0.1:8000", "ws://127.0.0.1:8000/api/v1/link"),
        ("https://hub.example/services/jfx/", "wss://hub.example/services/jfx/api/v1/link"),
        ("https://hub.example/api/v1/link", "wss://hub.example/api/v1/link"),
        ("wss://hub.example/anything", "wss://hub.example/anything"),
    ],
)
def test_an_address_names_its_websocket(address: str, url: str) -> None:
    assert link_url(address) == url


@pytest.mark.parametrize("address", ["https://", "https://u:p@hub", "wss://hub/?token=secret"])
def test_an_address_holds_no_secret(address: str) -> None:
    with pytest.raises(UsageError, match="JUPYTER_FX_TOKEN"):
        link_url(address)
