"""Who waits for the local endpoint hears why it does not come up."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from jupyter_fx.embedded import local
from jupyter_fx.paths import endpoint_dir


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("RUNTIME", "STATE", "CONFIG"):
        (tmp_path / name).mkdir(mode=0o700)
        monkeypatch.setenv(f"JUPYTER_FX_{name}_DIR", str(tmp_path / name))
    return tmp_path


def written(pid: int, start_time: float, started: float) -> None:
    told = {"pid": pid, "start_time": start_time, "hub": "unix:/none", "started": started}
    local.agent_file().write_text(json.dumps(told), encoding="utf-8")


def test_an_agent_that_ended_at_once_says_why(places: Path) -> None:
    written(os.getpid(), 1.0, time.time())  # another process had this pid then
    (endpoint_dir(local.NAME) / "agent.log").write_text("begun\nconfig.py, line 2: there is no such file\n")
    assert local.keep_endpoint() == "its agent ended at once: config.py, line 2: there is no such file"


def test_an_agent_that_runs_has_nothing_to_say(places: Path) -> None:
    import psutil

    written(os.getpid(), psutil.Process().create_time(), time.time() - 31)
    assert local.keep_endpoint() == ""


def test_an_agent_that_has_just_been_started_says_so(places: Path) -> None:
    import psutil

    written(os.getpid(), psutil.Process().create_time(), time.time())
    assert local.keep_endpoint() == "its agent was started a moment ago and is there within 10 s as a rule"


def test_without_a_hub_nothing_is_started(places: Path) -> None:
    assert local.keep_endpoint() is None
