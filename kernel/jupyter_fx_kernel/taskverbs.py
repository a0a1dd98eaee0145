"""The words of `%fx` that are about tasks: `tasks`, `cancel`, `logs`. (`attach` has a module of its own.)"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from jupyter_fx.client import logs as client_logs
from jupyter_fx.client.titles import name_of_task
from jupyter_fx.errors import UsageError
from jupyter_fx.ids import short_id
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import CancelMode
from jupyter_fx_kernel.attachmaps import tasks_of
from jupyter_fx_kernel.card import duration
from jupyter_fx_kernel.choosing import STATES, ago, choose
from jupyter_fx_kernel.endings import close_line
from jupyter_fx_kernel.options import Parser
from jupyter_fx_kernel.session import Notebook

__all__ = ["WORDS", "cancel", "debug", "logs", "tasks"]

WORDS = (*STATES, "--mine", "--limit")
"""What may follow `%fx tasks`."""
_BAD = {
    "cancelled": {TaskState.CANCELLED},
    "failed": {state for state in TaskState if state.terminal} - {TaskState.SUCCEEDED, TaskState.CANCELLED},
}
"""How a task that did not succeed is counted among those of its map; what comes first decides how the map is called."""
_ASKED_MAX = 200
_WHY = 60
_NAME = 32


def tasks(notebook: Notebook, words: Sequence[str]) -> None:
    """Show the newest tasks: `%fx tasks [running|waiting|failed|done|cancelled|active|STATE] [N] [--mine]`."""
    parser = Parser(prog="%fx tasks", add_help=False, allow_abbrev=False)
    parser.add_argument("words", nargs="*", default=[])
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--mine", "--here", action="store_true")
    asked = parser.parse_args(words)
    wanted, limit = _filters(asked)
    limit = max(1, min(limit, 200))
    # The chunks of a map are tasks too, and one row here.
    args: dict[str, Any] = {"limit": _ASKED_MAX, "details": True}
    if wanted:
        args["state"] = wanted
    if asked.mine:
        args["kernel"] = notebook.kernel_id
    rows = _as_rows(notebook, notebook.client.request("tasks.list", args)["tasks"])[:limit]
    print(_table([("task", "state", "submitted", "ran", "cell", "name", ""), *rows]) if rows else "no tasks")


def _filters(asked: argparse.Namespace) -> tuple[str, int]:
    """(states as the hub wants them, how many)."""
    states: list[str] = []
    limit = asked.limit
    for word in asked.words:
        low = word.lower()
        if word.isdigit():
            limit = int(word)
        elif low in STATES:
            states.append(STATES[low])
        elif word.upper() in TaskState.__members__:
            states.append(word.upper())
        else:
            raise UsageError(f"%fx tasks {word}: say one of {', '.join(STATES)}, a number, or --mine")
    return ",".join(states), limit


def _as_rows(notebook: Notebook, infos: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """One row a task; the tasks of a map are one row together."""
    rows: list[tuple[str, ...]] = []
    known: dict[str, str] = {}
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for info in infos:
        if info.get("group"):
            groups.setdefault(info["group"], []).append(info)
    for info in infos:
        group = groups.get(info.get("group") or "")
        if group is not None and group[0] is not info:
            continue
        named = {**info, "name": name_of_task(notebook.client, info, known)}
        if group is None:
            rows.append(_row(notebook, named))
        else:
            whole = notebook.client.request("tasks.list", {"group": info["group"], "limit": 1000})["tasks"]
            rows.append(_map_row(named, whole or group))
    return rows


def _row(notebook: Notebook, info: Mapping[str, Any]) -> tuple[str, ...]:
    origin = info.get("origin") or {}
    cell = f"In[{origin['cell']}]" if origin.get("cell") else ""
    if cell and origin.get("kernel_id") != notebook.kernel_id:
        cell += " elsewhere"
    return (
        short_id(info["task_id"]),
        str(info.get("shown") or info["state"]).lower(),
        ago(info),
        _ran(info),
        cell or str(info.get("kind") or ""),
        _cut(str(info.get("name") or ""), _NAME),
        _cut(_why(info), _WHY),
    )


def _map_row(info: Mapping[str, Any], group: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    states = [TaskState[one["state"]] for one in group]
    live = sum(not state.terminal for state in states)
    counts = {word: sum(state in meant for state in states) for word, meant in _BAD.items()}
    # An item whose call raised does not fail the task that it travelled in.
    raised = sum(int(one.get("failed") or 0) for one in group)
    state = "running" if live else next((word for word, found in counts.items() if found), "succeeded")
    if state == "succeeded" and raised:
        state = "failed"
    told = [f"{len(states) - live} of {len(states)} tasks done"]
    told += [f"{found} {word}" for word, found in counts.items() if found]
    items = sum(int(one.get("items") or 0) for one in group)
    told.append(f"{items} items" + (f", {raised} of them failed" if raised else ""))
    name = _cut(str(info.get("name") or ""), _NAME)
    return short_id(info["task_id"]), state, ago(group[-1]), "", "map", name, ", ".join(told)


def _why(info: Mapping[str, Any]) -> str:
    error = info.get("error") or {}
    if error.get("etype") and info["state"] != "CANCELLED":
        return f"{error['etype']}: {error.get('message', '')}".splitlines()[0]
    return str(error.get("message") or info.get("why") or "")


def _ran(info: Mapping[str, Any]) -> str:
    started, finished = float(info.get("started") or 0), float(info.get("finished") or 0)
    return duration(finished - started) if started and finished >= started else ""


def _cut(text: str, limit: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 2] + " …"


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]) - 1)]
    return "\n".join(
        "  ".join([*(part.ljust(width) for part, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    )


def cancel(notebook: Notebook, words: Sequence[str]) -> None:
    """Stop tasks: `%fx cancel [ID|NAME …]`, `--all` of this notebook; of a map all that has not ended."""
    parser = Parser(prog="%fx cancel", add_help=False, allow_abbrev=False)
    parser.add_argument("tasks", nargs="*", default=[])
    parser.add_argument("--all", action="store_true")
    asked = parser.parse_args(words)
    if asked.all and asked.tasks:
        raise UsageError("%fx cancel --all takes no task: it cancels everything of this notebook that has not ended")
    if asked.all:
        found = notebook.client.request("tasks.list", {"kernel": notebook.kernel_id, "state": "ACTIVE", "limit": 1000})[
            "tasks"
        ]
        if not found:
            print("nothing of this notebook runs or waits")
        _cancel(notebook, found)
        return
    for word in asked.tasks or [""]:
        info = choose(notebook, word, "cancel")
        _cancel(notebook, tasks_of(notebook, info["group"]) if _is_map(info) else [info])


def debug(notebook: Notebook, words: Sequence[str]) -> None:
    """Have remote cells that fail send the reprs of their values, for `%debug`: `%fx debug [on|off]`."""
    if len(words) > 1 or any(word not in {"on", "off"} for word in words):
        raise UsageError("%fx debug takes `on`, `off` or nothing")
    if words:
        notebook.debug = words[0] == "on"
    print(
        "remote cells that fail send the reprs of the values in their frames (short, secrets by name left out), which "
        "are kept with the task; %debug shows them"
        if notebook.wants_values()
        else "remote cells that fail send no values; `%fx debug on` or `%xmode Verbose` changes that"
    )


def _is_map(info: Mapping[str, Any]) -> bool:
    return info["kind"] == "map" and bool(info.get("group"))


def _cancel(notebook: Notebook, infos: Sequence[Mapping[str, Any]]) -> None:
    """Ask for an end, and say what was asked for."""
    live = [info for info in infos if not TaskState[info["state"]].terminal]
    if not live:
        for info in infos[:1]:
            print(f"{_named(info)} has already ended: {info['state'].lower()}")
        return
    args = {
        "task_ids": [info["task_id"] for info in live],
        "mode": int(CancelMode.CANCEL),
        "reason": "you cancelled it",
    }
    refused = notebook.client.request("tasks.cancel", args).get("refused", {})
    for why in sorted(set(refused.values())):
        print(f"{len(refused)} of {len(live)}: {why}")
    live = [info for info in live if info["task_id"] not in refused]
    if _is_map(live[0]):
        print(f"cancelling {len(live)} tasks of the map {live[0].get('name') or ''}".rstrip())
        return
    for info in live:
        print(_cancelling(notebook, info))


def _cancelling(notebook: Notebook, info: Mapping[str, Any]) -> str:
    if info["state"] in {"WAITING", "QUEUED"}:
        return f"{_named(info)} was cancelled before it started"
    if not info.get("session_id"):
        return f"{_named(info)} is interrupted; if it takes no notice, SIGTERM follows after 5 s and SIGKILL after 10 s"
    session = next((s for s in notebook.sessions.values() if s.session_id == info["session_id"]), None)
    last = f"; {close_line(session)} if it takes no notice" if session is not None else ""
    return f"{_named(info)} is interrupted, its session keeps its variables{last}"


def _named(info: Mapping[str, Any]) -> str:
    return f"{short_id(info['task_id'])} ({info.get('name') or info['kind']})"


def logs(notebook: Notebook, words: Sequence[str]) -> None:
    """Print what a task printed; `--all` fetches what the hub did not keep from the endpoint."""
    parser = Parser(prog="%fx logs", add_help=False, allow_abbrev=False)
    parser.add_argument("task", nargs="?", default="")
    parser.add_argument("--all", action="store_true")
    asked = parser.parse_args(words)
    info = choose(notebook, asked.task, "logs")
    read = client_logs.whole if asked.all else client_logs.kept
    last = "\n"
    for piece in read(notebook.client, info["task_id"]):
        print(piece, end="")
        last = piece[-1:] or last
    if last != "\n":
        print()
    if info["state"] in {"FAILED", "LOST", "POISONED"} and info.get("endpoint"):
        line = f"jupyter fx endpoint logs {info['endpoint']} --task {short_id(info['task_id'])}"
        print(f"[where it ran: what agent, manager and container wrote is shown on the endpoint's host by `{line}`]")
