"""Kernels of one Python, workers of another: cells, functions and what they hold, there and back.

The kernels of other minor versions, and the worker with numpy 1, are those of environments that are made once below
.make/. Where there is no such Python the test is skipped and says so.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import jupyter_fx as fx
from jupyter_fx import embedded
from tests.environments import environment, interpreter, kernel_python
from tests.environments import python as worker_python
from tests.integration.notebook.conftest import HERE, Kernel

pytestmark = pytest.mark.slow

DEFINED = """
import asyncio, contextlib, enum, functools, pathlib
from dataclasses import dataclass, field

step = 5
def counted(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return "counted", function(*args, **kwargs)
    return wrapper
@counted
def decorated(x):
    return x + step
def adder(n):
    return lambda x: x + n
add7 = adder(7)
@dataclass(order=True)
class Point:
    x: int
    tags: list = field(default_factory=list, compare=False)
    def doubled(self):
        return Point(self.x * 2)
class Color(enum.Enum):
    RED = 1
    BLUE = 2
class Broken(Exception):
    def __init__(self, first, second):
        super().__init__(first, second)
        self.first = first
def generated(n):
    yield from ({"n": k, "squares": [j * j for j in range(k)]} for k in range(n))
async def later(x):
    await asyncio.sleep(0)
    return [y async for y in ticking(x)]
async def ticking(n):
    for k in range(n):
        yield k
where = pathlib.Path("/tmp") / "x"
points = [Point(2), Point(1)]
"""

THERE = """%%remote
import sys
version = sys.version_info[:2]
seen = (decorated(1), add7(1), sorted(points), Color(2).name, list(generated(3)), await later(3), str(where))
step = 6
again = decorated(1)
bigger = Point(9, ["home"]).doubled()
color, place = Color.RED, where.parent
def made(x):
    return add7(x) * 2
"""

SEEN = (
    "(('counted', 6), 8, [Point(x=1, tags=[]), Point(x=2, tags=[])], 'BLUE', [{'n': 0, 'squares': []}, "
    "{'n': 1, 'squares': [0]}, {'n': 2, 'squares': [0, 1]}], [0, 1, 2], '/tmp/x')"
)


@contextlib.contextmanager
def stack(python: str) -> Iterator[Path]:
    """A hub and a local endpoint whose workers run with `python`, in directories of their own."""
    top = Path(tempfile.mkdtemp(prefix="fxp"))
    with pytest.MonkeyPatch.context() as patch:
        for number, name in enumerate(HERE):
            (top / str(number)).mkdir(mode=0o700)
            patch.setenv(name, str(top / str(number)))
        patch.delenv("JUPYTER_FX_HUB", raising=False)
        settings = top / "2" / "endpoints" / "local"
        settings.mkdir(parents=True, mode=0o700)
        (settings / "config.py").write_text(f"c = get_config()\nc.Endpoint.python = {python!r}\n")
        try:
            embedded.find_hub()
            yield top
        finally:
            embedded.stop_endpoint()
            embedded.stop_hub()
            shutil.rmtree(top, ignore_errors=True)


@pytest.fixture(scope="module", params=[11, 9], ids=lambda minor: f"workers-3.{minor}")
def workers(request: pytest.FixtureRequest) -> Iterator[tuple[int, Path]]:
    with stack(worker_python(request.param)) as top:
        yield request.param, top


@contextlib.contextmanager
def notebook(top: Path, python: str) -> Iterator[Kernel]:
    kernel = Kernel(Path(tempfile.mkdtemp(prefix="k", dir=top)), python=python)
    try:
        yield kernel
    finally:
        kernel.close()


@pytest.mark.parametrize("home", [11, 12, 13], ids=lambda minor: f"kernel-3.{minor}")
def test_what_a_notebook_defines_works_there_and_comes_back(workers: tuple[int, Path], home: int) -> None:
    minor, top = workers
    with notebook(top, kernel_python(home)) as kernel:
        assert kernel.value("import sys; sys.version_info[1]") == str(home)
        kernel.run(DEFINED)
        assert kernel.run(THERE).error == {}
        assert kernel.value("version") == f"(3, {minor})"
        assert kernel.run("print(repr(seen))").stream().strip() == SEEN
        assert kernel.value("step, again, bigger, bigger == Point(18), color is Color.RED, str(place), made(1)") == (
            "(6, ('counted', 7), Point(x=18, tags=[]), True, True, '/tmp', 16)"
        )
        _errors(kernel)
        _calls(kernel)
        _without_source(kernel, home, minor)
        shown = kernel.run("%fx env").stream()
        assert ("differs (major)" in shown.splitlines()[1]) == (home != minor), shown


def _errors(kernel: Kernel) -> None:
    failed = kernel.remote("def fails(x):\n    raise Broken(x, 'two')\nfails(3)")
    assert failed.error["ename"] == "Broken"
    assert "raise Broken(x, 'two')" in failed.traceback
    call = "get_ipython().run_cell_magic('remote', '', 'fails(4)')"
    assert kernel.run(f"try:\n    {call}\nexcept Broken as error:\n    print(error.first)").stream().endswith("4\n")


def _calls(kernel: Kernel) -> None:
    kernel.run(
        "import jupyter_fx as fx\n@fx.remote\ndef scaled(x, *, by=step):\n    return Point(x * by), add7(x), Color.BLUE"
    )
    assert kernel.value("scaled.remote(2)") == "(Point(x=12, tags=[]), 9, <Color.BLUE: 2>)"
    assert kernel.value("[p.x for p, *_ in scaled.map(range(4))]") == "[0, 6, 12, 18]"
    assert kernel.value("with fx.Executor() as ex: found = list(ex.map(lambda v: (v, step), [1, 2]))\nfound") == (
        "[(1, 6), (2, 6)]"
    )


def _without_source(kernel: Kernel, home: int, minor: int) -> None:
    kernel.run("exec('def sourceless(): return 1')")
    ran = kernel.remote("print('ran')\nsourceless()")
    if home == minor:
        assert ran.result == "1"
        return
    assert ran.stream() == ""
    assert ran.error["ename"] == "PayloadError"
    assert f"sourceless was made by Python 3.{home} and cannot run on Python 3.{minor}, because" in ran.error["evalue"]


@pytest.fixture(scope="module")
def with_numpy_1() -> Iterator[Path]:
    with stack(environment(9, "numpy<2", "pandas<2")) as top:
        yield top


ARRAYS = """
import numpy as np
a, s, when = np.arange(12.).reshape(3, 4), np.float64(2.5), np.array(["2020-01-01"], "M8[D]")
mixed, rows = np.array([1, "a", None], object), np.zeros(2, [("a", "i4"), ("b", "f8")])
rng = np.random.default_rng(1)
"""
CAME = "('1', np.float64(75.0), (3, 2), [1, 'a', None], ('a', 'b'), '2020-01-01')"


def test_numpy_2_here_and_1_there(with_numpy_1: Path) -> None:
    with notebook(with_numpy_1, sys.executable) as kernel:
        kernel.run(ARRAYS)
        ran = kernel.remote("theirs = np.__version__[0]\nb = a[:, ::2] * s\nsame = mixed, rows, when")
        assert ran.error == {}
        assert kernel.value("theirs, b.sum(), b.shape, same[0].tolist(), same[1].dtype.names, str(same[2][0])") == CAME
        refused = kernel.remote("print('ran')\nrng.random()")
        assert refused.stream() == "" and refused.error["ename"] == "PayloadError"
        assert "what was sent (rng) and made with Python 3.11, numpy 2." in refused.traceback
        assert "cannot be opened with Python 3.9, numpy 1." in refused.error["evalue"]
        assert "pip install numpy==2" in kernel.run("%fx env").stream()


def test_pandas_3_here_and_1_there_is_refused_with_both_versions(with_numpy_1: Path) -> None:
    pytest.importorskip("pandas")
    with notebook(with_numpy_1, sys.executable) as kernel:
        kernel.run("import pandas as pd\nframe = pd.DataFrame({'x': [1, 2], 't': ['a', 'b']})")
        refused = kernel.remote("print('ran')\nframe")
        assert refused.stream() == "" and "pandas 1." in refused.error["evalue"], refused.error
        kernel.remote("import pandas as pd\nback = pd.DataFrame({'x': [1, 2], 't': ['a', 'b']})")
        assert kernel.value("back.x.sum(), list(back.t)") == "(np.int64(3), ['a', 'b'])"


def test_a_python_that_is_too_old_is_refused_when_the_endpoint_starts() -> None:
    old = interpreter(8)
    if old is None:
        pytest.skip("no Python 3.8 on this machine")
    with pytest.raises(Exception, match=r"is Python 3\.8, and workers need 3\.9 or newer"), stack(str(old)):
        pass


def test_who_waits_hears_that_the_python_is_no_good() -> None:
    """The endpoint was good before: nobody stands beside it when it starts."""
    with stack(sys.executable) as top:
        fx.disconnect()
        try:
            assert fx.remote(abs).remote(-1) == 1
            embedded.stop_endpoint()
            config = top / "2" / "endpoints" / "local" / "config.py"
            config.write_text("c = get_config()\nc.Endpoint.python = '/no/such/python'\n")
            waiting = fx.remote(abs).submit(-2)
            end = time.monotonic() + 60
            while "ended at once" not in waiting.why and time.monotonic() < end:
                time.sleep(0.2)
            assert re.search(r"endpoint local .*config\.py, line 2: .* there is no such file", waiting.why)
            config.unlink()
            assert waiting.result(60) == 2
        finally:
            fx.disconnect()
