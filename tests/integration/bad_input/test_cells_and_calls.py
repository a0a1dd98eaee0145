"""What people get wrong in cells and calls: names, what cannot travel or come home, code that does not behave."""

from __future__ import annotations

import os
import re
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from explanations import PLACES, command, explained, refused

import jupyter_fx as fx
from jupyter_fx import errors
from jupyter_fx.client import HubClient
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import TaskOptions
from jupyter_fx_kernel import failures
from jupyter_fx_worker import codes, envelope, plain
from jupyter_fx_worker import errors as there

pytestmark = pytest.mark.timeout(240)


def submitted(client: HubClient) -> int:
    return len(client.request("tasks.list", {"limit": 1000})["tasks"])


# --- names, and who is there ---


def test_unknown_endpoint(client: HubClient, kernel: Any) -> None:
    assert "(nearest: local)" in explained(refused(kernel.remote("1", "locl"), "UsageError"))
    explained(refused(kernel.run("%fx use locl"), "UsageError"))
    kernel.run("import jupyter_fx as fx")
    explained(refused(kernel.run("fx.Executor('locl').submit(abs, 1).result()"), "UsageError"))
    with pytest.raises(errors.UsageError, match="nearest: local") as caught:
        fx.remote(abs, endpoint="locl").remote(1)
    explained(caught.value)
    status, said = command(
        "endpoint", "start", "nowhere", JUPYTER_FX_STATE_DIR=tempfile.mkdtemp(dir=os.environ[PLACES[1]])
    )
    assert status == 1
    explained(said)


def test_endpoint_offline_queues_and_says_so(
    client: HubClient, kernel: Any, farm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting = client.submit_call(abs, (-1,), endpoint=farm, options=TaskOptions(expires=60))
    client.drain(5)
    explained(waiting.why)
    assert waiting.state is TaskState.QUEUED
    waiting.cancel()
    with pytest.raises(errors.TaskExpired) as caught:
        fx.remote(abs, endpoint=farm, expires=2.5).remote(-1)
    explained(caught.value)
    young = "endpoint farm has just enrolled: it is online when its agent has started, usually within 10 s"
    assert capsys.readouterr().err == f"[{young}; the task waits]\n"
    ran = kernel.remote("1", f"{farm} --expires 1")
    assert "farm has just enrolled" in explained(refused(ran, "TaskExpired"))
    assert "within 10 s; the task waits (expires in" in ran.shown
    status, said = command("tasks")
    assert status == 0
    assert "EXPIRED" in said


# --- what cannot travel ---


def test_unpicklable_capture_names_the_part_and_why(client: HubClient, kernel: Any) -> None:
    kernel.run("import threading\nclass Job: pass\njob = Job()\njob.parts = {'a': [threading.Lock()]}")
    said = explained(refused(kernel.remote("print(job)"), "PayloadError"))
    assert "job.parts['a'][0] is of type _thread.lock" in said
    lock = threading.Lock()

    def uses() -> Any:
        return lock

    for act, part in (
        (lambda: client.submit(uses), "lock (from the enclosing function)"),
        (lambda: client.submit(len, [1, lock]), "argument 0[1]"),
        (lambda: list(fx.Executor().map(len, [[lock]], chunksize=2)), "[0]"),
    ):
        with pytest.raises(errors.PayloadError) as caught:
            act()
        assert part in explained(caught.value)
        assert caught.value.__cause__ is None
    kernel.run("def uses():\n    return job")
    assert "job" in explained(refused(kernel.run("fx.remote(uses).remote()"), "PayloadError"))


PACKAGE = "class Thing:\n    number = 1\n\n\ndef ask():\n    return 1\n"


def test_a_package_that_the_other_side_lacks(
    client: HubClient, kernel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # "Installed" here only: what lies in a site-packages travels by its name.
    place = tmp_path / "site-packages"
    (place / "onlyhere").mkdir(parents=True)
    (place / "onlyhere" / "__init__.py").write_text(PACKAGE)
    kernel.run(f"import sys; sys.path.insert(0, {str(place)!r})\nimport onlyhere\nthing = onlyhere.Thing()")
    said = explained(refused(kernel.remote("onlyhere.ask()"), "PayloadError"))
    assert f"`{sys.executable} -m pip install onlyhere`" in said
    # What could not be opened there is not taken for being there.
    for body in ("onlyhere.ask()", "thing.number"):
        explained(refused(kernel.remote(body), "PayloadError"))
    explained(refused(kernel.remote("import nothing_of_the_kind"), "ModuleNotFoundError"))
    explained(refused(kernel.run("fx.remote(str).remote(thing)"), "ModuleNotFoundError"))
    monkeypatch.syspath_prepend(place)
    import onlyhere  # type: ignore[import-not-found]

    with pytest.raises(ModuleNotFoundError) as caught:
        client.submit(onlyhere.ask).result(60)
    explained("\n".join(caught.value.__notes__))


def test_other_versions_are_named(
    client: HubClient, farm: str, top: Path, short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other Python is played here; tests/integration/notebook/test_pythons.py has real ones."""
    settings, old = top / "2" / "endpoints" / farm / "config.py", short / "python"
    old.write_text("#!/bin/sh\necho 3 8\n")
    old.chmod(0o700)
    before = settings.read_text()
    settings.write_text(f"{before}c.Endpoint.python = {str(old)!r}\n")
    try:
        status, said = command("endpoint", "start", farm)
        assert status == 1
        assert f"c.Endpoint.python = {str(old)!r} is Python 3.8" in explained(said)
    finally:
        settings.write_text(before)
    made = b"".join(bytes(part) for part in envelope.dumps(eval("lambda: 1"), "result"))
    monkeypatch.setattr(codes, "PYTHON", [3, 99])
    monkeypatch.setattr(envelope, "PYTHON", codes.PYTHON)
    with pytest.raises(envelope.PythonMismatch) as caught:
        envelope.loads(made)
    explained(caught.value)
    parts = envelope.assemble(b"cnumpy\nnone_such\n.", (), "cell", {"made": {"numpy": "1.26.4"}})
    with pytest.raises(envelope.VersionMismatch) as refused_by:
        envelope.loads(b"".join(bytes(part) for part in parts))
    sent = errors.PayloadError(str(refused_by.value))
    said = explained(failures.of_other_versions(sent, {"a": np.zeros(1), "n": 1}))
    assert said.startswith("what was sent (a) and made with")
    with pytest.raises(there.UsageError) as magic:
        plain.parsed("%timeit 1", "<cell>")
    explained(magic.value)


def test_a_syntax_error_is_found_before_anything_travels(client: HubClient, kernel: Any) -> None:
    before = submitted(client)
    ran = kernel.remote("x = 1\ny = = 2")
    assert "y = = 2" in explained(refused(ran, "SyntaxError"))
    assert "line 3" in ran.error["evalue"]
    ran = kernel.run("%remote 1 +")
    assert "%remote 1 +" in explained(refused(ran, "SyntaxError"))
    explained(refused(kernel.remote("1", "--timeot 3"), "UsageError"))
    assert "is no duration" in refused(kernel.remote("1", "--timeout abc"), "UsageError")
    assert submitted(client) == before


PEAK = "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss"


def test_two_gibibytes_are_refused_before_memory_is_spent(client: HubClient, kernel: Any) -> None:
    kernel.run(f"import numpy as np, resource\nlarge = np.zeros(1 << 28)\nbefore = {PEAK}")
    assert explained(refused(kernel.remote("large.sum()"), "PayloadError")).count("large (ndarray)") == 1
    assert int(kernel.value(f"{PEAK} - before")) < 100_000
    large = np.zeros(1 << 28)
    holder = type("Holder", (), {})()
    holder.inside = large
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def captures() -> Any:
        return large.sum()

    for function, argument in ((np.sum, large), (len, {"a": {"b": [large]}}), (str, holder)):
        with pytest.raises(errors.PayloadError, match="the limit is 1,024 MiB") as caught:
            client.submit(function, argument)
    with pytest.raises(errors.PayloadError) as caught:
        client.submit(captures)
    assert "large (from the enclosing function)" in explained(caught.value)
    with pytest.raises(errors.PayloadError, match="the limit is"):
        fx.remote(np.sum).map([large, large], chunksize=2).wait()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


# --- what cannot come home ---


def test_a_result_that_cannot_be_pickled(client: HubClient, kernel: Any) -> None:
    with pytest.raises(errors.PayloadError) as caught:
        client.submit(threading.Lock).result(60)
    assert "of type _thread.lock" in explained(caught.value)
    results = fx.remote(lambda n: threading.Lock() if n else n).map([0, 1, 0], chunksize=3).wait().results(errors=True)
    assert [type(one) for one in results] == [int, errors.PayloadError, int]
    ran = kernel.remote("import threading\nheld = threading.Lock()\nbeside = 5")
    explained(ran.shown)
    assert kernel.value("beside") == "5"
    assert "cannot be pickled" in kernel.value("held")
    assert "use it in remote cells" in refused(kernel.run("held.get()"), "PayloadError")
    assert kernel.remote("held.locked()").result == "False"
    assert "cannot be pickled" in refused(kernel.run("x = %remote held"), "PayloadError")
    explained(refused(kernel.run("fx.remote(threading.Lock).remote()"), "PayloadError"))


def test_a_result_too_big_to_come_home_is_a_ref(client: HubClient, kernel: Any) -> None:
    ref = client.submit(bytes, 65 << 20).result(60)
    assert isinstance(ref, fx.Ref)
    assert client.submit(len, ref).result(60) == 65 << 20
    explained(kernel.remote("wide = bytearray(2_000_000)").shown)
    assert kernel.remote("len(wide)").result == kernel.value("len(wide.get())") == "2000000"


# --- code that does not behave ---


def test_sys_exit_ends_its_task_alone(client: HubClient, kernel: Any) -> None:
    kernel.remote("before_exit = 1")
    ran = kernel.remote("import sys\nsys.exit(3)")
    assert "sys.exit(3)" in explained(refused(ran, "SystemExit"))
    assert ran.stream("stderr") == ""
    assert kernel.remote("before_exit").result == "1"
    # Not a SystemExit: that would end a program that never called it.
    with pytest.raises(errors.RemoteError) as caught:
        client.submit(sys.exit, "bye").result(60)
    assert "sys.exit('bye')" in explained(caught.value)


def test_os_exit_is_named_and_a_new_session_opened(client: HubClient, kernel: Any) -> None:
    kernel.remote("mine = list(range(1_000_000))")
    ran = kernel.remote("import os\nprint('last words')\nos._exit(3)")
    assert "last words" in explained(refused(ran, "WorkerLost"))
    ran = kernel.remote("'mine' in globals()")
    assert ran.result == "False"
    assert "mine" in explained(ran.shown)
    with pytest.raises(errors.WorkerLost) as caught:
        client.submit(os._exit, 4).result(60)
    assert "code 4" in explained(caught.value)
    assert caught.value.details["exit_code"] == 4


def test_a_segfault_is_placed_without_the_machinery(client: HubClient, kernel: Any) -> None:
    kernel.remote("1")
    ran = kernel.remote("import ctypes\nctypes.string_at(0)")
    said = explained(refused(ran, "WorkerLost"))
    assert re.search(r"it crashed at Cell In\[\d+\] on local, line 3", said)
    assert "Segmentation fault" in ran.stream("stderr")
    assert "jupyter_fx" not in ran.stream("stderr")
    assert "asyncio" not in ran.stream("stderr")

    def crash() -> None:
        import ctypes

        ctypes.string_at(0)

    with pytest.raises(errors.WorkerLost, match=r"test_cells_and_calls\.py") as caught:
        client.submit(crash).result(60)
    assert caught.value.details["signal"] == "SIGSEGV"
    assert client.submit(abs, -1).result(60) == 1


def test_endless_recursion(client: HubClient, kernel: Any) -> None:
    kernel.remote("before_deep = 1")
    ran = kernel.remote("def deep(n):\n    return deep(n + 1)\ndeep(0)")
    explained(refused(ran, "RecursionError"))
    assert len(ran.traceback.splitlines()) < 40
    assert kernel.remote("before_deep").result == "1"

    def deeper(n: int) -> int:
        return deeper(n + 1)

    with pytest.raises(RecursionError):
        client.submit(deeper, 0).result(60)


BOMB = "import os, time\nfor _ in range(9):\n    os.fork()\ntime.sleep(60)"


def test_a_fork_bomb_is_ended_whole(client: HubClient, kernel: Any) -> None:
    explained(refused(kernel.remote(BOMB), "WorkerLost"))

    def bomb() -> None:
        for _ in range(9):
            os.fork()
        time.sleep(60)

    with pytest.raises(errors.WorkerLost) as caught:
        client.submit(bomb).result(60)
    explained(caught.value)
    assert client.submit(abs, -1).result(60) == 1
    assert kernel.remote("6 * 7").result == "42"


def test_input_has_nobody_to_ask(client: HubClient, kernel: Any) -> None:
    explained(refused(kernel.remote("name = input('who? ')"), "RuntimeError"))
    explained(refused(kernel.remote("import getpass\ngetpass.getpass()"), "RuntimeError"))
    with pytest.raises(RuntimeError) as caught:
        client.submit(input, "who? ").result(60)
    explained(caught.value)
