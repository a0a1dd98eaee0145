from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_fx.client import logins
from jupyter_fx.client.default import configured_token


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_FX_CONFIG_DIR", str(tmp_path))
    for name in ("HUB", "TOKEN", "TOKEN_FILE"):
        monkeypatch.delenv(f"JUPYTER_FX_{name}", raising=False)


def test_the_token_of_the_environments_hub_goes_to_no_other_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_FX_HUB", "https://hub.example.org")
    (tmp_path / "token").write_text("from the file")
    monkeypatch.setenv("JUPYTER_FX_TOKEN_FILE", str(tmp_path / "token"))
    assert configured_token("https://hub.example.org") == "from the file"
    assert not configured_token("https://other.example.org")
    monkeypatch.setenv("JUPYTER_FX_TOKEN", "ours")
    assert configured_token("https://hub.example.org") == "ours"
    assert configured_token() == "ours"
    assert not configured_token("https://other.example.org")
    monkeypatch.delenv("JUPYTER_FX_HUB")
    assert configured_token("https://other.example.org") == "ours"


def test_kept_tokens_are_one_file_per_hub_that_only_its_owner_reads() -> None:
    hubs = (
        "https://hub.example.org",
        "https://hub.example.new",
        "https://hub.example.org:8000",
        "http://hub.example.org",
    )
    for hub in hubs:
        assert logins.keep_token(hub, f"for {hub}").stat().st_mode & 0o777 == 0o600
    assert [logins.kept_token(hub) for hub in hubs] == [f"for {hub}" for hub in hubs]
    assert logins.forget_token(hubs[3])
    assert not logins.kept_token("http://hub.example.org")
    assert logins.kept_token("https://hub.example.org/") == "for https://hub.example.org"
