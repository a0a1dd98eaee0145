"""What a peer leaves behind is found and ended, and nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING

import psutil
import pytest

from bench import processes

if TYPE_CHECKING:
    from collections.abc import Iterator

STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(60)
"""


@pytest.fixture
def marked() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A process that left our session, carries a mark and does not mind SIGTERM."""
    mark = uuid.uuid4().hex
    child = subprocess.Popen(
        [sys.executable, "-c", STUBBORN],
        env={**os.environ, processes.MARK: mark},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        yield mark, child
    finally:
        child.kill()
        child.communicate()


def test_a_daemon_is_found_by_its_mark_and_nobody_else_is(marked: tuple[str, subprocess.Popen[str]]) -> None:
    mark, child = marked
    assert [identity.pid for identity in processes.family(mark)] == [child.pid]


def test_one_that_ignores_sigterm_is_ended_and_named(marked: tuple[str, subprocess.Popen[str]]) -> None:
    mark, child = marked
    ended = processes.end(set(processes.family(mark)), patience=0.0, grace=0.1)
    assert len(ended) == 1
    assert not psutil.pid_exists(child.pid)


def test_a_later_process_with_the_same_id_is_left_alone(marked: tuple[str, subprocess.Popen[str]]) -> None:
    _, child = marked
    earlier = processes.Identity(child.pid, psutil.Process(child.pid).create_time() - 100)
    assert processes.end({earlier}, patience=0.0, grace=0.1) == []
    assert child.poll() is None
