from __future__ import annotations

import threading

import pytest

from jupyter_fx import errors, payload
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import ErrorInfo, Outcome
from jupyter_fx_worker import envelope
from jupyter_fx_worker import errors as there

ID = "0" * 32


class Picky(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")
        self.one = a


def failed(error: BaseException, info: ErrorInfo | None = None) -> Outcome:
    try:
        raise error
    except BaseException as caught:
        return Outcome(ID, TaskState.FAILED, payload.join(there.dumps_error(caught)), info)


def test_the_original_exception_comes_home_with_its_remote_traceback() -> None:
    error = payload.decode_error(failed(ZeroDivisionError("no"), ErrorInfo("ZeroDivisionError", "no")))
    assert type(error) is ZeroDivisionError
    assert isinstance(error.__cause__, errors.RemoteError)
    assert "raise error" in payload.remote_traceback(error)
    assert any("raised there" in note for note in error.__notes__)


def test_an_exception_whose_init_takes_two_arguments_comes_home_as_itself() -> None:
    error = payload.decode_error(failed(Picky(1, 2)))
    assert type(error) is Picky
    assert (str(error), error.one) == ("1 and 2", 1)
    assert "Traceback" in payload.remote_traceback(error)


def test_what_an_exception_holds_and_cannot_travel_is_left_behind() -> None:
    picky = Picky(1, 2)
    picky.lock = threading.Lock()  # type: ignore[attr-defined]
    error = payload.decode_error(failed(picky))
    assert type(error) is Picky
    assert error.one == 1
    assert not hasattr(error, "lock")


class Unborn(Exception):
    """Its arguments cannot be pickled."""


def test_an_exception_that_cannot_be_opened_becomes_a_remote_error() -> None:
    error = payload.decode_error(failed(Unborn(threading.Lock())))
    assert isinstance(error, errors.RemoteError)
    assert error.etype == "Unborn"
    assert "Traceback" in error.remote_traceback


def test_an_error_of_the_machinery_is_its_class() -> None:
    info = ErrorInfo("WorkerLost", "it died", {"signal": "SIGSEGV", "exit_code": None})
    error = payload.decode_error(Outcome(ID, TaskState.FAILED, error=info))
    assert isinstance(error, errors.WorkerLost)
    assert error.details["signal"] == "SIGSEGV"
    assert error.task_id == ID


def test_a_timeout_goes_before_what_the_code_raised_when_stopped() -> None:
    error = payload.decode_error(failed(KeyboardInterrupt(), ErrorInfo("TaskTimeout", "ran longer than 1 s")))
    assert isinstance(error, errors.TaskTimeout)


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        (TaskState.LOST, errors.TaskLost),
        (TaskState.EXPIRED, errors.TaskExpired),
        (TaskState.POISONED, errors.TaskPoisoned),
    ],
)
def test_a_state_without_an_error_has_its_class(state: TaskState, kind: type[errors.FxError]) -> None:
    assert isinstance(payload.decode_error(Outcome(ID, state)), kind)


def test_runs_of_a_chunk_are_put_in_order_and_holes_are_filled() -> None:
    one = payload.join(envelope.dumps([0, 1], "results"))
    bad = there.item_record(ValueError("three"))
    two = payload.join(envelope.dumps([bad, 4], "results", errors={"0": 0}))
    items = payload.finished_items({3: two, 0: one}, 6, errors.TaskLost)
    assert items[:2] == [0, 1]
    assert items[4] == 4
    assert [type(items[at].error) for at in (2, 3, 5)] == [errors.TaskLost, ValueError, errors.TaskLost]
    assert items.failed == 3


def test_a_row_of_results_envelopes_is_one_list() -> None:
    data = b"".join(payload.join(envelope.dumps(list(range(at, at + 3)), "results")) for at in (0, 3))
    assert payload.decode_value(data) == [0, 1, 2, 3, 4, 5]


def test_code_without_source_from_another_python_is_refused_naming_both(monkeypatch: pytest.MonkeyPatch) -> None:
    data = payload.join(envelope.dumps(eval("lambda: 1"), "result"))
    monkeypatch.setattr("jupyter_fx_worker.codes.PYTHON", [2, 7])
    monkeypatch.setattr(envelope, "PYTHON", [2, 7])
    with pytest.raises(errors.PayloadError, match=r"made by Python 3\.\d+ and cannot run on Python 2\."):
        payload.decode_value(data)
