"""Tokens that `jupyter fx login` kept: one 0600 file per hub in the configuration directory."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from jupyter_fx.errors import UsageError
from jupyter_fx.paths import config_dir, private_dir

__all__ = ["forget_token", "keep_token", "kept_token", "sign_in", "token_file"]

TRY_FOR: Final = 8.0
"""Seconds that a hub is given to welcome who signs in: somebody waits for it."""


def token_file(url: str) -> Path:
    """Where the token for the hub at `url` is kept. One that was kept for https is not found for plain http."""
    scheme, _, rest = url.partition("://")
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", rest.rstrip("/") or url)[:150]
    return private_dir(config_dir() / "tokens") / (f"plain_{name}" if scheme in {"http", "ws"} else name)


def keep_token(url: str, token: str) -> Path:
    """Keep a token; returns its file."""
    path = token_file(url)
    # Not another suffix: that may be the name of another hub.
    fresh = path.with_name(f".{path.name}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(token + "\n")
    fresh.replace(path)
    return path


def kept_token(url: str) -> str:
    """The token that was kept for the hub at `url`, or ""."""
    try:
        return token_file(url).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def sign_in(url: str, token: str | None = None) -> str:
    """Try a token at the hub at `url`, or (None) the one that was kept; keep it; who we are there.

    UsageError when there is none, or when it would be readable on its way; HubUnavailable or AuthError, and nothing is
    kept, when the hub does not take it.
    """
    from jupyter_fx.client.hub import HubClient

    if _readable_on_its_way(url):
        raise UsageError(
            f"a token sent to {url} could be read by anyone on the way: sign in at its https:// address "
            "(http:// is for a hub on this machine, such as http://127.0.0.1:8000)"
        )
    tried = kept_token(url) if token is None else token
    if not tried:
        raise UsageError("no token was given; your fx hub's page, or its administrator, has one for you")
    client = HubClient(url, token=tried, timeout=TRY_FOR)
    try:
        user = client.user
    finally:
        client.close(timeout=0.0)
    if token:
        keep_token(url, token)
    return user


def _readable_on_its_way(url: str) -> bool:
    """Whether what is sent there leaves this machine unencrypted."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "ws"}:
        return False
    host = parts.hostname or ""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost" and not host.endswith(".localhost")


def forget_token(url: str) -> bool:
    """Remove it; whether there was one."""
    try:
        token_file(url).unlink()
    except FileNotFoundError:
        return False
    return True
