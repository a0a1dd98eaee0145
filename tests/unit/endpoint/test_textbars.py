"""Text of programs that draw bars: what is drawn over becomes bars, what a terminal would leave standing remains."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_fx.endpoint.textbars import TextBars
from jupyter_fx.protocol.codec import encode_message
from jupyter_fx.protocol.messages import EventKind, Output, Outputs

OUT, ERR = 1, 2


def through(pieces: list[bytes], *, apart: float = 10.0) -> tuple[str, list[dict[str, Any]]]:
    """(text that remains, bars that were told) of pieces that come `apart` seconds one after the other."""
    bars, now, told = TextBars(0.0), 0.0, []
    text = b""
    for piece in pieces:
        now += apart
        text += bars.feed(ERR, piece)
        told += bars.take(now)
    return (text + b"".join(data for _, data in bars.rest())).decode(), told


class Screen(io.StringIO):
    """A file that remembers each write."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []

    def write(self, text: str) -> int:
        self.pieces.append(text.encode())
        return len(text)


@pytest.fixture
def tqdm() -> Any:
    return pytest.importorskip("tqdm", reason="tqdm is not installed: pip install tqdm").tqdm


def test_a_bar_that_is_left_is_one_line(tqdm: Any) -> None:
    screen = Screen()
    for _ in tqdm(range(5), desc="rows", unit="row", file=screen, mininterval=0, miniters=1):
        pass
    screen.write("after\n")
    text, told = through(screen.pieces)
    assert text.startswith("rows: 100%|") and "5/5" in text
    assert text.endswith("\nafter\n") and text.count("\n") == 2 and "\r" not in text
    assert sorted({bar["done"] for bar in told}) == [0, 1, 2, 3, 4, 5]
    assert {(bar["label"], bar["total"], bar["unit"]) for bar in told} == {("rows", 5, "row")}
    assert [bar.get("ended", False) for bar in told] == [False] * (len(told) - 1) + [True]
    assert through([b"".join(screen.pieces)]) == (text, told[-1:])


def test_a_bar_that_goes_away_leaves_nothing(tqdm: Any) -> None:
    screen = Screen()
    for _ in tqdm(range(5), file=screen, mininterval=0, miniters=1, leave=False):
        pass
    text, told = through(screen.pieces)
    assert text == "" and told[-1]["ended"] is True


def test_nested_bars_are_beside_each_other(tqdm: Any) -> None:
    screen = Screen()
    how = {"file": screen, "mininterval": 0, "miniters": 1}
    for _ in tqdm(range(2), desc="outer", **how):
        for _ in tqdm(range(3), desc="inner", leave=False, position=1, **how):
            pass
    screen.write("after\n")
    text, told = through(screen.pieces)
    assert text.startswith("outer: 100%|") and text.endswith("\nafter\n") and text.count("\n") == 2
    assert "inner" not in text and "\x1b" not in text
    assert {bar["label"] for bar in told} == {"outer", "inner"}
    assert [bar["done"] for bar in told if bar["label"] == "inner" and "ended" not in bar] == [0, 1, 2, 3] * 2


def test_what_is_counted_without_an_end_and_what_stands_behind_a_bar(tqdm: Any) -> None:
    screen = Screen()
    bar = tqdm(iter(range(3)), desc="read", unit="B", unit_scale=True, file=screen, mininterval=0, miniters=1)
    bar.update(2500)
    bar.set_postfix(loss=0.5)
    _, told = through(screen.pieces)
    assert [one["done"] for one in told] == [0, 2500, 2500]
    assert told[-1]["label"] == "read (loss=0.5)" and told[-1]["unit"] == "B" and "total" not in told[-1]


def test_words_between_drawings_stay_and_so_does_what_a_killed_program_left(tqdm: Any) -> None:
    screen = Screen()
    bar = tqdm(total=4, desc="work", file=screen, mininterval=0, miniters=1)
    bar.update(1)
    tqdm.write("a line", file=screen)
    bar.update(1)
    screen.write("a warning\n")
    bar.update(1)
    text, _ = through(screen.pieces)
    assert "a line\n" in text
    assert "2/4" in text and "]a warning\n" in text
    assert "3/4" in text.rsplit("\n", 1)[-1]


@pytest.mark.parametrize(
    "text",
    [
        "10%\r20%\r",
        "\rloading 3 of 7",
        "a\r\nb\r\n",
        "one\ntwo",
        "\r\r\n\n",
        "\x1b[A\x1b[31mred\x1b[0m",
        "\r50%|x| not a bar",
        "\r  5%|▌| 1/20 [what]",
        "\r",
    ],
)
def test_other_text_is_left_alone(text: str) -> None:
    assert through([text.encode()]) == (text, [])
    assert through([bytes([byte]) for byte in text.encode()])[0] == text


@given(st.lists(st.text(alphabet="ab\r\n\x1b[A 1%|/", max_size=8), max_size=20))
def test_nothing_is_lost_where_there_is_no_bar(pieces: list[str]) -> None:
    assert through([piece.encode() for piece in pieces]) == ("".join(pieces), [])


def test_many_drawings_are_told_a_few_times_a_second_and_the_last_one_is() -> None:
    bars, told = TextBars(0.0), []
    for count in range(1001):
        now = count / 101
        bars.feed(ERR, b"\r%3d%%|#| %d/1000 [00:01<00:02, 5.00it/s]" % (count // 10, count))
        told += bars.take(now)
    due = bars.due()
    assert due is not None
    told += bars.take(due)
    assert 30 < len(told) < 50
    assert told[-1]["done"] == 1000 and told[-1]["eta"] == 2.0 and told[-1]["rate"] == 5.0
    assert bars.due() is None


def test_thousands_of_short_bars_fit_into_a_message() -> None:
    bars = TextBars(0.0)
    drawn = [f"\r{'d' * 180}-{at}: 100%|###| 1/1 [00:00<00:00, 9.0it/s]\n".encode() for at in range(8000)]
    text = b"".join(bars.feed(ERR, one) for one in drawn) + b"".join(data for _, data in bars.rest())
    told = bars.take(10.0)
    encode_message(Outputs([Output("t" * 32, 1, 0, int(EventKind.PROGRESS), 0.0, {"bars": told})]))
    assert told
    # All of them were left standing.
    assert text.count(b"1/1") == len(drawn)
    bars.feed(ERR, b"\rafterwards:  50%|# | 1/2 [00:00<00:01, 1.0it/s]")
    assert [bar["label"] for bar in bars.take(20.0)] == ["afterwards"]
