"""How deep, how many."""

from __future__ import annotations

from jupyter_fx.endpoint.books import Books
from jupyter_fx.endpoint.ladder import Rung, rungs
from jupyter_fx.endpoint.prefetch import DEEPEST, TRUSTED, Durations, depth
from jupyter_fx.protocol.messages import CancelMode, LeasedTask, Resources, TaskOptions


def task(n: int, payload: bytes = b"", **options: object) -> LeasedTask:
    return LeasedTask(
        f"{n:032x}", "me", 1, (1, n), 0, "f", payload, options=TaskOptions(**options) if options else None
    )  # type: ignore[arg-type]


def test_only_what_is_known_to_be_short_is_fetched_ahead() -> None:
    assert depth(None) == 1
    assert depth(0.001) == 1
    assert depth(0.0009) == 4
    assert depth(0.00002) == DEEPEST


def test_a_function_that_turns_long_is_believed_at_once() -> None:
    times = Durations()
    for _ in range(10):
        times.measured("f", 0.0001)
    times.measured("f", 2.0)
    assert depth(times.estimate("f")) == 1


def test_one_quick_call_does_not_make_a_function_short() -> None:
    times = Durations()
    for _ in range(TRUSTED - 1):
        times.measured("f", 0.0001)
        assert depth(times.estimate("f")) == 1
    times.measured("f", 0.0001)
    assert depth(times.estimate("f")) > 1
    times.measured("long", 2.0)
    assert times.estimate("long") == 2.0


def test_credit_is_the_slots_until_the_speed_is_known_then_at_least_512_for_short_tasks() -> None:
    books = Books(2, 1)
    credit = books.credit([], stopped=False)
    assert credit is not None
    assert credit.shapes == [("", 2)]
    for n in range(2):
        books.seen += 1
        books.arrived(task(n))
    for _ in range(2):
        books.ended("", 0, 0.0001)
    credit = books.credit([], stopped=False)
    assert credit is not None
    assert credit.seen == 2
    assert credit.shapes[0][1] >= 512


def test_credit_is_bounded_by_bytes_and_by_tasks() -> None:
    books = Books(64, 1)
    for n in range(300):
        books.arrived(task(n, b"x" * 250_000))
    books.ended("", 250_000, 1e-6)
    credit = books.credit([], stopped=False)
    assert credit is None or credit.shapes[0][1] == 0
    many = Books(1000, 1)
    many.arrived(task(1))
    many.ended("", 0, 1e-6)
    credit = many.credit([], stopped=False)
    assert credit is not None
    assert credit.shapes[0][1] == 10_000


def test_what_can_never_run_is_asked_for_only_to_be_refused() -> None:
    books = Books(2, 1)
    books.demanded({"c64": Resources(cores=64)})
    credit = books.credit([], stopped=False)
    assert credit is not None
    assert dict(credit.shapes)["c64"] > 0
    assert "2 cores" in books.refusal(Resources(cores=64))
    assert "GPU" in books.refusal(Resources(gpus=1))
    assert "torch" in books.refusal(Resources(environment="torch.sqfs"))


def test_a_session_has_two_cells_ahead_and_a_stopped_endpoint_asks_for_nothing() -> None:
    books = Books(2, 1)
    credit = books.credit(["x"], stopped=False)
    assert credit is not None
    assert dict(credit.shapes)["s:x"] == 2
    credit = books.credit(["x"], stopped=True)
    assert credit is not None
    assert set(dict(credit.shapes).values()) == {0}


def test_pool_work_climbs_the_ladder_and_a_cell_is_only_interrupted() -> None:
    assert [rung for _, rung in rungs(CancelMode.CANCEL, session=False)] == [Rung.INTERRUPT, Rung.TERMINATE, Rung.KILL]
    assert rungs(CancelMode.KILL, session=True) == [(0.0, Rung.INTERRUPT)]
    assert rungs(CancelMode.INTERRUPT, session=False) == [(0.0, Rung.INTERRUPT)]
