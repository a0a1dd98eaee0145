"""What the doctor makes of what a hub, or something in between, answers."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from jupyter_fx.cli.checkhub import _clock


@pytest.mark.parametrize("date", ["", "garbage", "Tue, 99 Nov 2026 00:00:00 GMT"])
def test_a_date_that_is_none_says_nothing_of_clocks(date: str) -> None:
    assert list(_clock(date)) == []


def test_clocks_are_compared() -> None:
    assert list(_clock(formatdate(usegmt=True))) == []
    ((grade, found, _cure),) = _clock("Tue, 10 Nov 2020 00:00:00 GMT")
    assert grade == "warn"
    assert "ahead of the fx hub's" in found
