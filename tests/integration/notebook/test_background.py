"""Background cells in real kernels: of the installed ipykernel, and of older ones whose threads print elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.environments import packages

OLDER = ("7.3.0", "6.29.5")


@pytest.fixture(scope="module", params=["installed", *OLDER])
def kernel(request: pytest.FixtureRequest, kernels: Callable[..., Any]) -> Iterator[Any]:
    """A kernel of each ipykernel; an older one stands first on the kernel's path, over the installed one."""
    if request.param == "installed":
        yield kernels()
        return
    kernel = kernels(PYTHONPATH=str(packages(f"ipykernel=={request.param}")))
    assert kernel.value("__import__('ipykernel').__version__") == repr(request.param)
    yield kernel


def texts(found: list[tuple[str, dict[str, Any]]]) -> str:
    """What was printed, out of messages."""
    return "".join(content["text"] for kind, content in found if kind == "stream")


def test_output_stays_under_its_own_cell_while_others_run(kernel: Any) -> None:
    body = (
        "import time\nfrom IPython.display import display\n"
        "for i in range(6):\n    print('back', i)\n    time.sleep(0.15)\ndisplay('shown'); 'the value'"
    )
    kernel.others.clear()
    started = kernel.remote(body, "--bg")
    kernel.run("job = _")
    seen = [kernel.run(f"import time; time.sleep(0.3); print('front {i}')") for i in range(3)]
    assert kernel.value("job.result(60)") == "'the value'"
    kernel.run("import time; time.sleep(0.2)")
    here = started.stream() + texts(kernel.others)
    assert [f"back {i}\n" in here for i in range(6)] == [True] * 6
    for i, ran in enumerate(seen):
        assert ran.stream() == f"front {i}\n"
    shown = [c["data"].get("text/plain") for kind, c in kernel.others if kind == "display_data"]
    assert "'shown'" in shown
    assert "'the value'" in shown
    assert not [kind for kind, _ in kernel.others if kind == "error"]


def test_output_is_not_taken_by_a_cell_that_captures_its_own(kernel: Any) -> None:
    kernel.others.clear()
    started = kernel.remote("import time\nfor i in range(4):\n    print('apart', i)\n    time.sleep(0.15)", "--bg")
    kernel.run("job = _")
    kernel.run("%%capture captured\nimport time\nprint('mine')\ntime.sleep(0.4)")
    kernel.run("job.result(60); import time; time.sleep(0.1)")
    assert kernel.value("captured.stdout") == repr("mine\n")
    seen = started.stream() + texts(kernel.others)
    assert [f"apart {i}" in seen for i in range(4)] == [True] * 4


def test_cells_of_one_session_queue_in_order_and_say_so(kernel: Any) -> None:
    kernel.others.clear()
    kernel.remote("import time\ntime.sleep(2.5)\norder = ['first']", "--bg")
    kernel.run("one = _")
    kernel.remote("order.append('second')", "--bg")
    kernel.run("two = _")
    assert "submitted" in kernel.value("two")
    kernel.run("two.result(60)")
    assert kernel.value("order") == "['first', 'second']"
    cards = "\n".join(c["data"].get("text/plain", "") for kind, c in kernel.others if "data" in c)
    assert "1 cell before it in its session" in cards


def test_it_can_be_awaited_and_its_names_are_home_then(kernel: Any) -> None:
    kernel.remote("brought = 6 * 7\nbrought", "--bg")
    kernel.run("job = _")
    ran = kernel.run("print(await job, brought)")
    assert ran.stream() == "42 42\n"


def test_an_error_that_nobody_waits_for_is_shown_under_its_cell(kernel: Any) -> None:
    kernel.others.clear()
    kernel.remote("import time\ntime.sleep(0.3)\n1 / 0", "--bg")
    kernel.run("job = _\nimport time\ntime.sleep(1.5)")
    errors = [content for kind, content in kernel.others if kind == "error"]
    assert [error["ename"] for error in errors] == ["ZeroDivisionError"]
    assert "1 / 0" in "\n".join(errors[0]["traceback"])
    assert "failed" in kernel.value("job")
    assert kernel.run("job.result()").error["ename"] == "ZeroDivisionError"


def test_an_error_that_somebody_waits_for_is_raised_there_alone(kernel: Any) -> None:
    kernel.others.clear()
    kernel.remote("import time\ntime.sleep(0.8)\n1 / 0", "--bg")
    kernel.run("job = _")
    ran = kernel.run("job.result(60)")
    assert ran.error["ename"] == "ZeroDivisionError"
    assert "1 / 0" in ran.traceback
    assert "concurrent" not in ran.traceback
    assert not [kind for kind, _ in kernel.others if kind == "error"]


def test_cancel_stops_it_and_keeps_the_sessions_variables(kernel: Any) -> None:
    kernel.remote("kept = 5\nimport time\ntime.sleep(60)", "--bg")
    kernel.run("job = _\nimport time\nwhile not job.running(): time.sleep(0.05)")
    kernel.run("job.cancel()")
    ran = kernel.run("try:\n    job.result(60)\nexcept BaseException as e:\n    print(type(e).__name__, e)")
    assert ran.stream().startswith("CancelledError")
    assert kernel.value("job.cancelled()") == "True"
    assert kernel.remote("kept").result == "5"


def test_one_that_waits_is_cancelled_at_once(kernel: Any) -> None:
    kernel.remote("import time\ntime.sleep(1.5)", "--bg")
    kernel.run("first = _")
    kernel.remote("never = 1", "--bg")
    kernel.run("second = _")
    ran = kernel.run(
        "second.cancel()\ntry:\n    second.result(1)\nexcept BaseException as e:\n    print(type(e).__name__, e)"
    )
    assert ran.stream().startswith("CancelledError")
    assert "before it started" in ran.stream()
    kernel.run("first.result(60)")
    assert kernel.remote("'never' in globals()", "--no-capture").result == "False"


def test_it_is_a_task_future_for_whoever_takes_one(kernel: Any) -> None:
    kernel.remote("print('heard')\n'x'", "--bg")
    kernel.run("job = _\nimport jupyter_fx as fx")
    assert kernel.value("isinstance(job, fx.TaskFuture), len(fx.wait([job], 20).done)") == "(True, 1)"
    assert kernel.value("job.logs()") == repr("heard\n")
