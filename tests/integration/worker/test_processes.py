"""Zygotes and what their workers inherit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jupyter_fx_worker import bundle, envelope, frames


def test_two_workers_draw_different_numbers(zygote):
    def draw():
        import random

        import numpy as np

        return random.random(), float(np.random.random())

    one, two = (zygote.fork().call(draw)[1] for _ in range(2))
    assert one[0] != two[0]
    assert one[1] != two[1]


def test_pools_are_as_wide_as_the_slot(zygote):
    pytest.importorskip("threadpoolctl")

    def width():
        import os

        import threadpoolctl

        return {pool["num_threads"] for pool in threadpoolctl.threadpool_info()}, os.environ["OMP_NUM_THREADS"]

    assert zygote.fork(cores=2).call(width)[1] == ({2}, "2")
    assert zygote.fork(cores=1).call(width)[1] == ({1}, "1")


def test_ready_tells_what_the_environment_is(zygote):
    assert zygote.ready["python"] == list(sys.version_info[:3])
    assert zygote.ready["forkable"] is True, zygote.ready["why"]
    assert zygote.ready["packages"]["numpy"]
    assert zygote.ready["ipython"]


def test_a_worker_has_its_own_settings(zygote, tmp_path):
    def look():
        import os

        return os.environ["CUDA_VISIBLE_DEVICES"], os.environ["X"], os.getsid(0) == os.getpid()

    worker = zygote.fork(cwd=str(tmp_path), gpus="0,1", env={"X": "y"})
    assert worker.call(look)[1] == ("0,1", "y", True)
    assert worker.call(os.getcwd)[1] == str(tmp_path)


def test_a_worker_ends_when_told_and_when_its_manager_is_gone(zygote):
    told, left = zygote.fork(), zygote.fork()
    told.send({"op": "exit"})
    assert told.exited()["status"] == 0
    left.channel.sock.close()
    assert left.exited()["status"] == 0


def test_workers_die_with_their_zygote(start):
    zygote = start()
    worker = zygote.fork()
    worker.submit("call", worker.teach(time.sleep), envelope.dumps(((60,), {}), "args"))
    worker.until(lambda: worker.counts()[0] == 1)
    os.kill(zygote.process.pid, signal.SIGKILL)
    zygote.process.wait(10)
    deadline = time.monotonic() + 60
    while Path(f"/proc/{worker.pid}/stat").exists() and Path(f"/proc/{worker.pid}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_zygote_that_may_not_fork_starts_workers_plainly(start, tmp_path):
    (tmp_path / "threaded.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
    )
    zygote = start(extra_path=str(tmp_path), preload=["threaded", "no_such_module", "jax"])
    assert zygote.ready["forkable"] is False
    assert "threads" in zygote.ready["why"]
    assert len(zygote.ready["warnings"]) == 2
    worker = zygote.fork()
    assert worker.call(lambda x: x + 1, 1)[1] == 2
    assert worker.cell("a = 1\na")[1]["values"] == {"a": 1}
    worker.send({"op": "exit"})
    assert worker.exited()["status"] == 0


def test_the_zip_runs_in_a_bare_environment(start):
    """No IPython, no numpy, no cloudpickle but the vendored one."""
    folder = Path(start().scratch)
    zipped = bundle.path(str(folder / "zip"))
    assert bundle.path(str(folder / "zip")) == zipped
    bare = folder / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    zygote = start(path=zipped, python=str(bare / "bin" / "python"))
    assert zygote.ready["ipython"] is None
    worker = zygote.fork()
    assert worker.call(lambda x: x + 1, 1)[1] == 2
    outcome, names, _ = worker.cell("import asyncio\nawait asyncio.sleep(0)\nv = 3\ndisplay(v)\nv + 1")
    assert (outcome, names["values"]) == ("ok", {"v": 3})
    assert [e["content"]["data"]["text/plain"] for e in worker.displays()] == ["3", "4"]
    outcome, error, _ = worker.cell("%%remote\n\n1/0")
    assert error["frames"][0][1] == 3
    assert worker.cell("input()")[1]["message"].startswith("input was asked for")


def test_a_zygote_learns_to_import_what_workers_told_and_stays_fit_to_fork(start):
    zygote = start(learn=["numpy"])

    def use():
        import sys

        before = "numpy" in sys.modules
        import numpy as np

        return before, float(np.random.random())

    first = zygote.fork()
    assert first.call(use)[1][0] is False
    (told,) = [header["modules"] for op, header in first.log if op == "imported"]
    assert "numpy" in told
    assert "numpy.linalg" in told
    assert not [name for name in told if not name.startswith("numpy")]
    frames.send(zygote.channel.sock, {"op": "preload", "modules": told})
    done = zygote.channel.expect("preloaded")
    assert done["warnings"] == []
    assert done["packages"]["numpy"]
    (was, one), (_, two) = (zygote.fork().call(use)[1] for _ in range(2))
    assert was is True
    assert one != two


def test_what_would_make_a_fork_unsafe_is_tried_apart_and_left(start, tmp_path):
    (tmp_path / "threads.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n"
    )
    (tmp_path / "leaves.py").write_text("import os\nos._exit(3)\n")
    zygote = start(extra_path=str(tmp_path))
    for name in ("threads", "leaves", "no_such_module_anywhere"):
        frames.send(zygote.channel.sock, {"op": "preload", "modules": [name]})
        assert zygote.channel.expect("preloaded")["warnings"] == ["a trial in a process apart failed"]
        assert zygote.fork().call(os.getpid)[0] == "ok"
