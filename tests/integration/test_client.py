"""The client, end to end: the embedded hub, the local endpoint and its workers, started as for any user."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import jupyter_fx as fx
from jupyter_fx import embedded, errors
from jupyter_fx.client import HubClient
from jupyter_fx.embedded import files, local
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import EventKind, TaskOptions, Watch


@pytest.fixture(scope="module")
def client() -> Iterator[HubClient]:
    yield fx.connect()
    fx.disconnect()
    embedded.stop_endpoint()
    embedded.stop_hub()


def square(x: Any) -> Any:
    return x * x


def test_a_call_runs_in_another_process(client: HubClient) -> None:
    assert client.submit(os.getpid).result(60) != os.getpid()
    assert client.submit(square, 12).result(60) == 144


def test_large_values_travel_both_ways(client: HubClient) -> None:
    array = np.arange(1_000_000, dtype=np.float64)
    assert (client.submit(square, array).result(60) == array * array).all()


def test_a_future_in_the_arguments_is_waited_for(client: HubClient) -> None:
    slow = client.submit(lambda: __import__("time").sleep(0.3) or 7)
    assert client.submit(square, [slow][0]).result(60) == 49
    broken = client.submit(divmod, 1, 0)
    with pytest.raises(errors.DependencyFailed):
        client.submit(square, broken).result(60)


def test_what_is_printed_there_is_printed_here(client: HubClient, capsys: pytest.CaptureFixture[str]) -> None:
    @fx.remote
    def talk(n: int) -> int:
        for at in range(n):
            print("line", at)
        sys.stderr.write("done\n")
        return n

    assert talk.remote(3) == 3
    said = capsys.readouterr()
    assert said.out == "line 0\nline 1\nline 2\n"
    assert said.err == "done\n"


def test_the_story_of_a_task_can_be_read_afterwards(client: HubClient) -> None:
    future = client.submit(print, "kept")
    assert future.result(60) is None
    assert future.logs() == "kept\n"
    kinds = {event.kind for event in future.events()}
    assert {EventKind.STATE, EventKind.STDOUT} <= kinds
    assert fx.attach(future.task_id[-10:]).result(60) is None
    assert fx.tasks(limit=5)[0]["task_id"] == future.task_id


def test_the_original_exception_with_the_remote_lines(client: HubClient) -> None:
    def wrong() -> None:
        raise KeyError("missing")

    with pytest.raises(KeyError, match="missing") as caught:
        client.submit(wrong).result(60)
    assert "raise KeyError" in "".join(caught.value.__notes__)


def test_a_map_over_many_items(client: HubClient) -> None:
    result = fx.remote(square).map(range(50_000))
    assert sum(result) == sum(n * n for n in range(50_000))
    with fx.Executor("local", max_workers=3) as executor:
        assert list(executor.map(pow, range(20), range(20), chunksize=6)) == [n**n for n in range(20)]


def test_failures_of_a_map_stay_with_their_items(client: HubClient) -> None:
    result = fx.remote(lambda x: 10 // x).map([1, 0, 2], chunksize=3).wait()
    assert [type(value) for value in result.results(errors=True)] == [int, ZeroDivisionError, int]


def test_large_results_of_a_map_come_home(client: HubClient) -> None:
    arrays = list(fx.remote(lambda n: np.full(30_000, n)).map(range(20), chunksize=10))
    assert [int(array[0]) for array in arrays] == list(range(20))


def test_an_unknown_endpoint_is_told_with_the_nearest(client: HubClient) -> None:
    with pytest.raises(errors.UsageError, match=r"lokal.*local"):
        client.submit_call(square, (1,), endpoint="lokal").result(60)


def test_a_running_call_is_stopped_by_cancel(client: HubClient) -> None:
    future = client.submit_call(time.sleep, (600,), watch=Watch.STATES)
    deadline = time.monotonic() + 60
    while not future.running() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert future.cancel() is False
    with pytest.raises(concurrent.futures.CancelledError):
        future.result(60)
    assert future.state is TaskState.CANCELLED


def test_a_call_that_nobody_follows_is_seen_to_run(client: HubClient) -> None:
    sleeping = client.submit(time.sleep, 60)
    waiting = client.submit_call(square, (sleeping,))
    deadline = time.monotonic() + 60
    while not sleeping.running() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sleeping.running()
    assert not waiting.running()
    assert sleeping.cancel() is False
    with pytest.raises(concurrent.futures.CancelledError):
        sleeping.result(60)
    assert not sleeping.running()


def test_a_call_over_its_time_is_stopped(client: HubClient) -> None:
    with pytest.raises(errors.TaskTimeout):
        client.submit_call(time.sleep, (60,), options=TaskOptions(timeout=0.3)).result(60)


def test_a_worker_that_dies_is_an_error_of_the_machinery(client: HubClient) -> None:
    with pytest.raises(errors.InfrastructureError, match="exited with code 3"):
        client.submit(os._exit, 3).result(60)
    assert client.submit(square, 2).result(60) == 4


def test_futures_can_be_awaited(client: HubClient) -> None:
    async def both() -> list[Any]:
        return await asyncio.gather(client.submit(square, 2), client.submit(square, 3))

    assert asyncio.run(both()) == [4, 9]


def test_two_clients_share_one_hub(client: HubClient) -> None:
    code = "import jupyter_fx as fx; print(fx.connect().request('whoami')['hub_boot'], fx.embedded.read_hub_file().pid)"
    code = code.replace("fx.embedded", "__import__('jupyter_fx.embedded').embedded")
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    found = embedded.read_hub_file()
    assert found is not None
    assert ran.stdout.split() == [str(client.hub_boot), str(found.pid)], ran.stderr


def test_the_interpreter_waits_for_its_executors(client: HubClient, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import time, pathlib\nimport jupyter_fx as fx\n"
        "def late(path):\n    time.sleep(0.5)\n    pathlib.Path(path).write_text('written')\n    return 1\n"
        f"future = fx.Executor().submit(late, {str(tmp_path / 'proof')!r})\n"
        "future.add_done_callback(lambda f: print('done', f.result(), flush=True))\n"
    )
    ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.stdout, ran.stderr) == ("done 1\n", "")
    assert (tmp_path / "proof").read_text() == "written"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another user")
def test_a_second_user_of_the_machine_gets_nothing(client: HubClient) -> None:
    found = embedded.read_hub_file()
    assert found is not None
    code = (
        "import os, socket, sys\nos.setgid(65534); os.setuid(65534)\n"
        "for act in (lambda: socket.socket(socket.AF_UNIX).connect(sys.argv[1]), lambda: open(sys.argv[2])):\n"
        "    try: act()\n    except PermissionError: print('refused')\n"
    )
    arguments = [sys.executable, "-c", code, found.socket, str(files.hub_file())]
    ran = subprocess.run(arguments, capture_output=True, text=True, timeout=20, check=False)
    assert ran.stdout == "refused\nrefused\n", ran.stderr


def test_hub_killed_in_mid_call(client: HubClient) -> None:
    def slow(x: int) -> int:
        time.sleep(0.01)
        return x + 1

    before = client.hub_boot
    found = embedded.read_hub_file()
    assert found is not None
    futures = [client.submit(slow, n) for n in range(100)]
    assert futures[0].result(60) == 1
    os.kill(found.pid, signal.SIGKILL)
    futures += [client.submit(slow, n) for n in range(100, 150)]
    assert [future.result(60) for future in futures] == list(range(1, 151))
    assert client.hub_boot == before + 1


def test_agent_killed_is_started_again(client: HubClient) -> None:
    found = local.agent()
    assert found is not None
    os.kill(found["pid"], signal.SIGKILL)
    assert client.submit(square, 5).result(60) == 25
    now = local.agent()
    assert now is not None
    assert now["pid"] != found["pid"]


def test_a_stale_file_is_recovered_from(client: HubClient) -> None:
    found = embedded.read_hub_file()
    assert found is not None
    content = files.hub_file().read_bytes()
    fx.disconnect()
    assert embedded.stop_endpoint()
    assert embedded.stop_hub()
    assert not psutil.pid_exists(found.pid) or not files.alive(found.pid, found.start_time)
    files.hub_file().write_bytes(content.replace(str(found.pid).encode(), str(os.getpid()).encode()))
    assert fx.connect().submit(square, 6).result(60) == 36


def test_two_that_start_at_once_get_one_hub(tmp_path: Path) -> None:
    place = Path(tempfile.mkdtemp(prefix="fxt"))
    environment = dict(os.environ)
    for name in ("RUNTIME", "STATE", "CONFIG"):
        (place / name[0]).mkdir(mode=0o700)
        environment[f"JUPYTER_FX_{name}_DIR"] = str(place / name[0])
    code = (
        "import os, sys, jupyter_fx as fx\nfrom jupyter_fx import embedded\n"
        "client = fx.connect()\nprint(embedded.read_hub_file().pid, client.submit(os.getppid).result(60), flush=True)\n"
        "sys.stdin.read()\nfx.disconnect(); embedded.stop_endpoint(); embedded.stop_hub()\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdin=-1, stdout=-1, text=True)
        for _ in range(2)
    ]
    try:
        said = [child.stdout.readline() for child in started if child.stdout is not None]
        assert said[0] == said[1]
        assert len(said[0].split()) == 2
    finally:
        for child in started:
            child.communicate(timeout=30)
        shutil.rmtree(place, ignore_errors=True)
