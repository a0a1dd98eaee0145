"""The endpoints of this machine, as the panel is told of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jupyter_fx import paths
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
