"""The clients of this process: who ends a program, or forks, must know them all."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jupyter_fx.client.core import Core
    from jupyter_fx.client.hub import HubClient

__all__ = ["abandon", "add", "all_clients"]

_clients: weakref.WeakSet[HubClient] = weakref.WeakSet()
_abandoned: list[Core] = []


def add(client: HubClient) -> None:
    """There is another one."""
    _clients.add(client)


def all_clients() -> list[HubClient]:
    """The clients of this process that were not closed."""
    return [client for client in _clients if not client.closed]


def abandon(core: Core) -> None:
    """In a forked child: keep the parent's link from being destroyed."""
    _abandoned.append(core)


def _forked() -> None:
    for client in list(_clients):
        client.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
