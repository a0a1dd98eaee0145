"""What the bench of the three waves makes of its samples."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from bench.elasticity import Sample, plot, told

GOOD = [
    Sample(0.0, 1, 0, 0),
    Sample(3.0, 0, 4, 1),
    Sample(11.9, 0, 0, 0),
    Sample(12.0, 5, 4, 1),
    Sample(23.9, 0, 0, 0),
    Sample(25.0, 20, 20, 5),
    Sample(40.0, 0, 0, 0),
]


def test_the_table_has_what_each_wave_had_and_left() -> None:
    assert told(GOOD, 26, 10.0).splitlines()[2:] == [
        "| 1 | 1 of 1 s | 4 | 1 | 0 |",
        "| 2 | 5 of 10 s | 4 | 1 | 0 |",
        "| 3 | 20 of 20 s | 20 | 5 | 0 |",
    ]


def test_a_lost_task_and_blocks_that_stay_are_no_figures() -> None:
    with pytest.raises(AssertionError, match="25 tasks were done"):
        told(GOOD, 25, 10.0)
    with pytest.raises(AssertionError, match="wave 1 left workers behind"):
        told([GOOD[0], GOOD[1], *GOOD[3:]], 26, 10.0)


def test_the_figure_is_drawn_over_the_time_of_the_paper() -> None:
    drawn = ET.fromstring(plot(GOOD, 10.0))
    space = "{http://www.w3.org/2000/svg}"
    assert len(drawn.findall(f"{space}polyline")) == 2
    assert "360 s" in [one.text for one in drawn.iter(f"{space}text")]
