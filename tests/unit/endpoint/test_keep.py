"""What cron and systemd are given to run, where signs in its path mean something to them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from jupyter_fx import paths
from jupyter_fx.endpoint import identity, keep

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="endpoints for others run on Linux")


def test_percent_signs_and_quotes_in_paths_are_written_as_each_of_them_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / 'at "100%"'
    monkeypatch.setenv("JUPYTER_FX_STATE_DIR", str(state))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    identity.save(paths.endpoint_dir("box"), identity.Identity("box", "e" * 32, "secret", "unix:/nowhere"))
    written: list[str] = []
    monkeypatch.setattr(keep, "_crontab_lines", list)
    monkeypatch.setattr(keep, "_crontab", written.extend)
    monkeypatch.setattr(keep, "_systemctl", lambda *_words: None)
    keep.keep("box", "cron")
    assert written[0].startswith(f"*/5 * * * * '{tmp_path}/at \"100\\%\"/endpoints/box/keep.sh' >/dev/null")
    keep.keep("box", "systemd")
    (unit,) = tmp_path.glob("config/systemd/user/*.service")
    assert f'ExecStart="{tmp_path}/at \\"100%%\\"/endpoints/box/keep.sh"\n' in unit.read_text()
