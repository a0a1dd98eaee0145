"""Which containers are kept, and who waits behind whom."""

from __future__ import annotations

from jupyter_fx.endpoint.job import Job
from jupyter_fx.endpoint.lines import Lines
from jupyter_fx.endpoint.mix import HALF_LIFE, Idle, Mix, shares
from jupyter_fx.endpoint.talk import Work


def test_what_was_wanted_least_makes_room_first() -> None:
    mix = Mix()
    mix.arrived("often", 0.0, 10)
    mix.arrived("seldom", 0.0)
    idle = [Idle("often", 50.0), Idle("seldom", 60.0)]
    assert mix.to_stop(idle, 60.0, kept=900.0, room=0) == []
    assert mix.to_stop(idle, 60.0, kept=900.0, room=1) == ["seldom"]
    assert mix.to_stop(idle, 60.0, kept=900.0, room=5) == ["seldom", "often"]


def test_what_was_wanted_long_ago_weighs_less() -> None:
    mix = Mix()
    mix.arrived("once much", 0.0, 100)
    mix.arrived("now some", 10 * HALF_LIFE, 2)
    assert mix.weight("once much", HALF_LIFE) == 50
    idle = [Idle("once much", 0.0), Idle("now some", 10 * HALF_LIFE)]
    assert mix.to_stop(idle, 10 * HALF_LIFE, kept=1e9, room=1) == ["once much"]


def test_of_equals_the_longest_idle_goes_and_those_past_their_time_go_anyhow() -> None:
    mix = Mix()
    idle = [Idle("b", 20.0), Idle("a", 10.0)]
    assert mix.to_stop(idle, 21.0, kept=900.0, room=1) == ["a"]
    assert mix.to_stop(idle, 25.0, kept=10.0, room=0) == ["a"]
    # The one that went by itself has made the room.
    assert mix.to_stop(idle, 25.0, kept=10.0, room=1) == ["a"]


def test_the_mix_forgets_what_is_too_much_to_remember() -> None:
    mix = Mix()
    for number in range(3000):
        mix.arrived(f"image{number}", float(number))
    assert len(mix._weights) <= 1024


def test_places_are_dealt_out_by_weight() -> None:
    assert shares({"a": 1.0, "b": 1.0}, 10) == {"a": 5, "b": 5}
    assert shares({"a": 7.0, "b": 2.0, "c": 1.0}, 10) == {"a": 7, "b": 2, "c": 1}
    assert sum(shares({"a": 1.0, "b": 1.0, "c": 1.0}, 10).values()) == 10
    assert shares({"a": 0.0}, 10) == {"a": 0}


def job(number: int, environment: str = "", cores: int = 1) -> Job:
    return Job(number, Work(f"task{number}", 0, "f", b"", cores=cores, environment=environment))


def test_each_environment_and_width_waits_in_a_line_of_its_own_and_the_oldest_is_served_first() -> None:
    lines = Lines()
    for one in (job(1, "b"), job(2, "a"), job(3, "b"), job(4, "host"), job(5), job(6, "", 2)):
        lines.append(one)
    assert [[one.no for one in line] for line in lines.in_order()] == [[1, 3], [2], [4, 5], [6]]
    lines.in_order()[0].popleft()
    assert [line[0].no for line in lines.in_order()] == [2, 3, 4, 6]


def test_what_comes_back_is_first_again_and_what_is_taken_out_is_all_of_its_environment() -> None:
    lines = Lines()
    jobs = [job(1, "a"), job(2, "a", 2), job(3)]
    for one in jobs[1:]:
        lines.append(one)
    lines.appendleft(jobs[0])
    assert sorted(one.no for one in lines.taken_out("a")) == [1, 2]
    assert lines.clear() == [jobs[2]]
    assert lines.in_order() == []
    lines.append(jobs[0])
    lines.remove(jobs[0])
    assert lines.clear() == []
