"""docs/jupyterlab.md names every setting with its default, and every shortcut."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "labextension" / "schema" / "settings.json").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs" / "jupyterlab.md").read_text(encoding="utf-8")


def test_every_setting_is_documented_with_its_default() -> None:
    told = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", PAGE, re.MULTILINE))
    defaults = {name: one["default"] for name, one in SCHEMA["properties"].items()}
    assert told == {name: "empty" if value == "" else json.dumps(value) for name, value in defaults.items()}


def test_every_shortcut_is_documented() -> None:
    keys = {one["keys"][0].replace("Accel", "Ctrl").replace(" ", "+") for one in SCHEMA["jupyter.lab.shortcuts"]}
    assert set(re.findall(r"^\|[^|]+\| ((?:Ctrl|Alt)\+\S+) \|", PAGE, re.MULTILINE)) == keys
