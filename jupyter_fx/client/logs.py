"""What a task printed, in pieces: as far as the hub keeps it, or all of it, from the endpoint where it ran."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from jupyter_fx.errors import UsageError

if TYPE_CHECKING:
    from jupyter_fx.client.hub import HubClient

__all__ = ["STREAMS", "kept", "whole"]

STREAMS = ("stdout", "stderr")
_PIECE = 256 * 1024


def kept(client: HubClient, task_id: str, stream: str = "") -> Iterator[str]:
    """The text that the hub keeps: its first 256 KiB and its last MiB. Where some is missing the text says so."""
    args: dict[str, Any] = {"task_id": task_id, **({"stream": stream} if stream else {})}
    offset: int | None = 0
    while offset is not None:
        told = client.request("tasks.log", {**args, "offset": offset})
        yield str(told["text"])
        offset = told.get("next")


def whole(client: HubClient, task_id: str, stream: str = "") -> Iterator[str]:
    """All of it, read from the endpoint: one stream, or stdout and after it stderr under a line that says so.

    EndpointUnreachable while the endpoint is offline; UsageError when it has no log of the task (any more).
    """
    found = False
    for name in (stream,) if stream else STREAMS:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        offset, size = 0, 1
        while offset < size:
            args = {"task_id": task_id, "stream": name, "offset": offset, "length": _PIECE}
            told = client.request("tasks.output", args, timeout=60.0)
            data, size = bytes(told["data"]), int(told["size"])
            if not data:
                break
            if not offset and found:
                yield "\n[stderr]\n"
            found = True
            offset += len(data)
            yield decoder.decode(data, final=offset >= size)
    if not found:
        raise UsageError(
            f"the endpoint has no complete log of task {task_id[-8:]}: it printed nothing, or it ended more than 14 "
            "days ago; without --all you see what the fx hub keeps"
        )
