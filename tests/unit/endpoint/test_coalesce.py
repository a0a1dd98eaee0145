"""The bundling of text, with time as an argument."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jupyter_fx.endpoint.coalesce import BUFFER_MAX, INTERVAL, Coalescer, whole_characters
from jupyter_fx.protocol.limits import STREAM_FRAME_MAX

OUT, ERR = 1, 2


def test_the_first_piece_goes_at_once_and_the_next_after_the_interval() -> None:
    text = Coalescer()
    text.add(OUT, b"a\n")
    assert text.take(0.0) == [(OUT, b"a\n")]
    text.add(OUT, b"b\n")
    text.add(OUT, b"c\n")
    assert text.take(0.01) == []
    assert text.due() == INTERVAL
    assert text.take(INTERVAL) == [(OUT, b"b\nc\n")]
    assert text.due() is None


def test_streams_keep_their_order() -> None:
    text = Coalescer()
    for stream, data in ((OUT, b"1"), (ERR, b"2"), (OUT, b"3"), (OUT, b"4")):
        text.add(stream, data)
    assert text.take(0.0, final=True) == [(OUT, b"1"), (ERR, b"2"), (OUT, b"34")]


def test_the_oldest_is_dropped_and_counted_in_lines() -> None:
    text = Coalescer()
    line = b"x" * 99 + b"\n"
    text.add(OUT, line * 10_000)
    assert text.waiting <= BUFFER_MAX
    frames = text.take(0.0, final=True)
    kept = b"".join(data for _, data in frames[1:])
    dropped = int(frames[0][1].split()[0][1:])
    assert frames[0][1].endswith(b"lines dropped]\n")
    assert dropped + kept.count(b"\n") == 10_000
    assert kept.startswith(b"x" * 99)
    assert all(len(data) <= STREAM_FRAME_MAX for _, data in frames)


@given(st.text(max_size=30).map(str.encode), st.integers(0, 200))
def test_a_cut_never_splits_a_character(data: bytes, at: int) -> None:
    part = data[:at]
    cut = whole_characters(part)
    part[:cut].decode()
    assert len(part) - cut <= 3


@given(st.lists(st.tuples(st.sampled_from([OUT, ERR]), st.binary(max_size=40), st.floats(0, 0.1)), max_size=40))
def test_nothing_is_lost_or_changed_below_the_limit(pieces: list[tuple[int, bytes, float]]) -> None:
    text = Coalescer()
    now = 0.0
    frames: list[tuple[int, bytes]] = []
    for stream, data, wait in pieces:
        text.add(stream, data)
        now += wait
        frames += text.take(now)
    frames += text.take(now, final=True)
    for stream in (OUT, ERR):
        told = b"".join(data for one, data in frames if one == stream)
        assert told == b"".join(data for one, data, _ in pieces if one == stream)
