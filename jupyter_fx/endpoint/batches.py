"""Cuts what the agent has to say into messages of a fair size. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from jupyter_fx.endpoint.entry import Entry
from jupyter_fx.endpoint.events import Send
from jupyter_fx.protocol.limits import INLINE_MAX, STREAM_FRAME_MAX
from jupyter_fx.protocol.messages import Held, Inventory, Output, Outputs, Result, Results

__all__ = ["MESSAGE_BYTES", "of_inventory", "of_outputs", "of_results"]

MESSAGE_BYTES: Final = 512 * 1024
"""Bytes of payloads that are put into one message."""
_HELD_PER_MESSAGE: Final = 2000
_ERROR: Final = 40 * 1024
"""Bytes that an error takes at most, about."""


def of_results(results: list[Result]) -> list[Any]:
    """Kept messages whose ack ends the journal's entries."""
    sends: list[Any] = []
    batch: list[Result] = []
    size = 0
    for result in results:
        cost = len(result.payload) + (_ERROR if result.error is not None else 64)
        if batch and size + cost > MESSAGE_BYTES:
            sends.append(Send(Results(batch), keep=True, marks=[one.task_id for one in batch]))
            batch, size = [], 0
        batch.append(result)
        size += cost
    if batch:
        sends.append(Send(Results(batch), keep=True, marks=[one.task_id for one in batch]))
    return sends


def of_outputs(outputs: list[Output]) -> list[Any]:
    """Kept messages, in order."""
    sends: list[Any] = []
    batch: list[Output] = []
    size = 0
    for output in outputs:
        cost = _weight(output.data)
        if batch and size + cost > MESSAGE_BYTES:
            sends.append(Send(Outputs(batch), keep=True))
            batch, size = [], 0
        batch.append(output)
        size += cost
    if batch:
        sends.append(Send(Outputs(batch), keep=True))
    return sends


def of_inventory(inventory: Inventory, entries: Iterable[Entry]) -> list[Any]:
    """The inventory with these tasks, in parts of which the last says so."""
    held = [
        Held(entry.task.task_id, entry.task.owner, entry.task.attempt, entry.task.fence, entry.phase)
        for entry in entries
    ]
    sends: list[Any] = []
    for at in range(0, max(1, len(held)), _HELD_PER_MESSAGE):
        last = at + _HELD_PER_MESSAGE >= len(held)
        part = msgspec.structs.replace(inventory, held=held[at : at + _HELD_PER_MESSAGE], last=last)
        sends.append(Send(part))
    return sends


def _weight(data: Any) -> int:
    """About how many bytes a piece has in a message."""
    if isinstance(data, bytes):
        return len(data) + 64
    if isinstance(data, dict):
        return 64 + sum(_weight(value) + len(str(key)) for key, value in data.items())
    if isinstance(data, str):
        return len(data) + 8
    return 64 + sum(map(_weight, data)) if isinstance(data, list) else 16


assert STREAM_FRAME_MAX < MESSAGE_BYTES >= INLINE_MAX
