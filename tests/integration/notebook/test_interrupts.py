"""Interrupts and cancels in real kernels: what is shown is what happened."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.environments import packages

STUBBORN = (
    "import time\nbegun = time.time()\nprint('begun', flush=True)\nwhile time.time() - begun < {s}:\n"
    "    try:\n        time.sleep(0.2)\n    except KeyboardInterrupt:\n        print('no', flush=True)\n'went on'"
)


def presser(kernel: Any, *texts: str) -> Callable[[Any], None]:
    """Interrupt the kernel each time that the next of these is seen."""
    left = list(texts)

    def press(ran: Any) -> None:
        if left and left[0] in ran.stream() + ran.stream("stderr"):
            left.pop(0)
            kernel.interrupt()

    return press


@pytest.mark.parametrize("ipykernel", ["", "ipykernel==7.3.0"], ids=["installed", "7.3"])
def test_an_interrupt_says_what_it_stopped_and_the_session_lives(kernels: Callable[..., Any], ipykernel: str) -> None:
    kernel = kernels(PYTHONPATH=str(packages(ipykernel))) if ipykernel else kernels()
    assert not ipykernel or kernel.value("__import__('ipykernel').__version__") == "'7.3.0'"
    ran = kernel.remote(
        "kept = 1\nimport time\nprint('now', flush=True)\ntime.sleep(30)", while_running=presser(kernel, "now")
    )
    assert ran.error["ename"] == "KeyboardInterrupt"
    assert "time.sleep(30)" in ran.traceback
    assert "interrupted after" in ran.shown
    assert kernel.remote("kept").result == "1"


def test_a_cell_that_takes_no_notice_says_what_can_be_done_and_goes_on(kernel: Any) -> None:
    ran = kernel.remote(STUBBORN.format(s=6), while_running=presser(kernel, "begun", "no\n", "interrupted again"))
    assert "interrupted again" in ran.stream("stderr")
    assert "`%fx close --kill` ends the session (loses" in ran.stream("stderr")
    assert ran.error["ename"] == "KeyboardInterrupt"
    assert "goes on with its output here" in ran.traceback
    task = ran.traceback.partition("%fx attach ")[2][:8]
    kernel.run(f"left = %fx attach {task}")
    assert kernel.value("left.result(60)") == "'went on'"
    assert kernel.value("'begun' in globals()") == "True"


def test_one_that_finishes_all_the_same_says_so(kernel: Any) -> None:
    ran = kernel.remote(STUBBORN.format(s=1.5), while_running=presser(kernel, "begun"))
    assert ran.result == "'went on'"
    assert "it finished before the interrupt stopped it, or took no notice of it" in ran.shown


def test_a_stateless_cell_that_takes_no_notice_is_killed_and_that_is_said(kernel: Any) -> None:
    body = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + STUBBORN.format(s=60)
    ran = kernel.remote(body, "--stateless", while_running=presser(kernel, "begun"))
    assert ran.error["ename"] == "KeyboardInterrupt"
    assert "it ignored the interrupt and SIGTERM and was killed (SIGKILL)" in ran.shown + ran.traceback
    assert ran.elapsed > 9


def test_a_session_cell_that_takes_no_notice_ends_with_its_session_when_that_is_killed(
    kernels: Callable[..., Any],
) -> None:
    kernel = kernels()
    kernel.remote(STUBBORN.format(s=120), "--bg --name stubborn")
    kernel.run("job = _\nimport time\nwhile not job.running(): time.sleep(0.05)")
    told = kernel.run("%fx cancel stubborn").stream()
    assert "is interrupted, its session keeps its variables" in told
    assert "(loses 0 variables) if it takes no notice" in told
    time.sleep(1)
    assert kernel.value("job.done()") == "False"
    assert "closed" in kernel.run("%fx close --kill").stream()
    ran = kernel.run("try:\n    job.result(60)\nexcept BaseException as e:\n    print(type(e).__name__, e)")
    # Not because it took too long to tell.
    assert ran.stream()
    assert "Timeout" not in ran.stream()
    assert kernel.remote("1 + 1").result == "2"


def test_an_interrupted_call_and_map_stop_there_too(kernel: Any) -> None:
    kernel.run(
        "import jupyter_fx as fx, time\n@fx.remote(name='slow')\ndef slow(x):\n    import time\n"
        "    print('at', x, flush=True)\n    time.sleep(600)\n    return x"
    )
    ran = kernel.run("slow.remote(1)", while_running=presser(kernel, "at 1"))
    assert ran.error["ename"] == "KeyboardInterrupt"
    kernel.run("m = slow.map(range(8), chunksize=1)\nprint('mapping', flush=True)")
    kernel.run(
        "def late():\n    import os, signal\n    time.sleep(1)\n    os.kill(os.getpid(), signal.SIGINT)\n"
        "import threading\nthreading.Thread(target=late).start()"
    )
    ran = kernel.run("list(m)")
    assert ran.error["ename"] == "KeyboardInterrupt"
    ran = kernel.run(
        "with fx.Executor(name='held') as ex:\n    ex.submit(slow, 2)\n"
        "    print('inside', flush=True)\n    time.sleep(30)",
        while_running=presser(kernel, "inside"),
    )
    assert ran.error["ename"] == "KeyboardInterrupt"
    begun = time.monotonic()
    while "slow" in (left := kernel.run("%fx tasks active").stream()) or "held" in left:
        assert time.monotonic() - begun < 60, left
        time.sleep(0.2)


def test_what_is_left_on_an_interrupt_goes_on(kernel: Any) -> None:
    kernel.run(
        "@fx.remote(name='leaving', on_interrupt='leave')\ndef leaving(x):\n    import time\n"
        "    print('on', flush=True)\n    time.sleep(2)\n    return x * 2"
    )
    ran = kernel.run("leaving.remote(21)", while_running=presser(kernel, "on"))
    assert ran.error["ename"] == "KeyboardInterrupt"
    kernel.run("again = %fx attach leaving")
    assert kernel.value("again.result(60)") == "42"


def test_a_kernel_that_is_shut_down_interrupts_nothing(kernels: Callable[..., Any]) -> None:
    kernel, other = kernels(), kernels()
    body = "import time\nprint('here', flush=True)\ntime.sleep(8)\noutlived = 'yes'\noutlived"
    asked = kernel.client.execute(f"%%remote --name outliving\n{body}")
    begun = time.monotonic()
    while "outliving" not in other.run("%fx tasks running").stream():
        assert time.monotonic() - begun < 60
        time.sleep(0.1)
    assert asked
    kernel.manager.restart_kernel(now=False)
    kernel.client.wait_for_ready(timeout=60)
    kernel.run("%load_ext jupyter_fx")
    ran = kernel.run("job = %fx attach outliving")
    assert "here" in ran.stream()
    assert kernel.value("job.result(60), outlived") == "('yes', 'yes')"
    begun = time.monotonic()
    sessions = "fx.connect().request('sessions.list', {'kernel_id': %r})"
    kernel.run("import jupyter_fx as fx\nfrom jupyter_fx_kernel.session import kernel_id_of")
    while kernel.value("len(fx.connect().request('sessions.list', {'kernel_id': kernel_id_of(get_ipython())}))") != "0":
        assert time.monotonic() - begun < 60, sessions
        time.sleep(0.2)


def test_an_interrupt_that_nobody_sent_is_a_failure_wherever_it_is_told(kernel: Any) -> None:
    ran = kernel.remote("raise KeyboardInterrupt('by myself')", "--name=selfmade")
    assert ran.error["ename"] == "KeyboardInterrupt"
    assert "cancelled" not in ran.shown and "failed" in ran.shown
    assert " failed " in next(row for row in kernel.run("%fx tasks").stream().splitlines() if "selfmade" in row)
