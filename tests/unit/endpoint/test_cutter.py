"""Markers in a pipe, cut by reads at any byte."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jupyter_fx.endpoint.cutter import Cutter

NONCE = "0123456789abcdef"


def marker(number: int) -> bytes:
    return b"\0fx:%s:%d\0" % (NONCE.encode(), number)


def told(cutter: Cutter, chunks: list[bytes]) -> list[tuple[bytes, int]]:
    """What came, texts between two markers joined."""
    found: list[tuple[bytes, int]] = []
    text = b""
    for chunk in chunks:
        for piece, mark in cutter.feed(chunk):
            text += piece
            if mark:
                found.append((text, mark))
                text = b""
    found.append((text + cutter.rest(), 0))
    return found


@given(
    st.lists(
        st.binary(max_size=12) | st.sampled_from([b"\0", b"\0fx:", b"\0fx:0123", b"\0fx:" + NONCE.encode() + b":"]),
        max_size=6,
    ),
    st.data(),
)
def test_text_comes_out_between_the_markers_wherever_reads_cut(texts: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(text + marker(at) for at, text in enumerate(texts, 1)) + b"end"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert told(Cutter(NONCE), chunks) == [*((text, at) for at, text in enumerate(texts, 1)), (b"end", 0)]


def test_a_marker_with_another_nonce_is_text() -> None:
    foreign = b"\0fx:ffffffffffffffff:1\0"
    assert told(Cutter(NONCE), [b"a" + foreign, marker(1)]) == [(b"a" + foreign, 1), (b"", 0)]
