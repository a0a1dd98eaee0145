"""What endpoints are called: outcomes, and the errors that are made of them, hold ids."""

from __future__ import annotations

from concurrent.futures import CancelledError
from typing import Final

from jupyter_fx.client.register import all_clients
from jupyter_fx.errors import FxError

__all__ = ["name_of_endpoint"]

_WITHIN: Final = 2.0
"""Seconds that a hub has for an answer: who asks is about to show an error."""

_names: dict[str, str] = {}


def name_of_endpoint(endpoint_id: str) -> str:
    """The name of the endpoint of that id, asked once of the hubs that this process has links to; empty: none of them
    can tell it now. Starts no hub."""
    found = _names.get(endpoint_id, "")
    if found or not endpoint_id:
        return found
    for client in all_clients():
        if not client.connected:
            continue
        try:
            asked = client.ask("endpoints.get", {"name": endpoint_id}, timeout=_WITHIN)
            found = str(asked.result(2 * _WITHIN)["name"])
        except (FxError, TimeoutError, CancelledError):
            continue
        _names[endpoint_id] = found
        return found
    return ""
