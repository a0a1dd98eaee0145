"""Which task is meant: by an id, the end of one, a name, or nothing at all."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from jupyter_fx.errors import UsageError
from jupyter_fx.ids import short_id
from jupyter_fx_kernel.card import duration
from jupyter_fx_kernel.session import Notebook

__all__ = ["STATES", "ago", "choose", "known_names"]

STATES = {
    "running": "RUNNING",
    "waiting": "WAITING,QUEUED,LEASED,ACCEPTED",
    "failed": "FAILED,LOST,EXPIRED,POISONED",
    "done": "SUCCEEDED",
    "cancelled": "CANCELLED",
    "active": "ACTIVE",
}
"""Words for people, and the states that they mean."""


def choose(notebook: Notebook, word: str, verb: str) -> dict[str, Any]:
    """TaskInfo of the task that `word` means; without one, the newest that goes on, this notebook's own first.

    Prints which one it is when that is not plain. Raises UsageError.
    """
    if word:
        return _named(notebook, word, verb)
    for filters in ({"kernel": notebook.kernel_id, "state": "ACTIVE"}, {"state": "ACTIVE"}, {}):
        found = notebook.client.request("tasks.list", {**filters, "limit": 1})["tasks"]
        if found:
            info: dict[str, Any] = notebook.client.request("tasks.get", {"task_id": found[0]["task_id"]})
            return info
    raise UsageError(f"%fx {verb}: there are no tasks")


def _named(notebook: Notebook, word: str, verb: str) -> dict[str, Any]:
    info: dict[str, Any] = notebook.client.request("tasks.get", {"task_id": word})
    if info.get("name") != word or str(info["task_id"]).endswith(word.lower()):
        return info
    more = notebook.client.request("tasks.list", {"name": word, "limit": 2})["tasks"]
    others = [other for other in more if other["task_id"] != info["task_id"] and not _one_map(other, info)]
    if others:
        print(
            f"several tasks are called {word}: %fx {verb} takes the newest, {short_id(info['task_id'])} of "
            f"{ago(info)}; the one before is {short_id(others[0]['task_id'])} of {ago(others[0])}"
        )
    return info


def _one_map(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(one.get("group")) and one["group"] == other.get("group")


def ago(info: Mapping[str, Any]) -> str:
    """How long ago it was submitted."""
    submitted = float(info.get("submitted") or 0)
    return f"{duration(max(0.0, time.time() - submitted))} ago" if submitted else "an unknown time"


def known_names(notebook: Notebook) -> list[str]:
    """Ids and names of the newest tasks, for completion."""
    rows = notebook.client.request("tasks.list", {"limit": 50})["tasks"]
    return [short_id(info["task_id"]) for info in rows] + sorted({info["name"] for info in rows if info["name"]})
