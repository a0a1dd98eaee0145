"""The words of `%fx` that are about tasks: `tasks`, `attach`, `cancel`, `logs`."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from typing import Any

from jupyter_fx.errors import UsageError
from jupyter_fx.ids import short_id
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import CancelMode, Event
from jupyter_fx_kernel.outputs import Outputs
from jupyter_fx_kernel.session import Notebook

__all__ = ["attach", "cancel", "logs", "tasks"]

_LOOK_AGAIN = 0.15
"""Seconds between two looks at a task that `%fx attach` follows."""


def tasks(notebook: Notebook, words: Sequence[str]) -> None:
    """List the newest tasks."""
    limit = int(words[0]) if words and words[0].isdigit() else 20
    rows = notebook.client.request("tasks.list", {"limit": max(1, min(limit, 1000))})["tasks"]
    for info in rows:
        print(_task_line(info))
    if not rows:
        print("no tasks")


def _task_line(info: Mapping[str, Any]) -> str:
    submitted = float(info.get("submitted") or 0)
    when = dt.datetime.fromtimestamp(submitted).astimezone().strftime("%H:%M:%S") if submitted else "        "
    took = ""
    if info.get("started") and info.get("finished"):
        took = f" {float(info['finished']) - float(info['started']):.1f} s"
    why = f" ({info['why']})" if info.get("why") else ""
    return f"{short_id(info['task_id'])}  {when}  {info['state'].lower():<9}{took}  {info.get('name') or ''}{why}"


def _one(notebook: Notebook, words: Sequence[str], verb: str) -> str:
    """The id of the task that is meant: the one named, or the newest cell of this notebook."""
    if len(words) > 1:
        raise UsageError(f"%fx {verb} takes one task id, or none for the newest task")
    if words:
        return str(notebook.client.request("tasks.get", {"task_id": words[0]})["task_id"])
    rows = notebook.client.request("tasks.list", {"limit": 1})["tasks"]
    if not rows:
        raise UsageError(f"%fx {verb}: there are no tasks")
    return str(rows[0]["task_id"])


def attach(notebook: Notebook, words: Sequence[str]) -> None:
    """Tell a task's story from its beginning, and as it goes on. An interrupt leaves; the task goes on.

    It asks for the story again and again instead of listening: whoever listens to the task already goes on doing so.
    """
    task_id = _one(notebook, words, "attach")
    outputs, number = Outputs(notebook.shell), 0
    while True:
        info = notebook.client.request("tasks.get", {"task_id": task_id})
        args = {"task_id": task_id, "from": number, "limit": 1000}
        events = notebook.client.request("tasks.events", args)["events"]
        for n, kind, t, data in events:
            outputs.put(Event(task_id, n, kind, t, data))
            number = n + 1
        outputs.flush()
        if not events:
            if TaskState[info["state"]].terminal:
                break
            time.sleep(_LOOK_AGAIN)
    outputs.flush_result()
    error = info.get("error") or {}
    print(_task_line(info) + (f": {error['etype']}: {error['message']}" if error else ""))


def cancel(notebook: Notebook, words: Sequence[str]) -> None:
    """Cancel a task."""
    task_id = _one(notebook, words, "cancel")
    told = notebook.client.request("tasks.cancel", {"task_ids": [task_id], "mode": int(CancelMode.CANCEL)})
    print(f"cancelling {short_id(task_id)}" if told.get("cancelled") else f"{short_id(task_id)} has already ended")


def logs(notebook: Notebook, words: Sequence[str]) -> None:
    """Print what a task wrote."""
    told = notebook.client.request("tasks.log", {"task_id": _one(notebook, words, "logs")})
    text = str(told.get("text") or "")
    print(text, end="" if text.endswith("\n") else "\n")
    if told.get("dropped"):
        print(f"[{told['dropped']} bytes were dropped from the middle]")
