"""What a task or session says about how a batch system is asked for its nodes: an account, a partition, and so on.

It travels as one canonical text, ``account=physics;partition=gpu`` (in the order of `WORDS`), so that equal choices are
equal texts; the empty text chooses nothing, and the endpoint's own settings hold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from jupyter_fx.errors import UsageError

__all__ = ["WORDS", "chosen", "offered", "text_of"]

WORDS: Final = ("account", "partition", "qos", "constraint", "reservation", "walltime")
"""What can be chosen."""
_VALUE: Final = re.compile(r"[\w.:+@/%&|*!\[\]()-]{1,200}")
"""No blanks, quotes, commas, equal signs: it is a word of a script's directive and a part of a shape key."""
_WALLTIME: Final = re.compile(r"\d{1,5}:[0-5]\d:[0-5]\d")
_FEATURE: Final = re.compile(r"[A-Za-z_][\w.-]*")


def text_of(choice: Mapping[str, str]) -> str:
    """The text of a choice; empty values choose nothing. UsageError for a value that cannot be one."""
    for word in choice:
        if word not in WORDS:
            raise UsageError(f"an allocation has no {word!r}; there are {', '.join(WORDS)}")
    for word, value in choice.items():
        if value and not _VALUE.fullmatch(value):
            raise UsageError(f"{word} must be one word without blanks, commas or quotes: {value[:60]!r}")
    walltime = choice.get("walltime", "")
    if walltime and not _WALLTIME.fullmatch(walltime):
        raise UsageError(f"walltime is HH:MM:SS, such as 01:30:00, not {walltime!r}")
    return ";".join(f"{word}={choice[word]}" for word in WORDS if choice.get(word))


def chosen(text: str) -> dict[str, str]:
    """What a text chooses. UsageError for one that `text_of` does not make."""
    pairs = [part.partition("=") for part in text.split(";")] if text else []
    found = {word: value for word, _, value in pairs}
    if text_of(found) != text:
        raise UsageError(f"{text[:80]!r} chooses no allocation")
    return found


def offered(text: str, offers: Mapping[str, Any], scheduler: str) -> str:
    """Why `scheduler` does not offer what a text chooses, with what it does; empty when it does, or nobody knows.

    `offers`: for each word those values that can be had; a word that is not in it is not known.
    """
    for word, value in chosen(text).items():
        there = offers.get(word)
        if there is None or word == "walltime":
            continue
        asked = _FEATURE.findall(value) if word == "constraint" else [value]
        for one in asked:
            if one not in there:
                return _not_there(word, one, there, scheduler)
    return ""


def _not_there(word: str, value: str, there: Sequence[str], scheduler: str) -> str:
    what = {
        "account": f"{scheduler} lets you charge no account",
        "partition": f"{scheduler} has no partition",
        "qos": f"{scheduler} lets you use no qos",
        "constraint": f"{scheduler} has no nodes with the feature",
        "reservation": f"{scheduler} has no reservation",
    }[word]
    return f"{what} {value!r}; there are {', '.join(sorted(there))}" if there else f"{what} {value!r}; there are none"
