"""Displays that were too large for one event: they come as parts (docs/worker-protocol.md) and are told whole."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from jupyter_fx.protocol.messages import Event, EventKind

__all__ = ["Displays", "whole_events"]


class Displays:
    """Puts the parts of one task's displays together."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def whole(self, event: Event) -> Event | None:
        """The event as it was shown there; None for a part, which the event after the last part completes.

        An event whose parts were not all heard stays what it is: a display of what is small in it.
        """
        data: Any = event.data
        if event.kind != EventKind.DISPLAY or not isinstance(data, dict):
            return event
        if data.get("kind") == "part":
            if isinstance(data.get("bytes"), bytes):
                self._parts.append(data["bytes"])
            return None
        parts, self._parts = self._parts, []
        if data.get("parts") and data["parts"] == len(parts):
            try:
                content = json.loads(b"".join(parts))
            except ValueError:
                return event
            return Event(event.task_id, event.n, event.kind, event.t, {"kind": data.get("kind"), "content": content})
        return event


def whole_events(events: Iterable[Event]) -> Iterator[Event]:
    """The events of one task, its displays whole."""
    displays = Displays()
    for event in events:
        found = displays.whole(event)
        if found is not None:
            yield found
