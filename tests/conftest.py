"""For every test: directories of its own, and nothing left running when all is over."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import shutil
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = "JUPYTER_FX_TEST_RUN"
PLACES = ("JUPYTER_FX_RUNTIME_DIR", "JUPYTER_FX_STATE_DIR", "JUPYTER_FX_CONFIG_DIR", "IPYTHONDIR")
PLACES += ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
FOREIGN = ("JUPYTER_FX_HUB", "JUPYTER_FX_TOKEN", "JUPYTER_FX_TOKEN_FILE", "JUPYTER_FX_ENDPOINT")
FOREIGN += ("JUPYTERHUB_USER", "JUPYTERHUB_API_TOKEN")
RUN = pytest.StashKey[str]()
LEFT = pytest.StashKey[list[str]]()
TOP = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Mark this run: whatever a test starts carries the mark in its environment, however far it detaches itself."""
    config.stash[RUN] = os.environ[MARK] = uuid.uuid4().hex


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what is installed beside what the project names: a test that passes only for its sake fails elsewhere."""
    named = {"jupyter-fx", "pip", "setuptools"}
    for line in (config.rootpath / "constraints.txt").read_text(encoding="utf-8").splitlines():
        named.add(_normal(line.partition("==")[0]))
    extra = {_normal(found.metadata["Name"]) for found in importlib.metadata.distributions()} - named
    return [f"not of this project, but installed: {', '.join(sorted(extra))}"] if extra else []


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="session", autouse=True)
def home_of_the_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Point every directory that the project keeps anything in below a temporary one with a short name, and whatever
    makes temporary files to that: browsers, managers that are killed and tests that fail leave theirs.
    """
    # Not tmp_path: the paths of Unix sockets may have 107 bytes, and pytest's directories are deep. Those are kept for
    # who wants to see what a test left: where, is settled before.
    tmp_path_factory.getbasetemp()
    top = request.config.stash[TOP] = Path(tempfile.mkdtemp(prefix="fxt"))
    # As /tmp is: the testbeds' database and ordinary users keep theirs in it, too.
    top.chmod(0o1777)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(top))
        patch.setattr(tempfile, "tempdir", str(top))
        for number, name in enumerate(PLACES):
            place = top / str(number)
            place.mkdir(mode=0o700)
            patch.setenv(name, str(place))
        # A person's own hub is not for the tests.
        for name in FOREIGN:
            patch.delenv(name, raising=False)
        yield top


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Acceptance tests come last: their browser and JupyterLab stay until the end of the run, and an event loop (the
    browser's driver) runs in the main thread as long as they do.
    """
    items.sort(key=lambda item: "acceptance" in item.path.parts)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Under a failure: how busy the machine was. What waited in vain may have waited for it."""
    answer = yield
    report = answer.get_result()  # type: ignore[attr-defined]
    if report.failed:
        report.sections.append(("the machine just then", machine()))


def machine() -> str:
    """The load, what processes wait for (pressure, Linux), free memory, and who is busiest over a tenth of a second."""
    lines = [f"load {os.getloadavg()}, memory free {psutil.virtual_memory().available >> 20} MiB"]
    for path in sorted(Path("/proc/pressure").glob("*")):
        with contextlib.suppress(OSError):
            lines.append(f"{path.name} pressure: {path.read_text().splitlines()[0]}")
    before = cpu_seconds()
    time.sleep(0.1)
    spent = {process: seconds - before.get(process, 0.0) for process, seconds in cpu_seconds().items()}
    for process in sorted(spent, key=spent.__getitem__, reverse=True)[:4]:
        with contextlib.suppress(psutil.Error):
            words = " ".join(process.cmdline())[:120]
            lines.append(f"{spent[process] * 1000:4.0f} of 100 ms: {process.pid} {process.name()} {words}")
    return "\n".join(lines)


def cpu_seconds() -> dict[psutil.Process, float]:
    used = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            used[process] = sum(process.cpu_times()[:2])
    return used


def left_running(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            ours = process.pid != os.getpid() and process.environ().get(MARK) == mark
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process that outlives the tests is a failure: end it, and say what it was."""
    _, alive = psutil.wait_procs(left_running(session.config.stash[RUN]), timeout=3)
    names = []
    for process in alive:
        with contextlib.suppress(psutil.Error):
            names.append(f"{process.pid} {' '.join(process.cmdline())[:160]}")
            process.kill()
    session.config.stash[LEFT] = names
    if TOP in session.config.stash:
        # Not before: what still ran would have made it again.
        shutil.rmtree(session.config.stash[TOP], ignore_errors=True)
    if names and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List what was left running."""
    names = terminalreporter.config.stash.get(LEFT, [])
    if names:
        terminalreporter.section("left running by the tests (ended now)", red=True)
        for name in names:
            terminalreporter.write_line(name)
