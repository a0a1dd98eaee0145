"""Whether an agent is linked to its hub, and why not: said in its log, and in a file that other programs read."""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path
from typing import Any

import msgspec

__all__ = ["LinkNote", "Linked", "read_link"]

log = logging.getLogger("jupyter_fx.endpoint.agent")


class Linked(msgspec.Struct):
    """`linked` since `since` (seconds since the epoch), or not, and `why`."""

    linked: bool
    why: str = ""
    since: float = 0.0


def _path(home: Path) -> Path:
    return home / "link.json"


def read_link(home: Path) -> Linked | None:
    """What the agent of this directory last said; None when it said nothing yet."""
    try:
        return msgspec.json.decode(_path(home).read_bytes(), type=Linked)
    except (OSError, msgspec.MsgspecError):
        return None


class LinkNote:
    """`look(peer)` now and then, and when the link opens or breaks."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._last: tuple[bool, str] | None = None

    def look(self, peer: Any) -> None:
        """Say what is new."""
        why = "" if peer.is_open else str(peer.error or "")
        if (peer.is_open, why) == self._last or not (peer.is_open or why):
            return
        if peer.is_open:
            log.info("linked to the hub at %s", peer.address)
        else:
            log.warning("not linked to the hub: %s", why)
        self._last = (peer.is_open, why)
        with contextlib.suppress(OSError):
            fresh = self._home / ".link-new"
            fresh.write_bytes(msgspec.json.encode(Linked(peer.is_open, why, time.time())))
            fresh.replace(_path(self._home))
