"""The endpoints of this machine, as the panel is told of them."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest

from jupyter_fx import paths
from jupyter_fx.endpoint import scheduler
from jupyter_fx.server.agents import Agents


def test_one_that_is_damaged_says_so_and_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_FX_STATE_DIR", str(tmp_path))
    for name, file, text in (
        ("well", "identity.json", json.dumps({"endpoint_id": "0" * 32, "hub": "https://hub"})),
        ("torn", "identity.json", "{"),
        ("far", "ssh.json", "{"),
    ):
        home = paths.endpoint_dir(name)
        home.mkdir(parents=True, exist_ok=True)
        (home / file).write_text(text)
    told = {one["name"]: one for one in Agents().here()}
    assert set(told) == {"far", "torn", "well"}
    assert told["well"]["hub"] == "https://hub"
    assert "damaged" in told["torn"]["last"]
    assert "damaged" in told["far"]["last"]


def test_a_scheduler_that_is_slow_is_asked_once_by_all_who_type_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, answer, asked = threading.Event(), threading.Event(), []

    def ask() -> None:
        asked.append(1)
        begun.set()
        answer.wait(30)

    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/sinfo")
    monkeypatch.setattr(scheduler, "ask_slurm", ask)
    agents, inside = Agents(), threading.Semaphore(0)

    def check() -> None:
        inside.release()
        agents.problems({})

    threads = [threading.Thread(target=check) for _ in range(4)]
    try:
        threads[0].start()
        assert begun.wait(30)
        for one in threads[1:]:
            one.start()
        for _ in threads:
            inside.acquire()
    finally:
        answer.set()
        for one in threads:
            one.join(30)
    assert len(asked) == 1
