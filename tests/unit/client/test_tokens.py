from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_fx.client import logins
from jupyter_fx.client.default import configured_token
from jupyter_fx.errors import HubUnavailable, UsageError


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


@pytest.mark.parametrize("hub", ["http://hub.example.org", "ws://10.1.2.3:8000/fx", "http://127.0.0.1.example.org"])
def test_no_token_is_sent_where_anyone_on_the_way_could_read_it(hub: str) -> None:
    logins.keep_token(hub, "kept before")
    for token in ("secret", None):
        with pytest.raises(
            UsageError, match=r"could be read by anyone on the way: sign in at its https:// address"
        ) as no:
            logins.sign_in(hub, token)
        assert "secret" not in str(no.value)


@pytest.mark.parametrize("hub", ["http://127.0.0.1:9", "http://[::1]:9", "http://localhost:9", "https://localhost:9"])
def test_on_this_machine_plain_http_is_tried(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "TRY_FOR", 0.3)
    with pytest.raises(HubUnavailable):
        logins.sign_in(hub, "secret")
