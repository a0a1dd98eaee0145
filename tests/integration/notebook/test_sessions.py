"""Sessions as a notebook sees them: shown, renewed, announced to end, made again, and those of dead kernels."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.notebook.conftest import HERE, Kernel


@pytest.fixture(scope="module")
def short_lives() -> Iterator[Path]:
    """A hub of its own whose sessions live for seconds, with an endpoint of two session slots."""
    from jupyter_fx import embedded

    top = Path(tempfile.mkdtemp(prefix="fxs"))
    with pytest.MonkeyPatch.context() as patch:
        for number, name in enumerate(HERE):
            place = top / str(number)
            place.mkdir(mode=0o700)
            patch.setenv(name, str(place))
        patch.delenv("JUPYTER_FX_HUB", raising=False)
        config = top / "2"
        (config / "hub_config.py").write_text(
            "c.HubApp.session_idle = 12.0\nc.HubApp.session_warning = 8.0\nc.HubApp.session_lease_local = 3.0\n"
        )
        local = config / "endpoints" / "local"
        local.mkdir(parents=True, mode=0o700)
        (local / "config.py").write_text("c.Endpoint.max_sessions = 2\n")
        embedded.find_hub()
        try:
            yield top
        finally:
            embedded.stop_endpoint()
            embedded.stop_hub()
    shutil.rmtree(top, ignore_errors=True)


@pytest.fixture
def kernels(short_lives: Path) -> Iterator[Callable[[], Kernel]]:
    started: list[Kernel] = []

    def start() -> Kernel:
        started.append(Kernel(Path(tempfile.mkdtemp(prefix="k", dir=short_lives))))
        return started[-1]

    yield start
    for kernel in started:
        kernel.close()


def shown(kernel: Kernel) -> str:
    return kernel.run("%fx session").stream()


def until(true: Callable[[], Any], seconds: float = 60.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.2)
    raise AssertionError("it did not happen")


def test_a_session_is_shown_and_renewed(kernels: Any) -> None:
    kernel = kernels()
    kernel.remote("x = 1")
    told = shown(kernel)
    assert "main on local: open, idle" in told
    assert "ends in" in told
    assert "of memory" in told
    assert "1 cell, 1 variable" in told
    assert "begins its idle time anew" in kernel.run("%fx session renew").stream()
    kernel.run("%fx session new")
    assert "NameError" in kernel.remote("print(x)", "--no-capture").traceback


def test_its_end_is_announced_explained_and_undone(kernels: Any) -> None:
    kernel = kernels()
    kernel.remote("import os\nbase = [1, 2]\nbig = bytearray(2_000_000)")
    kernel.remote("def grow():\n    base.append(len(big))\ngrow()")
    kernel.remote("1 / 0")
    kernel.run("import numpy as np\nlocal = np.arange(300_000.0)\nlarge = 'x' * 600_000")
    kernel.remote("here = float(local.sum()) + len(large)")
    kernel.run("del local, large")
    kernel.remote("total = sum(base)\npid = os.getpid()")
    before = kernel.value("pid")
    time.sleep(5)
    said = until(lambda: kernel.run("1").stream("stderr"))
    assert "ends in" in said
    assert "%fx session renew" in said
    said = until(lambda: kernel.run("1").stream("stderr"))
    assert "ended: it was idle for 12 s" in said
    assert "gone with it: big, large, local; 6 others are here, too" in said
    assert "%fx session restore" in said
    assert "RefLost" in kernel.run("big.get()").traceback
    plan = kernel.run("%fx session restore --dry-run").stream()
    assert "import os" in plan
    assert "left out (failed: ZeroDivisionError)" in plan
    assert "4 of 5 cells" in plan
    kernel.run("total = 'mine'")
    told = kernel.run("%fx session restore").stream()
    assert "4 cells have run again" in told, told
    assert kernel.remote("len(local), len(large), here").result == "(300000, 600000, 45000450000.0)"
    assert kernel.remote("base, len(big)").result == "([1, 2, 2000000], 2000000)"
    assert kernel.value("len(big.get())") == "2000000"
    assert kernel.value("total") == "'mine'"
    assert kernel.remote("__import__('os').getpid() != " + before).result == "True"


def test_a_killed_kernel_frees_its_slot_and_who_waits_is_told_who_has_them(kernels: Any) -> None:
    first, second, third = kernels(), kernels(), kernels()
    first.remote("held = 1")
    second.remote("held = 1")

    def kill(ran: Any) -> None:
        if "all 2 session slots of local are taken" in ran.shown and first.manager.has_kernel:
            os.kill(first.manager.provisioner.pid, signal.SIGKILL)

    ran = third.run("%%remote\n'ran'", while_running=kill)
    assert "all 2 session slots of local are taken" in ran.shown
    assert ran.result == "'ran'"


def test_a_hub_that_was_killed_finds_the_kernels_sessions_again(kernels: Any, short_lives: Path) -> None:
    kernel = kernels()
    kernel.remote("held = [1]")
    (told,) = short_lives.rglob("hub.json")
    os.kill(json.loads(told.read_text())["pid"], signal.SIGKILL)
    assert kernel.remote("held.append(2)\nheld").result == "[1, 2]"
    time.sleep(5)  # longer than a session outlives its kernel
    assert kernel.remote("held.append(3)\nheld").result == "[1, 2, 3]"


def test_idle_sessions_of_other_notebooks_are_closed_at_once(kernels: Any) -> None:
    first, second = kernels(), kernels()
    first.remote("held = 1")
    second.remote("held = 1")
    told = second.run("%fx session close --all-idle 0s").stream()
    assert "closed" in told
    assert "no variable" not in second.run("%fx who").stream()
    said = until(lambda: first.run("1").stream("stderr"))
    assert "closed all idle sessions" in said


def test_another_start_of_the_kernel_restores_what_the_last_one_had(
    short_lives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", "work/restarted.ipynb")
    folder = Path(tempfile.mkdtemp(prefix="k", dir=short_lives))
    kernel = Kernel(folder)
    try:
        kernel.remote("def double(x):\n    return 2 * x\nseed = 21")
        kernel.remote("answer = double(seed)")
        kernel.manager.restart_kernel(now=True)
        kernel.client.wait_for_ready(timeout=60)
        kernel.run("%load_ext jupyter_fx")
        # The kernel was killed: its session ends a few seconds later, and need not be waited for.
        told = until(lambda: kernel.run("%fx session restore").stream())
        assert "2 cells have run again" in told, told
        assert kernel.value("answer, double(2)") == "(42, 4)"
    finally:
        kernel.close()


def test_a_session_that_cannot_be_had_says_what_there_is_and_what_to_do(kernels: Any) -> None:
    kernel = kernels()
    kernel.others.clear()
    kernel.run("%fx use local --gpus 3")
    ran = kernel.run("%%remote\n1")
    assert ran.error["ename"] == "UsageError"
    assert "this endpoint has no GPUs, 3 were asked for: ask for no more than there is" in ran.error["evalue"]
    assert "`%fx use local` with other options" in ran.error["evalue"]
    assert "cancel" not in ran.shown
    assert "not opened: this endpoint has no GPUs" in shown(kernel)
    # One that waited is told the same, and nothing more is said of a session that never was.
    kernel.run("%%remote --bg\n2")
    kernel.run("job = _")
    caught = kernel.run("try:\n    job.result(60)\nexcept ValueError as e:\n    print(type(e).__name__, e)")
    assert caught.stream().startswith("UsageError this endpoint has no GPUs")
    assert not kernel.run("1").stream("stderr")
    kernel.run("%fx use local")
    ran = kernel.run("%%remote\n42")
    assert ran.result == "42"
    assert "a new session" not in ran.shown


OPENED_BY_API = """
import threading
import jupyter_fx as fx
from jupyter_fx.ids import new_id
from jupyter_fx.protocol.messages import Resources, SessionSpec
ended = threading.Event()
spec = SessionSpec(new_id(), 'local', 'k', 'e', resources=Resources(cores=5000))
handle = fx.connect().open_session(spec, on_event=lambda _event: handle.ended and ended.set())
print(ended.wait(60), type(handle.error).__name__, handle.error)
"""


def test_a_session_opened_by_a_program_is_refused_before_its_first_cell(kernels: Any) -> None:
    told = kernels().run(OPENED_BY_API).stream()
    assert told.startswith("True UsageError this endpoint has ")
    assert "5000 were asked for" in told
