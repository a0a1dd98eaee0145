"""What a task printed, in pieces: as far as the hub keeps it, or all of it, from the endpoint where it ran."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jupyter_fx.errors import UsageError

if TYPE_CHECKING:
    from jupyter_fx.client.hub import HubClient

__all__ = ["FAR", "STREAMS", "Reading", "kept", "whole"]

STREAMS = ("stdout", "stderr")
FAR = 60.0
"""Seconds for a piece that the hub has to ask the endpoint for: it gives up on that sooner, and says why."""
_PIECE = 256 * 1024


class Reading:
    """The complete text, without I/O: ask the hub `tasks.output` with what `asks` returns, and `take` the answer.

    stdout, after it stderr under a line that says so. Of each stream at most about `most` bytes; 0: all.
    """

    def __init__(self, task_id: str, streams: Sequence[str] = STREAMS, most: int = 0) -> None:
        self.found = False
        """Whether there was any text."""
        self._task_id, self._most = task_id, most
        self._left = list(streams)
        self._begin()

    def _begin(self) -> None:
        self._offset = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def asks(self) -> dict[str, Any] | None:
        """The next question; None: that was all."""
        if not self._left:
            return None
        return {"task_id": self._task_id, "stream": self._left[0], "offset": self._offset, "length": _PIECE}

    def take(self, told: Mapping[str, Any]) -> str:
        """The text of an answer."""
        data, size = bytes(told["data"]), int(told["size"])
        heading = "\n[stderr]\n" if data and not self._offset and self.found else ""
        self.found = self.found or bool(data)
        self._offset += len(data)
        text = heading + self._decoder.decode(data, final=self._offset >= size)
        more = size - self._offset
        if more > 0 and self._most and self._offset >= self._most:
            text += f"\n[{more:,} bytes more: `jupyter fx logs --all` prints them]\n"
        elif more > 0 and data:
            return text
        self._left.pop(0)
        self._begin()
        return text


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
    reading = Reading(task_id, (stream,) if stream else STREAMS)
    while (args := reading.asks()) is not None:
        yield reading.take(client.request("tasks.output", args, timeout=FAR))
    if not reading.found:
        raise UsageError(
            f"the endpoint has no complete log of task {task_id[-8:]}: it printed nothing, or it ended more than 14 "
            "days ago; without --all you see what the fx hub keeps"
        )
