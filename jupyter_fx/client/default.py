"""The client of who does not make one: by environment, else by whoever can find or start a hub (the embedded one)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jupyter_fx.client.futures import OnEvent
from jupyter_fx.client.hub import HubClient
from jupyter_fx.client.listeners import Listener
from jupyter_fx.errors import AuthError, HubUnavailable, UsageError
from jupyter_fx.protocol.messages import Watch

__all__ = ["Address", "attach", "connect", "default_client", "disconnect", "endpoints", "finder", "tasks"]


class Address(NamedTuple):
    """Where a hub is, and how to keep it: see HubClient."""

    url: str
    token: str = ""
    endpoint: str = ""
    revive: Callable[[], None] | None = None
    keeper: Callable[[], str | None] | None = None


finder: Callable[[], Address] | None = None
"""Finds or starts a hub when nothing is configured; `jupyter_fx` puts the embedded one here."""

_lock = threading.RLock()
_client: HubClient | None = None


def configured() -> Address | None:
    """What JUPYTER_FX_HUB, JUPYTER_FX_TOKEN, JUPYTER_FX_TOKEN_FILE and JUPYTER_FX_ENDPOINT say; None when no hub
    is named."""
    url = os.environ.get("JUPYTER_FX_HUB", "")
    if not url:
        return None
    return Address(url, configured_token(url), os.environ.get("JUPYTER_FX_ENDPOINT", ""))


def configured_token(url: str = "") -> str:
    """The token of the environment: JUPYTER_FX_TOKEN, else the content of JUPYTER_FX_TOKEN_FILE, else what
    `jupyter fx login` kept. What the environment holds for the hub that it names goes to no other address."""
    ours = os.environ.get("JUPYTER_FX_HUB") in {None, "", url} or not url
    if ours and (token := os.environ.get("JUPYTER_FX_TOKEN")):
        return token
    if ours and (named := os.environ.get("JUPYTER_FX_TOKEN_FILE")):
        try:
            return Path(named).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise AuthError(
                f"the token file {named} (JUPYTER_FX_TOKEN_FILE) cannot be read: {error.strerror}"
            ) from error
    if url and not url.startswith("unix:"):
        from jupyter_fx.client.logins import kept_token

        return kept_token(url)
    return ""


def connect(url: str | None = None, token: str | None = None, *, endpoint: str | None = None) -> HubClient:
    """The client of this process: made when there is none, or when `url` names another hub than its own.

    Without `url`: the hub of JUPYTER_FX_HUB, else the embedded hub, started if need be.
    """
    global _client  # noqa: PLW0603 one per process, by design
    with _lock:
        if _client is not None and _client.usable and url in {None, _client.address} and token is None:
            if endpoint is not None:
                _client.endpoint = endpoint
            return _client
        if url is None:
            address = configured()
            if address is None:
                if finder is None:
                    raise HubUnavailable("no fx hub is named: set JUPYTER_FX_HUB or give fx.connect its address")
                address = finder()
        else:
            address = Address(
                url, configured_token(url) if token is None else token, os.environ.get("JUPYTER_FX_ENDPOINT", "")
            )
        fresh = HubClient(
            address.url,
            token=address.token,
            endpoint=address.endpoint if endpoint is None else endpoint,
            revive=address.revive,
            keeper=address.keeper,
        )
        _client = fresh
        return fresh


def default_client() -> HubClient:
    """The client of this process, made if need be."""
    client = _client
    return client if client is not None and client.usable else connect()


def disconnect() -> None:
    """Close the client of this process. Its tasks go on; `attach` finds them again."""
    global _client  # noqa: PLW0603
    with _lock:
        if _client is not None:
            _client.close()
        _client = None


def attach(task_id: str, *, watch: int = Watch.STATES, on_event: OnEvent | None = None) -> Listener:
    """A future for a task submitted before, perhaps by another process: an id, its last digits, or its name.

    Its `attach()` prints what the task tells, from the beginning until it is done. Of a notebook cell `result()` is the
    value of its last expression, and `names()` what it assigned.
    """
    return default_client().attach(task_id, watch=watch, on_event=on_event)


def tasks(state: str | None = None, limit: int = 100, **filters: Any) -> list[dict[str, Any]]:
    """The newest tasks of ours, as dictionaries (docs/wire-protocol.md, TaskInfo); `state` is the name of one."""
    args: dict[str, Any] = {"limit": limit, **filters}
    if state is not None:
        args["state"] = state.upper()
    found: list[dict[str, Any]] = default_client().request("tasks.list", args)["tasks"]
    return found


def endpoints() -> list[dict[str, Any]]:
    """The endpoints that we may use, as dictionaries (docs/wire-protocol.md, EndpointInfo)."""
    found = default_client().request("endpoints.list")
    if not isinstance(found, list):
        raise UsageError("the hub answered no list of endpoints")
    return found


def _forget_lock() -> None:
    global _lock  # noqa: PLW0603
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_lock)
