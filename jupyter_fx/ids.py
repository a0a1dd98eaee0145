"""Identifiers: made here and nowhere else."""

from __future__ import annotations

import os
import re
import time

from jupyter_fx.errors import UsageError

__all__ = ["check_name", "is_id", "new_id", "short_id"]

_ID = re.compile(r"[0-9a-f]{32}")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


# Random bytes are fetched for many ids at once: the system call costs ten times what the rest of an id does. A forked
# child must not use its parent's.
_tails: list[str] = []
_BATCH = 256
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_tails.clear)


def new_id() -> str:
    """A UUIDv7 (RFC 9562 §5.7) as 32 lower-case hexadecimal digits. An id, never an order."""
    try:
        tail = _tails.pop()
    except IndexError:
        fresh = _fresh_tails()
        tail = fresh.pop()
        _tails.extend(fresh)
    return f"{(time.time_ns() // 1_000_000) & 0xFFFF_FFFF_FFFF:012x}{tail}"


def _fresh_tails() -> list[str]:
    """What follows the time in an id: version 7, 12 random bits, variant 0b10, 62 random bits."""
    drawn = os.urandom(10 * _BATCH).hex()
    return [
        f"7{drawn[at : at + 3]}{'89ab'[int(drawn[at + 3], 16) & 3]}{drawn[at + 4 : at + 19]}"
        for at in range(0, len(drawn), 20)
    ]


def is_id(text: str) -> bool:
    """Whether `text` has the form of an id."""
    return _ID.fullmatch(text) is not None


def short_id(full: str) -> str:
    """The last 8 digits, for people: the first ones are a time and the same for everything made in one minute."""
    return full[-8:]


def check_name(name: str, what: str = "name") -> str:
    """Return `name` if it may name an endpoint or a session, else raise UsageError saying what may."""
    if _NAME.fullmatch(name):
        return name
    raise UsageError(
        f"{name[:80]!r} cannot be the {what}: use 1 to 63 lower-case letters, digits and hyphens, "
        "beginning with a letter or digit"
    )
