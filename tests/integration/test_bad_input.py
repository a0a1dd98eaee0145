"""Everything that people get wrong, as they do it: what they read then, and that nothing is lost by it.

Cells run in a real kernel, calls in this process, commands as processes; all on one hub with its local endpoint. Every
sentence is looked up in docs/troubleshooting.md, and every sentence of that page must have been met in the end.
"""

from __future__ import annotations

import importlib.util
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jupyter_fx as fx
from jupyter_fx import embedded, errors
from jupyter_fx.client import HubClient, core
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import TaskOptions
from jupyter_fx_kernel import failures
from jupyter_fx_worker import codes, envelope, plain
from jupyter_fx_worker import errors as there

pytestmark = pytest.mark.timeout(240)
ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
PLACES = ("JUPYTER_FX_RUNTIME_DIR", "JUPYTER_FX_STATE_DIR", "JUPYTER_FX_CONFIG_DIR")
CLUSTER = ("Slurm", "a block of this endpoint", "need Parsl", "(memory=)", "on a node at most", "crontab")
CLUSTER += ("the clock of", "speaks version")
SENTENCES = [re.split(r"(?<=`) \| ", line[2:])[0].strip("`").strip() for line in PAGE.splitlines() if line[:3] == "| `"]
MET: set[str] = set()


def kernels_of_the_notebook_tests() -> Any:
    found = importlib.util.spec_from_file_location("notebook_kernels", Path(__file__).parent / "notebook/conftest.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    return module


def explained(text: object) -> str:
    """The text, in one line; fails unless the page has a row for it."""
    said = " ".join(str(text).split())
    rows = [row for row in SENTENCES if re.search(".+?".join(map(re.escape, row.split("…"))), said)]
    assert rows, f"docs/troubleshooting.md does not explain: {said}"
    MET.update(rows)
    return said


def refused(ran: Any, kind: str) -> str:
    """What a cell's error says; its traceback shows nothing of ours."""
    assert ran.error, f"the cell went well: {ran.outputs}"
    assert ran.error["ename"] == kind, ran.traceback
    for inner in ("jupyter_fx/", "jupyter_fx_", "cloudpickle", "site-packages", "concurrent/futures", "fx-cell"):
        shown = ran.traceback.replace(sys.executable, "")
        assert inner not in shown, shown
    return " ".join(ran.traceback.split())


@pytest.fixture(scope="module")
def top() -> Iterator[Path]:
    """Directories for a hub and its endpoints, in the environment of all that is started here."""
    top = Path(tempfile.mkdtemp(prefix="fxb"))
    with pytest.MonkeyPatch.context() as patch:
        for number, name in enumerate(PLACES):
            (top / str(number)).mkdir(mode=0o700)
            patch.setenv(name, str(top / str(number)))
        patch.delenv("JUPYTER_FX_HUB", raising=False)
        settings = top / "2" / "endpoints" / "local" / "config.py"
        settings.parent.mkdir(parents=True, mode=0o700)
        settings.write_text("c.Endpoint.workers = 2\nc.Endpoint.max_processes = 30\n")
        yield top
    shutil.rmtree(top, ignore_errors=True)


@pytest.fixture(scope="module")
def client(top: Path) -> Iterator[HubClient]:
    fx.disconnect()
    yield fx.connect()
    fx.disconnect()
    embedded.stop_endpoint()
    embedded.stop_hub()


@pytest.fixture(scope="module")
def kernel(client: HubClient, top: Path) -> Iterator[Any]:
    folder = top / "k"
    folder.mkdir()
    kernel = kernels_of_the_notebook_tests().Kernel(folder)
    yield kernel
    kernel.close()


def command(*words: str, program: str = "", timeout: float = 30.0, **environment: str) -> tuple[int, str]:
    """(status, all that it printed) of `jupyter fx …`, or of `python -c program`."""
    line = [sys.executable, "-c", program or "from jupyter_fx.cli.app import main; main()", *words]
    ran = subprocess.run(
        line, capture_output=True, text=True, timeout=timeout, check=False, env={**os.environ, **environment}
    )
    assert "Traceback" not in ran.stderr, ran.stderr
    return ran.returncode, ran.stdout + ran.stderr


def own_places(folder: Path) -> dict[str, str]:
    """The environment of a second hub with directories of its own."""
    for number in range(3):
        (folder / str(number)).mkdir(mode=0o700, parents=True, exist_ok=True)
    return {name: str(folder / str(number)) for number, name in enumerate(PLACES)}


@pytest.fixture
def short() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="fxb"))
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def farm(client: HubClient) -> str:
    """An endpoint that is enrolled and has never run."""
    enrol(client, "farm")
    return "farm"


def enrol(client: HubClient, name: str) -> None:
    code = client.request("endpoints.code", {"name": name})["code"]
    status, said = command("endpoint", "configure", name, f"--hub={client.address}", JUPYTER_FX_CODE=code)
    assert status == 0, said


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

    with pytest.raises(errors.WorkerLost, match=r"test_bad_input\.py") as caught:
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


# --- hubs ---


def test_wrong_missing_and_expired_tokens(client: HubClient, top: Path, short: Path) -> None:
    hub = embedded.read_hub_file()
    assert hub is not None
    for token in ("jfx_wrong", ""):
        with pytest.raises(errors.AuthError) as caught:
            HubClient(hub.url, token=token)
        explained(caught.value)
    status, said = command("whoami", JUPYTER_FX_HUB=hub.url, JUPYTER_FX_TOKEN="jfx_wrong")
    assert status == 1
    assert explained(said).startswith("jupyter fx: the fx hub does not know this token")
    with another_hub(short, token_age=60.0) as (url, token), pytest.raises(errors.AuthError) as caught:
        HubClient(url, token=token)
    assert token not in explained(caught.value)


class another_hub:  # noqa: N801 - reads as a function
    """A second hub; `token_age`: its database has a token that expired so many seconds ago."""

    def __init__(self, folder: Path, *options: str, token_age: float = 0.0, **environment: str) -> None:
        self.environment = {**own_places(folder), **environment}
        self.options, self.token = options, self._put_token(token_age) if token_age else ""

    def _put_token(self, age: float) -> str:
        program = (
            "import asyncio, time, sys, getpass\n"
            "from jupyter_fx.paths import hub_dir\n"
            "from jupyter_fx_hub.auth import new_token\n"
            "from jupyter_fx_hub.store.ops import PutUser\n"
            "from jupyter_fx_hub.store.store import Store\n"
            "async def main():\n"
            "    told = asyncio.Event()\n"
            "    store = Store.open(hub_dir() / 'hub.db', loop=asyncio.get_running_loop(),"
            " on_commit=lambda n, problems: told.set())\n"
            "    user, old = getpass.getuser(), time.time() - 2 * float(sys.argv[1])\n"
            "    token, op = new_token(user, ['run'], old, float(sys.argv[1]))\n"
            "    store.write(PutUser(user, old)); store.write(op)\n"
            "    await told.wait(); await asyncio.sleep(0.05); store.close(); print(token)\n"
            "asyncio.run(main())\n"
        )
        status, said = command(str(age), program=program, **self.environment)
        assert status == 0, said
        return said.split()[-1]

    def __enter__(self) -> tuple[str, str]:
        line = [sys.executable, "-m", "jupyter_fx_hub", "--HubApp.min_free_fraction=0.0", *self.options]
        self.process = subprocess.Popen(line, env={**os.environ, **self.environment}, stderr=-1, text=True)
        assert self.process.stderr is not None
        for text in self.process.stderr:
            if found := re.search(r"(http://\S+) and unix:", text):
                return found[1], self.token
        raise AssertionError("it did not start")

    def __exit__(self, *_how: object) -> None:
        self.process.terminate()
        self.process.communicate(timeout=20)


def test_no_hub(short: Path) -> None:
    places = own_places(short)
    status, said = command("tasks", **places)
    assert status == 1
    explained(said)
    with pytest.raises(errors.HubUnavailable) as caught:
        HubClient(f"unix:{short}/no.sock", timeout=0.3)
    explained(caught.value)
    with pytest.raises(errors.HubUnavailable) as caught:
        HubClient("http://127.0.0.1:9", timeout=0.3)
    explained(caught.value)
    # An embedded hub that cannot start says why in one sentence, whoever asked for it.
    (short / "2" / "hub_config.py").write_text("c.HubApp.prot = 1\n")
    program = (
        "import jupyter_fx as fx\ntry: fx.connect()\nexcept Exception as error: print(type(error).__name__, error)"
    )
    _, said = command(program=program, **places)
    assert said.startswith("HubUnavailable the embedded fx hub did not start: ")
    assert "hub_config.py, line 1" in explained(said)


def test_port_or_socket_in_use(client: HubClient, short: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, said = command("hub", f"--port={taken.getsockname()[1]}", **own_places(short))
    assert status == 2
    explained(said)
    status, said = command("hub")
    assert status == 2
    assert f"pid {embedded.read_hub_file().pid}" in explained(said)  # type: ignore[union-attr]
    (short / "0" / "hub.sock").write_text("")
    status, said = command("hub", **own_places(short))
    assert status == 2
    explained(said)


needs_mounts = pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can mount a small file system to fill"
)


class small_disk:  # noqa: N801 - reads as a function
    """A tmpfs of `size` MiB at `place`; skips where none can be mounted."""

    def __init__(self, place: Path, size: int) -> None:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.place, self.size = place, size

    def __enter__(self) -> small_disk:
        line = ["mount", "-t", "tmpfs", "-o", f"size={self.size}m,mode=700", "tmpfs", str(self.place)]
        ran = subprocess.run(line, capture_output=True, text=True, check=False)
        if ran.returncode:
            pytest.skip(f"no tmpfs can be mounted here: {ran.stderr.strip()}")
        return self

    def fill(self, leave: int = 0) -> None:
        with (self.place / "filler").open("wb") as file:
            left = shutil.disk_usage(self.place).free - leave
            file.write(b"\0" * left)

    def free(self) -> None:
        (self.place / "filler").unlink(missing_ok=True)

    def __exit__(self, *_how: object) -> None:
        subprocess.run(["umount", "-l", str(self.place)], check=True)


def until(true: Callable[[], bool], within: float = 60.0) -> None:
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.05)


@needs_mounts
def test_disk_full_at_the_hub(short: Path) -> None:
    limits = ("--HubApp.min_free=6000000", "--HubApp.ballast=1000000")
    with small_disk(short / "1", 24) as disk:
        with another_hub(short, *limits, JUPYTER_FX_CONFIG_DIR=str(short / "2")):
            client = HubClient(f"unix:{short}/0/hub.sock", endpoint="")
            kept = client.submit(abs, -1)
            client.drain(5)
            disk.fill(leave=3_000_000)
            time.sleep(1.1)  # the hub looks at most once a second
            refused = client.submit(abs, -2)
            with pytest.raises(errors.StorageFull) as caught:
                refused.result(60)
            explained(caught.value)
            disk.free()
            time.sleep(1.1)
            again = client.submit(abs, -3)
            client.drain(5)
            assert [one.state for one in (kept, again)] == [TaskState.QUEUED] * 2
            client.close(0.0)
        shutil.rmtree(short / "1" / "hub")
        disk.fill()
        program = "import jupyter_fx as fx\ntry: fx.connect()\nexcept Exception as error: print(error)"
        _, said = command(program=program, **own_places(short))
        explained(said)


@needs_mounts
def test_disk_full_at_the_endpoint(client: HubClient, top: Path) -> None:
    with small_disk(top / "1" / "endpoints" / "small", 24) as disk:
        settings = top / "2" / "endpoints" / "small" / "config.py"
        settings.parent.mkdir(parents=True, mode=0o700)
        settings.write_text("c.Endpoint.disk_reserve_mb = 8\nc.Endpoint.workers = 1\n")
        enrol(client, "small")
        disk.fill(leave=4_000_000)
        try:
            assert command("endpoint", "start", "small")[0] == 0
            future = client.submit_call(abs, (-5,), endpoint="small")
            until(lambda: "disk" in future.why)
            explained(future.why)
            assert future.state is TaskState.QUEUED
            disk.free()
            assert future.result(60) == 5
        finally:
            command("endpoint", "stop", "small")


def test_a_home_on_a_network_file_system(short: Path) -> None:
    # No NFS server is at hand: the one place that tells the type of a file system is replaced in the hub's process.
    program = (
        "from jupyter_fx_hub import app\nfrom jupyter_fx_hub.store import guard\n"
        "guard.file_system_of = lambda path, mounts=None: 'nfs4'\napp.main()\n"
    )
    status, said = command(program=program, **own_places(short))
    assert status == 2
    explained(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("c = get_config()\nc.HubApp.idle_shutdwn = 5\n", "line 2: HubApp has no setting 'idle_shutdwn'"),
        ("c.HubAp.port = 1\n", "line 1: there is no c.HubAp here"),
        ("c.HubApp.port = 'x'\n", "line 1: "),
        ("c.HubApp.port = = 1\n", "line 1: SyntaxError"),
        ("c.HubApp.port = 1 / 0\n", "line 1: ZeroDivisionError"),
    ],
)
def test_a_configuration_with_a_typo(short: Path, text: str, said: str) -> None:
    places = own_places(short)
    (short / "2" / "hub_config.py").write_text(text)
    status, told = command(program="from jupyter_fx_hub import app; app.main()", **places)
    assert status == 2
    assert f"hub_config.py, {said}" in told
    if "setting" in said:
        explained(told)


def test_an_endpoint_whose_configuration_has_a_typo(client: HubClient, farm: str, top: Path) -> None:
    settings = top / "2" / "endpoints" / farm / "config.py"
    before = settings.read_text()
    settings.write_text(before + "c.Endpoint.wrokers = 3\n")
    try:
        for verb in ("run", "start"):
            status, said = command("endpoint", verb, farm)
            assert status != 0
            assert f"line {len(before.splitlines()) + 1}: Endpoint has no setting 'wrokers'" in explained(said)
    finally:
        settings.write_text(before)
    status, said = command("hub", "--prt=1")
    assert status == 2
    explained(said)
    assert "did you mean 'list'" in command("endpoint", "lst")[1]


def test_two_agents_for_one_endpoint(client: HubClient, top: Path, short: Path) -> None:
    identity = top / "1" / "endpoints" / "local" / "identity.json"
    until(lambda: client.request("endpoints.get", {"name": "local"})["state"] == "ONLINE")
    serve = "import sys; from jupyter_fx.endpoint.main import main; sys.exit(main(['local']))"
    status, said = command(program=serve)
    assert status == 2
    explained(said)
    # Another host has another state directory, and so another lock: there the hub refuses it.
    places = own_places(short)
    (short / "1" / "endpoints" / "local").mkdir(parents=True, mode=0o700)
    shutil.copy(identity, short / "1" / "endpoints" / "local")
    status, said = command(program=serve, **places)
    assert status == 3
    explained(said)
    assert client.submit(abs, -1).result(60) == 1


def test_a_client_of_another_version(client: HubClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for version, upgrade in ((99, "upgrade the fx hub"), (0, "upgrade the side that connects")):
        monkeypatch.setattr(core, "VERSION", version)
        monkeypatch.setattr(core, "OLDEST_VERSION", version)
        with pytest.raises(errors.VersionMismatch, match=upgrade) as caught:
            HubClient(client.address)
        explained(caught.value)


def test_every_sentence_of_the_page_was_met(request: pytest.FixtureRequest) -> None:
    others = {item.originalname for item in request.session.items if item.path == request.path}  # type: ignore[attr-defined]
    known = {name for name in globals() if name.startswith("test_")}
    if others != known:
        pytest.skip("only some of this file's tests ran")
    full = {row for row in SENTENCES if "disk" in row} if os.getuid() != 0 else set()
    # Clusters have tests of their own (cluster, test_endpoint_blocks, test_keep, unit/endpoint).
    cluster = {row for row in SENTENCES if any(word in row for word in CLUSTER)}
    # An endpoint that nobody has started is told so after a minute (unit/hub).
    later = {row for row in SENTENCES if "has never connected" in row}
    assert sorted(set(SENTENCES) - MET - full - cluster - later) == []
