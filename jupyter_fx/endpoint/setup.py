"""Making, changing and removing the endpoints of this host: what the command line and the Jupyter server both do."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from jupyter_fx import paths
from jupyter_fx.endpoint import configfile, identity
from jupyter_fx.endpoint.schema import Values
from jupyter_fx.endpoint.settings import config_path, load_blocks, load_settings
from jupyter_fx.errors import UsageError
from jupyter_fx.ids import check_name

__all__ = ["create", "enrol", "enrolled", "own_hub"]


def enrolled(name: str) -> bool:
    """Whether there is an endpoint of this name on this host."""
    return identity.load(paths.endpoint_dir(check_name(name, "name of an endpoint"))) is not None


def create(name: str, values: Values, told: Sequence[str], invite: Callable[[], tuple[str, str]]) -> Path:
    """Write the configuration file of a new endpoint and enrol it; the file. Nothing is left of one that failed.

    `invite` gives the address of the hub and a one-use code of it; `told`: comments for the file. UsageError when there
    is one of this name.
    """
    path = config_path(check_name(name, "name of an endpoint"))
    if path.exists() or enrolled(name):
        raise UsageError(f"there is an endpoint {name!r} on this machine already: choose another name, or change it")
    try:
        configfile.make(path, name, values, told)
        enrol(name, *invite())
    except BaseException:
        path.unlink(missing_ok=True)
        if not enrolled(name):
            shutil.rmtree(paths.endpoint_dir(name), ignore_errors=True)
            shutil.rmtree(path.parent, ignore_errors=True)
        raise
    return path


def enrol(name: str, hub: str, code: str) -> None:
    """Redeem a one-use code. HubUnavailable, or the hub's error."""
    path = config_path(name)
    load_settings(path)
    load_blocks(path)
    identity.save(paths.endpoint_dir(name), asyncio.run(identity.enrol(hub, name, code)))


def own_hub(name: str) -> tuple[str, str]:
    """The address of this user's own hub on this machine, started if need be, and a code for an endpoint."""
    from jupyter_fx import embedded
    from jupyter_fx.client.hub import HubClient

    hub = embedded.ensure_hub()
    client = HubClient(hub.address, token=hub.token)
    try:
        return hub.address, client.request("endpoints.code", {"name": name})["code"]
    finally:
        client.close(timeout=0.0)
