"""CPython's own tests of `concurrent.futures` executors, run on ours: same classes, same file, from the installed
test suite."""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
import types
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jupyter_fx as fx
from jupyter_fx import embedded

HERE = Path(f"/usr/lib/python3.{sys.version_info.minor}/test/test_concurrent_futures.py")
# Their scripts say `from concurrent.futures import NAME`: no executor of another package can be named there.
BY_NAME = {"test_interpreter_shutdown", "test_submit_after_interpreter_shutdown", "test_hang_gh83386"}
MIXINS = ("ExecutorTest", "WaitTests", "AsCompletedTests", "ExecutorShutdownTest")


def load() -> types.ModuleType | None:
    """CPython's module, with `test` found beside it."""
    if not HERE.exists():
        return None
    missing = importlib.util.find_spec("test.support") is None
    if missing:
        package = types.ModuleType("test")
        package.__path__ = [str(HERE.parent)]
        sys.modules["test"] = package
    # As a file of a user's own it travels by value; as part of this Python's library the workers have it, by this name.
    own = Path(sysconfig.get_path("stdlib")) not in HERE.parents
    name = "cpython_test_concurrent_futures" if own else "test.test_concurrent_futures"
    spec = importlib.util.spec_from_file_location(name, HERE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


CPYTHON = load()


class Mixin:
    """As the suite's own mixins for thread and process pools."""

    worker_count = 5
    executor_type: Any = fx.Executor
    executor: Any

    def setUp(self) -> None:
        """One executor per test."""
        super().setUp()  # type: ignore[misc]
        self.executor = self.executor_type(max_workers=self.worker_count)

    def tearDown(self) -> None:
        """Nothing may go on."""
        self.executor.shutdown(wait=True)
        self.executor = None
        super().tearDown()  # type: ignore[misc]


def cases() -> Iterator[Any]:
    """(class, name of the test) of each test of the mixins that can be run on another executor."""
    for name in MIXINS:
        if CPYTHON is None:
            return
        made: Any = type(f"Fx{name}", (getattr(CPYTHON, name), Mixin, unittest.TestCase), {})
        for test in unittest.TestLoader().getTestCaseNames(made):
            if test not in BY_NAME:
                yield pytest.param(made, test, id=f"{name}.{test}")


@pytest.fixture(scope="module", autouse=True)
def hub() -> Iterator[Any]:
    yield fx.connect()
    fx.disconnect()
    embedded.stop_endpoint()
    embedded.stop_hub()


@pytest.mark.skipif(
    CPYTHON is None, reason=f"{HERE} is missing: apt-get install libpython3.{sys.version_info.minor}-testsuite"
)
@pytest.mark.parametrize(("made", "test"), list(cases()))
def test_as_cpython_says(made: type[unittest.TestCase], test: str) -> None:
    result = unittest.TestResult()
    made(test).run(result)
    problems = [text for _case, text in [*result.errors, *result.failures]]
    assert not problems, problems[0]
    assert result.testsRun == 1
