"""The frame codec: what goes in comes out, however the bytes are cut, and nothing above the limits is stored."""

from __future__ import annotations

import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_fx_worker import frames

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
headers = st.dictionaries(st.text(max_size=8), json_values, max_size=4).map(lambda header: {**header, "op": "x"})


@given(st.lists(st.tuples(headers, st.lists(st.binary(max_size=200), max_size=4)), max_size=5), st.data())
def test_frames_survive_any_cut_of_the_stream(sent, data):
    stream = b"".join(b"".join(frames.pack(header, parts)) for header, parts in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    reader = frames.Reader()
    got = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += reader.feed(stream[start:end])
    assert [(header, bytes(body)) for header, body in got] == [(header, b"".join(parts)) for header, parts in sent]
    assert not reader.partial


@given(st.binary(max_size=300))
def test_garbage_gives_frames_or_a_frame_error(noise):
    reader = frames.Reader(max_header=64, max_body=64)
    try:
        found = reader.feed(noise)
    except frames.FrameError:
        return
    assert all(isinstance(header["op"], str) for header, _ in found)


@pytest.mark.parametrize("lengths", [(frames.MAX_HEADER + 1, 0), (2, frames.MAX_BODY + 1)])
def test_an_oversized_frame_is_refused_from_its_first_eight_bytes(lengths):
    with pytest.raises(frames.FrameError, match="above the limits"):
        frames.Reader().feed(frames.LENGTHS.pack(*lengths))


@pytest.mark.parametrize("header", [b"[1]", b"{}", b'{"op":1}', b"{", b"\xff", b"[" * 50_000])
def test_a_header_that_is_no_object_with_an_op_is_refused(header):
    with pytest.raises(frames.FrameError):
        frames.Reader().feed(frames.LENGTHS.pack(len(header), 0) + header)


def test_pack_refuses_what_a_reader_would():
    with pytest.raises(frames.FrameError, match="header"):
        frames.pack({"op": "x", "text": "y" * frames.MAX_HEADER})
    with pytest.raises(ValueError, match="JSON"):
        frames.pack({"op": "x", "value": float("nan")})


def test_bodies_are_writable_and_large_parts_are_not_copied():
    large = memoryview(bytearray(1 << 17))
    pieces = frames.pack({"op": "x"}, [b"a", large, b"b"])
    assert any(piece is large for piece in pieces)
    [(_, body)] = frames.Reader().feed(b"".join(pieces))
    body[0] = 5
    assert not body.readonly


def test_lone_surrogates_do_not_break_a_channel():
    [(header, _)] = frames.Reader().feed(b"".join(frames.pack({"op": "x", "text": "\udc80"})))
    assert header["text"] == "\udc80"


def test_descriptors_travel_with_their_frame():
    ours, theirs = socket.socketpair()
    read, write = os.pipe()
    with ours, theirs:
        frames.send_fds(ours, {"op": "fork"}, [write])
        os.close(write)
        data, fds = frames.recv_fds(theirs)
        assert frames.Reader().feed(data)[0][0] == {"op": "fork"}
        os.write(fds[0], b"through")
        assert os.read(read, 10) == b"through"
        assert not os.get_inheritable(fds[0])
        for fd in (*fds, read):
            os.close(fd)
