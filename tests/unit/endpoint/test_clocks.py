"""Nodes whose clocks are wrong."""

from __future__ import annotations

from jupyter_fx.endpoint.clocks import Clocks
from jupyter_fx.endpoint.events import From
from jupyter_fx.endpoint.talk import Done, Ended, Said

HOURS = 3 * 3600.0


def test_times_of_a_node_that_is_hours_wrong_are_told_by_our_clock() -> None:
    for wrong in (HOURS, -HOURS):
        clocks = Clocks()
        clocks.heard("m", 1000.0 + wrong, 1000.0)
        done = clocks.put_right(
            From("m", Done([Ended("a", "ok", t0=1000.0 + wrong, t1=1001.0 + wrong), Ended("b", "ok")]))
        )
        assert [(one.t0, one.t1) for one in done.results] == [(1000.0, 1001.0), (0.0, 0.0)]
        said = clocks.put_right(From("m", Said([("a", 1, 1000.5 + wrong, b"x", 0)])))
        assert said.pieces == [("a", 1, 1000.5, b"x", 0)]
        other = Said([("a", 1, 5.0, b"x", 0)])
        assert clocks.put_right(From("n", other)) is other


def test_the_way_of_a_message_is_not_taken_for_a_wrong_clock() -> None:
    clocks = Clocks()
    clocks.heard("m", 1000.0, 1003.0)
    assert clocks.ahead("m") == 0.0
    # One that waited for an hour in a broken link, and the next.
    clocks.heard("m", 1010.0, 4610.0)
    assert clocks.ahead("m") == 0.0


def test_a_manager_that_comes_anew_has_its_clock_looked_at_anew() -> None:
    clocks = Clocks()
    clocks.heard("m", 1000.0 + HOURS, 1000.0)
    clocks.forget("m")
    clocks.heard("m", 2000.0, 2000.0)
    assert clocks.ahead("m") == 0.0
