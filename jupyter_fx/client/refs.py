"""Ref: a handle to a value that stays where it was made."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jupyter_fx import payload
from jupyter_fx.protocol.messages import BlobRef, RefInfo, TaskOptions

if TYPE_CHECKING:
    from jupyter_fx.client.hub import HubClient

__all__ = ["Ref", "ref"]


class Ref:
    """A value at an endpoint. It may stand anywhere in the arguments of a remote call; `get()` brings the value home.

    `size` is its bytes, `summary` what is known of it (type, shape …); `drop()` lets it be forgotten there.
    """

    _fx_handle_ = True

    def __init__(self, task_id: str, *, client: HubClient, info: RefInfo) -> None:
        self.task_id = task_id
        self.ref_id = info.ref_id
        self.endpoint_id = info.endpoint_id
        self.size = info.size
        self.summary = dict(info.summary)
        self._client = client

    def get(self, timeout: float | None = 600.0) -> Any:
        """Fetch the value. RefLost when it is gone, EndpointUnreachable when nobody can tell."""
        found = self._client.request("refs.fetch", {"ref_id": self.ref_id}, timeout=timeout)
        digest, size = (found["digest"], found["size"]) if isinstance(found, dict) else found
        return payload.decode_value(self._client.fetch(BlobRef(digest, size)))

    def drop(self) -> None:
        """Let the endpoint forget the value."""
        self._client.request("refs.drop", {"ref_id": self.ref_id})

    def __reduce_ex__(self, _protocol: Any) -> Any:
        return payload.as_input(self.task_id, "a Ref")

    def __repr__(self) -> str:
        kind = self.summary.get("type", "value")
        return f"<Ref {self.ref_id[-8:]} {kind} of {self.size:,} bytes>"


@functools.cache
def _keep() -> Callable[[Any], Any]:
    def keep(value: Any) -> Any:
        return value

    return keep


def ref(value: Any, endpoint: str = "", *, client: HubClient | None = None) -> Any:
    """Bring `value` to an endpoint once, to be passed to many calls there; a Ref, or the value when it is too
    small to matter.

    It is kept as the result of a task that returns its argument and whose result may not come home.
    """
    from jupyter_fx.client.default import default_client

    client = client or default_client()
    future = client.submit_call(_keep(), (value,), endpoint=endpoint, options=TaskOptions(name="fx.ref", result_max=1))
    return future.result()
