"""Errors of calls and maps in a notebook: what names the endpoint and the task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jupyter_fx import errors, payload
from jupyter_fx.ids import new_id, short_id
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import ErrorInfo, Outcome
from jupyter_fx_kernel import failures
from jupyter_fx_worker import errors as there

NAMES = {"e-7": "polaris"}
CELL = "<fx-cell:abc123-7>"
SOURCE = "def half(n):\n    return n / 0"


@pytest.fixture
def drawn(notebook: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Gives the lines that IPython shows of an outcome's error."""
    monkeypatch.setattr(errors, "draw_remote", None)
    monkeypatch.setattr(failures, "name_of_endpoint", lambda endpoint_id: NAMES.get(endpoint_id, ""))
    failures.draw_calls(notebook.magics.notebook)
    notebook.magics.notebook.cells[CELL] = 7, SOURCE.splitlines()

    def lines(outcome: Outcome) -> str:
        assert errors.draw_remote is not None
        return "\n".join(errors.draw_remote(payload.decode_error(outcome), None) or ())

    return lines


def half(n: int) -> float:
    scope: dict[str, Any] = {}
    exec(compile(SOURCE, CELL, "exec"), scope)
    found: float = scope["half"](n)
    return found


def own(_n: int) -> None:
    raise errors.RemoteError("one of my own")


def failed(endpoint_id: str, function: Callable[[int], Any] = half) -> Outcome:
    try:
        function(1)
    except Exception as error:
        data = payload.join(there.dumps_error(error))
        return Outcome(new_id(), TaskState.FAILED, data, endpoint_id=endpoint_id)
    raise AssertionError


def test_frames_name_the_endpoint_and_the_last_line_the_task_too(drawn: Any) -> None:
    outcome = failed("e-7")
    shown = drawn(outcome)
    assert f"{CELL} on polaris>:2, in half" in shown
    assert shown.endswith(f"(remote: polaris, task {short_id(outcome.task_id)})")


@pytest.mark.parametrize("endpoint_id", ["", "e-8"])
def test_where_nobody_can_tell_the_name_they_are_marked_as_remote_all_the_same(drawn: Any, endpoint_id: str) -> None:
    outcome = failed(endpoint_id)
    shown = drawn(outcome)
    assert f"{CELL} on remote>:2, in half" in shown
    assert shown.endswith(f"(remote: task {short_id(outcome.task_id)})")


def test_an_error_of_our_kind_that_was_raised_there_shows_where(drawn: Any) -> None:
    shown = drawn(failed("e-7", own))
    assert 'raise errors.RemoteError("one of my own")' in shown
    assert "on polaris>:" in shown
    assert "raised there" not in shown


def test_an_error_without_frames_there_is_told_once_with_its_place(drawn: Any) -> None:
    data = payload.join(there.dumps_error(TypeError("takes 1")))
    outcome = Outcome(new_id(), TaskState.FAILED, data, endpoint_id="e-7")
    shown = drawn(outcome)
    assert shown.count("takes 1") == 1
    assert shown.endswith(f"takes 1\n(remote: polaris, task {short_id(outcome.task_id)})")


def test_what_a_lost_worker_wrote_names_the_cell_and_the_endpoint(drawn: Any) -> None:
    info = ErrorInfo("WorkerLost", "it died", {"signal": "SIGSEGV", "last_lines": [f'in File "{CELL}"']})
    outcome = Outcome(new_id(), TaskState.FAILED, error=info, endpoint_id="e-7")
    shown = drawn(outcome)
    assert f"(remote: polaris, task {short_id(outcome.task_id)})" in shown
    assert "in Cell In[7] on polaris" in shown
