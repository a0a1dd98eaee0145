"""Complete logs, piece by piece, as the command line and the server hand them on."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_fx.client import logs
from jupyter_fx.client.logs import Reading


def read(texts: dict[str, bytes], streams: tuple[str, ...] = logs.STREAMS, most: int = 0) -> tuple[str, bool]:
    reading, said = Reading("0" * 32, streams, most), ""
    while (args := reading.asks()) is not None:
        whole = texts.get(args["stream"], b"")
        said += reading.take({"data": whole[args["offset"] :][: args["length"]], "size": len(whole)})
    return said, reading.found


@pytest.fixture(autouse=True)
def in_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_PIECE", 5)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({}, ""),
        ({"stdout": b"one piece and more"}, "one piece and more"),
        ({"stderr": b"alone"}, "alone"),
        ({"stdout": b"out\n", "stderr": b"err"}, "out\n\n[stderr]\nerr"),
        ({"stdout": "zwölf größe".encode()}, "zwölf größe"),
        ({"stdout": b"torn \xc3"}, "torn \ufffd"),
    ],
)
def test_all_of_both_streams_is_read_in_order(texts: dict[str, bytes], said: str) -> None:
    assert read(texts) == (said, bool(texts))


def test_of_one_that_is_too_long_the_beginning_is_read_and_how_much_there_is_more() -> None:
    said, _ = read({"stdout": b"0123456789abcdef", "stderr": b"err"}, most=10)
    assert said.startswith("0123456789\n[6 bytes more: ")
    assert said.endswith("\n[stderr]\nerr")


def test_a_log_that_shrinks_or_lies_about_its_size_ends() -> None:
    reading = Reading("0" * 32, ("stdout",))
    answers: list[dict[str, Any]] = [{"data": b"text", "size": 10}, {"data": b"", "size": 10}]
    assert [reading.take(answer) for answer in answers] == ["text", ""]
    assert reading.asks() is None
