"""Calls and maps in real workers."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from jupyter_fx_worker import envelope


def square(x):
    return x * x


def test_a_call_gives_its_value_and_a_failure_its_record(worker):
    assert worker.call(square, 12)[:2] == ("ok", 144)

    def fails(x):
        return 1 / x

    outcome, error, info = worker.call(fails, 0)
    assert outcome == "error"
    assert (error["etype"], error["message"]) == ("ZeroDivisionError", "division by zero")
    assert isinstance(error["value"], ZeroDivisionError)
    assert error["frames"][0][2:4] == ["fails", "return 1 / x"]
    assert len(error["frames"]) == 1, "only the user's frames"
    assert info["t1"] >= info["t0"]


def test_a_function_whose_module_exits_fails_and_the_worker_goes_on(worker):
    class Leaves:
        def __reduce__(self):
            return sys.exit, ("no data here",)

    leaves = Leaves()
    leaves.__name__ = "leaves"
    outcome, error, _ = worker.call(leaves)
    assert (outcome, error["etype"], error["message"]) == ("error", "SystemExit", "no data here")
    assert worker.call(square, 12)[:2] == ("ok", 144)


def test_an_exception_whose_init_takes_something_else_travels_all_the_same(worker):
    def fails():
        class Picky(Exception):
            def __init__(self, code, place):
                super().__init__(f"{code} at {place}")

        raise Picky(7, "home")

    outcome, error, _ = worker.call(fails)
    assert outcome == "error"
    assert (type(error["value"]).__name__, str(error["value"])) == ("Picky", "7 at home")
    assert (error["etype"].rpartition(".")[2], error["message"]) == ("Picky", "7 at home")
    assert error["traceback"][-1].endswith("Picky: 7 at home")


def test_causes_are_nested_and_their_text_comes_first(worker):
    def fails():
        try:
            {}["key"]
        except KeyError as error:
            raise ValueError("no such thing") from error

    _, error, _ = worker.call(fails)
    assert error["cause"]["etype"] == "KeyError"
    assert error["traceback"].index("KeyError: 'key'") < error["traceback"].index("ValueError: no such thing")


def test_prefetched_calls_come_back_in_order_and_are_counted(worker):
    fn = worker.teach(square)
    numbers = worker.submit_many(
        [("call", fn, envelope.dumps(((n,), {}), "args"), {"short": True}) for n in range(300)]
    )
    worker.wait(numbers[-1])
    assert [worker.results[no][1] for no in numbers] == [n * n for n in range(300)]
    assert worker.counts()[:2] == (300, 300)


def test_a_function_that_was_never_sent_is_asked_for(worker):
    outcome, _, info = worker.wait(worker.submit("call", "unknown", envelope.dumps(((), {}), "args")))
    assert outcome == "error"
    assert info["nofn"] is True


def test_a_finished_result_does_not_wait_for_a_long_task(worker):
    fn = worker.teach(time.sleep)
    first, _ = worker.submit_many(
        [("call", fn, envelope.dumps(((0,), {}), "args"), {}), ("call", fn, envelope.dumps(((30,), {}), "args"), {})]
    )
    worker.wait(first)
    assert worker.counts()[0] >= 1


def test_a_result_that_took_long_does_not_wait_for_what_is_said_to_be_short(worker):
    fn = worker.teach(time.sleep)
    calls = [("call", fn, envelope.dumps(((t,), {}), "args"), {"short": True}) for t in (0.05, 30)]
    first, _ = worker.submit_many(calls)
    worker.wait(first)


def test_unstarted_tasks_are_dropped_when_there_is_mail(worker):
    fn = worker.teach(time.sleep)
    short, long = (("call", fn, envelope.dumps(((seconds,), {}), "args"), {}) for seconds in (0.3, 9))
    first, *rest = worker.submit_many([short, long, long, long])
    worker.until(lambda: worker.counts()[0] == 1)
    worker.set_mail()
    worker.send({"op": "drop", "tasks": [first, *rest]})
    worker.wait(first)
    worker.until(lambda: any(kind == "dropped" for kind, _ in worker.log))
    assert next(entry for kind, entry in worker.log if kind == "dropped")["tasks"] == rest
    assert worker.call(square, 3)[1] == 9
    assert worker.counts()[:2] == (2, 2)


def test_a_big_result_is_spilled_to_a_private_file(worker, tmp_path):
    fn = worker.teach(bytes)
    pieces = envelope.dumps(((400_000,), {}), "args")
    no = worker.submit("call", fn, pieces, spill=str(tmp_path))
    outcome, value, info = worker.wait(no)
    assert (outcome, value) == ("ok", bytes(400_000))
    assert info["bytes"] == Path(info["path"]).stat().st_size
    assert Path(info["path"]).stat().st_mode & 0o777 == 0o600


def test_a_payload_may_come_from_a_file_and_take_results_of_others(worker, tmp_path):
    from jupyter_fx_worker import inputs

    class Placeholder:
        def __init__(self, index):
            self.index = index

        def __reduce__(self):
            return inputs.take, (self.index,)

    args = b"".join(envelope.dumps(((Placeholder(0), Placeholder(1)), {}), "args", refs=2))
    result = b"".join(envelope.dumps(40, "result"))
    other = tmp_path / "other.fxe"
    other.write_bytes(b"".join(envelope.dumps(2, "result")))
    whole = tmp_path / "args.fxe"
    whole.write_bytes(args)
    fn = worker.teach(lambda a, b: a + b)
    given = [["t1", None, len(result)], ["t2", str(other), 0]]
    worker.send(
        {
            "op": "run",
            "tasks": [
                [901, "call", fn, len(args), {"inputs": given}],
                [902, "call", fn, 0, {"path": str(whole), "inputs": given}],
            ],
        },
        [args, result, result],
    )
    assert worker.wait(901)[1] == 42
    assert worker.wait(902)[1] == 42


def test_a_result_that_cannot_be_pickled_says_which_and_why(worker):
    def lock():
        import threading

        return threading.Lock()

    outcome, error, _ = worker.call(lock)
    assert outcome == "error"
    assert "the result of" in error["message"]
    assert "cannot be pickled, because" in error["message"]
    assert error["etype"] == "PayloadError"


def test_a_map_reports_its_items_and_keeps_failures_apart(worker):
    no = worker.map(lambda x: 10 // x, [1, 2, 0, 5])
    outcome, _, info = worker.wait(no)
    assert (outcome, info["n"], info["failed"]) == ("ok", 4, 1)
    assert info["failures"] == [[2, "0", "ZeroDivisionError: integer division or modulo by zero"]]
    values = worker.item_values(no)
    assert [values[at] for at in (0, 1, 3)] == [10, 5, 2]
    assert values[2]["etype"] == "ZeroDivisionError"
    bad = [(first + int(at), at) for first, errors, _ in worker.items[no] for at in errors]
    assert [where for where, _ in bad] == [2]


def test_a_long_map_of_short_items_is_whole_and_in_order(worker):
    no = worker.map(lambda x: x + 1, list(range(200_000)))
    worker.wait(no)
    assert worker.item_values(no) == list(range(1, 200_001))
    assert [first for first, _, _ in worker.items[no]] == sorted(first for first, _, _ in worker.items[no])


def test_a_starred_map_and_values_that_cannot_travel(worker):
    no = worker.map(lambda a, b: a * b, [(1, 2), (3, 4)] * 500, star=True)
    worker.wait(no)
    assert worker.item_values(no) == [2, 12] * 500
    no = worker.map(lambda x: x or (y for y in ()), [1, 0, 2])
    assert worker.wait(no)[0] == "ok"
    values = worker.item_values(no)
    assert (values[0], values[2], values[1]["etype"]) == (1, 2, "PayloadError")


def test_the_first_failures_are_told_in_words_whatever_the_items_are(worker):
    class Shy:
        def __repr__(self):
            raise ValueError("no")

    items = [Shy(), "x" * 1000, list(range(100)), 4]
    no = worker.map(lambda item: int(item.missing), items)
    _, _, info = worker.wait(no)
    assert info["failed"] == 4
    assert [at for at, _, _ in info["failures"]] == [0, 1, 2]
    assert [shown[:9] for _, shown, _ in info["failures"]] == ["<Shy inst", "'xxxxxxxx", "[0, 1, 2,"]
    assert all(len(shown) <= 200 and error.startswith("AttributeError") for _, shown, error in info["failures"])


def test_finished_items_arrive_before_a_slow_one_ends(worker):
    no = worker.map(time.sleep, [0.002, 0.002, 30])
    worker.until(lambda: len(worker.item_values(no)) == 2)
    worker.until(lambda: worker.counts()[2] == 2)
    worker.interrupt()
    outcome, _, info = worker.wait(no)
    assert (outcome, info["n"]) == ("interrupted", 2)


def test_interrupting_a_call_leaves_the_worker_usable(worker):
    fn = worker.teach(time.sleep)
    no = worker.submit("call", fn, envelope.dumps(((30,), {}), "args"))
    worker.until(lambda: worker.counts()[0] == 1)
    while no not in worker.results:
        worker.interrupt()
        worker.step()
    assert worker.results[no][0] == "interrupted"
    assert worker.results[no][1]["etype"] == "KeyboardInterrupt"
    worker.interrupt()
    assert worker.call(square, 2)[1] == 4


def test_an_aimed_interrupt_spares_the_next_task(worker):
    fn = worker.teach(time.sleep)
    no = worker.submit("call", fn, envelope.dumps(((0.3,), {}), "args"))
    worker.until(lambda: worker.counts()[0] == 1)
    worker.aim(77)
    worker.interrupt()
    assert worker.wait(no)[0] == "ok"


def nothing_left():
    os._exit(3)


def segfault():
    import ctypes

    ctypes.string_at(0)


def kill_self():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("nasty", "check"),
    [
        (nothing_left, lambda status: os.WEXITSTATUS(status) == 3),
        (segfault, lambda status: os.WTERMSIG(status) == signal.SIGSEGV),
        (kill_self, lambda status: os.WTERMSIG(status) == signal.SIGKILL),
    ],
)
def test_a_crash_is_reported_with_its_status_and_peak_memory(worker, nasty, check):
    def talk_and_crash(crash):
        print("last words", end="")
        crash()

    fn = worker.teach(talk_and_crash)
    worker.submit("call", fn, envelope.dumps((([nasty][0],), {}), "args"))
    exited = worker.exited()
    assert check(exited["status"])
    assert exited["maxrss"] > 1000
    assert exited["pid"] == worker.pid
    worker.until(lambda: "last words" in worker.text())


def recurse():
    return recurse()


def leave():
    raise SystemExit(4)


def ask():
    return input("name? ")


def ask_secret():
    import getpass

    return getpass.getpass()


def bad_str():
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError("no")

    raise Mute


def close_outputs():
    os.close(1)
    os.close(2)
    return "closed"


def fork_and_fall_through():
    return "child" if os.fork() == 0 else "parent"


def fork_and_fail():
    if os.fork() == 0:
        raise ValueError("in the child")
    return "parent"


def ignore_interrupts():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return "deaf"


@pytest.mark.parametrize(
    ("nasty", "outcome", "said"),
    [
        (recurse, "error", "RecursionError"),
        (leave, "error", "SystemExit"),
        (ask, "error", "nobody sits at the keyboard"),
        (ask_secret, "error", "nobody sits at the keyboard"),
        (bad_str, "error", "Mute"),
        (close_outputs, "ok", "closed"),
        (fork_and_fall_through, "ok", "parent"),
        (fork_and_fail, "ok", "parent"),
        (ignore_interrupts, "ok", "deaf"),
    ],
)
def test_nasty_code_ends_as_an_outcome_and_the_worker_goes_on(worker, nasty, outcome, said):
    got, value, _ = worker.call(nasty)
    assert got == outcome
    if outcome == "ok":
        assert value == said
    else:
        assert said in value["etype"] + value["message"]
    assert worker.call(square, 5)[:2] == ("ok", 25)
    assert worker.counts()[:2] == (2, 2)
