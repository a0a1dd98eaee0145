from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_fx.errors import LocalProtocolError, RemoteProtocolError
from jupyter_fx.protocol.codec import FRAME_OVERHEAD, MESSAGE_MAX, decode_frame, encode_frame, encode_message
from jupyter_fx.protocol.limits import FRAME_MAX
from jupyter_fx.protocol.messages import Cancel, Detach, Pong, Submit, TaskSpec


@given(
    st.integers(0, 2**62),
    st.integers(0, 2**62),
    st.lists(st.builds(Detach, st.lists(st.text(max_size=40), max_size=3)), max_size=20),
)
def test_a_frame_reads_as_it_was_written(first: int, ack: int, messages: list[Detach]) -> None:
    data = encode_frame(first, ack, [encode_message(message) for message in messages])
    assert decode_frame(data) == (first, ack, messages)
    assert len(data) <= FRAME_OVERHEAD + sum(len(encode_message(message)) for message in messages)


@pytest.mark.parametrize("count", [0, 15, 16, 65_535, 65_536])
def test_any_number_of_messages_has_its_header(count: int) -> None:
    data = encode_frame(0, 0, [encode_message(Pong(1))] * count)
    assert len(decode_frame(data).messages) == count


def test_an_oversized_frame_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(RemoteProtocolError, match=rf"{FRAME_MAX + 1} bytes is over the limit"):
        decode_frame(bytes(FRAME_MAX + 1))


def test_an_oversized_message_is_our_own_fault_and_names_the_cure() -> None:
    fits = Submit([TaskSpec("t", 0, "f", bytes(MESSAGE_MAX - 40))])
    assert len(encode_message(fits)) <= MESSAGE_MAX
    with pytest.raises(LocalProtocolError, match="blob"):
        encode_message(Submit([TaskSpec("t", 0, "f", bytes(FRAME_MAX))]))


def test_what_cannot_be_encoded_is_our_own_fault() -> None:
    with pytest.raises(LocalProtocolError, match="Detach"):
        encode_message(Detach([object()]))  # type: ignore[list-item]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x93\x00\x00",
        msgspec.msgpack.encode([0, 0]),
        msgspec.msgpack.encode([-1, 0, []]),
        msgspec.msgpack.encode([0, 2**63, []]),
        msgspec.msgpack.encode([0, 0, [[250, 1]]]),
        msgspec.msgpack.encode([0, 0, [[4]]]),
        msgspec.msgpack.encode([0, 0, [[4, "text"]]]),
        msgspec.msgpack.encode([0, 0, [], 1]),
        msgspec.msgpack.encode([0, 0, []]) + b"\x00",
        b"\x93\x00\x00" + b"\x91" * 5000 + b"\x90",
    ],
)
def test_rubbish_is_refused_and_named(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match=r"a frame cannot be read: ."):
        decode_frame(data)


@given(st.binary(max_size=200))
def test_no_bytes_make_the_decoder_raise_anything_else(data: bytes) -> None:
    try:
        decode_frame(data)
    except RemoteProtocolError:
        pass


class OldCancel(msgspec.Struct, array_like=True, tag=18):
    tasks: list[str]


class NewCancel(msgspec.Struct, array_like=True, tag=18):
    tasks: list[str]
    mode: int = 0
    reason: str = ""
    urgency: int = 7


def test_a_newer_peer_is_read_by_an_older_one_and_the_other_way_round() -> None:
    newer = encode_frame(0, 0, [msgspec.msgpack.encode(NewCancel(["a"], 2, "why", 9))])
    assert decode_frame(newer).messages == [Cancel(["a"], 2, "why")]
    older = encode_frame(0, 0, [msgspec.msgpack.encode(OldCancel(["a"]))])
    assert decode_frame(older).messages == [Cancel(["a"])]
    assert msgspec.msgpack.decode(encode_message(Cancel(["a"], 1, "r")), type=NewCancel) == NewCancel(["a"], 1, "r", 7)
    assert msgspec.msgpack.decode(encode_message(Cancel(["a"], 1, "r")), type=OldCancel) == OldCancel(["a"])
