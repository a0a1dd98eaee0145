"""Frames that stand for those of the other side: what IPython and a debugger find in them."""

from __future__ import annotations

import linecache
from bdb import Bdb
from typing import Any

from jupyter_fx_kernel import standins
from jupyter_fx_worker import errors

SOURCE = ["%%remote", "def half(n):", "    return n / 0", "half(3)"]
CELL = "<fx-cell:abc123-7>"


def made(values: bool = False) -> Any:
    frames = [
        [CELL, 4, "<module>", "half(3)", {}],
        [CELL, 3, "half", "return n / 0", {"locals": {"n": "3"}} if values else {}],
        ["/there/lib.py", 900, "inner", "boom(", {"around": [898, ["a(", "b", "boom(", "c", "d"]]}],
    ]
    return standins.traceback_of(
        frames,
        lambda file: SOURCE if file == CELL else None,
        lambda file: "Cell In[7] on polaris" if file == CELL else None,
        "polaris",
    )


def frames_of(tb: Any) -> list[Any]:
    found = []
    while tb is not None:
        found.append(tb)
        tb = tb.tb_next
    return found


def test_they_have_the_lines_the_names_and_the_places_of_those_there() -> None:
    frames = frames_of(made())
    assert [tb.tb_lineno for tb in frames] == [4, 3, 900]
    assert [tb.tb_frame.f_lineno for tb in frames] == [4, 3, 900]
    assert [tb.tb_frame.f_code.co_name for tb in frames] == ["<module>", "half", "inner"]
    name = frames[2].tb_frame.f_code.co_filename
    assert linecache.getline(name, 900) == "boom(\n"
    assert linecache.getline(frames[1].tb_frame.f_code.co_filename, 3) == "    return n / 0\n"


def test_ipython_draws_fragments_that_are_no_whole_code(notebook: Any) -> None:
    drawer = notebook.shell.InteractiveTB
    for mode in ("Plain", "Context", "Verbose", "Minimal"):
        drawer.set_mode(mode)
        shown = "\n".join(drawer.structured_traceback(ValueError, ValueError("x"), made(values=True), tb_offset=0))
        assert "ValueError" in shown
        if mode != "Minimal":
            assert "/there/lib.py" in shown
            assert "boom(" in shown
        if mode == "Verbose":
            assert "n = 3" in shown


def test_their_values_are_the_reprs_that_came_and_a_sentence_when_none_did() -> None:
    with_values, without = frames_of(made(values=True))[1].tb_frame, frames_of(made())[1].tb_frame
    assert repr(with_values.f_locals["n"]) == "3"
    assert "were not sent" in repr(without.f_locals["__remote__"])


def test_an_error_with_them_is_known_as_one(notebook: Any) -> None:
    error = ValueError("x").with_traceback(made())
    assert standins.is_standin(error)
    assert not standins.is_standin(ValueError("y"))
    assert not standins.is_standin(None)
    stack, at = Bdb().get_stack(None, error.__traceback__)
    assert (len(stack), at) == (3, 2)


def test_a_worker_tells_the_lines_around_and_the_values_only_when_asked() -> None:
    def fails(number: int, api_key: str) -> float:
        return number / 0

    def told() -> list[Any]:
        try:
            fails(3, "hush")
        except ZeroDivisionError as error:
            frames: list[Any] = errors.record(error)["frames"]
            return frames
        raise AssertionError

    first, lines = told()[-1][4]["around"]
    assert "return number / 0" in "\n".join(lines)
    assert first + lines.index(next(row for row in lines if "number / 0" in row)) == told()[-1][1]
    assert "locals" not in told()[-1][4]
    errors.values_wanted = True
    try:
        values = told()[-1][4]["locals"]
    finally:
        errors.values_wanted = False
    assert values["number"] == "3"
    assert "hush" not in str(values)


def test_a_repr_that_fails_or_is_endless_is_bounded() -> None:
    class Bad:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    def fails() -> None:
        bad, long = Bad(), "x" * 100_000
        raise ValueError(bool(bad) and len(long))

    errors.values_wanted = True
    try:
        fails()
    except ValueError as error:
        values = errors.record(error)["frames"][-1][4]["locals"]
    finally:
        errors.values_wanted = False
    assert "RuntimeError" in values["bad"] or "Bad" in values["bad"]
    assert len(values["long"]) < 500
