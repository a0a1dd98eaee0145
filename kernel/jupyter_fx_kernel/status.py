"""`%fx` and its words."""

from __future__ import annotations

import datetime as dt
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jupyter_fx.errors import UsageError
from jupyter_fx.ids import short_id
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import CancelMode, Event
from jupyter_fx_kernel.outputs import Outputs
from jupyter_fx_kernel.refs import RemoteValue
from jupyter_fx_kernel.session import Notebook

__all__ = ["command"]

_LOOK_AGAIN = 0.15
"""Seconds between two looks at a task that `%fx attach` follows."""


def command(notebook: Notebook, line: str) -> None:
    """Carry out `%fx LINE`; prints. Raises UsageError for a word that is none."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"the line of %fx cannot be read: {error}") from None
    if not words:
        _status(notebook)
        return
    verb, *rest = words
    action = _VERBS.get(verb)
    if action is None:
        raise UsageError(f"%fx {verb}: there is no such command; there are {', '.join(sorted(_VERBS))}, and %fx alone")
    action(notebook, rest)


def _status(notebook: Notebook) -> None:
    client = notebook.client
    who = client.request("whoami", {})
    print(f"hub       {client.address} (version {who.get('version')}), you are {who.get('user')}")
    for endpoint in client.request("endpoints.list", {}):
        chosen = "→" if endpoint["name"] == notebook.endpoint_of("") else " "
        counts = f"{endpoint.get('running', 0)} running, {endpoint.get('queued', 0)} waiting"
        why = f" ({endpoint['why']})" if endpoint.get("why") else ""
        print(f"endpoint {chosen}{endpoint['name']}: {str(endpoint.get('state', '')).lower()}{why}, {counts}")
    _session(notebook, [])


def _use(notebook: Notebook, words: Sequence[str]) -> None:
    if len(words) != 1 or words[0].startswith("-"):
        raise UsageError("%fx use NAME chooses the endpoint of this notebook's remote cells, as in `%fx use local`")
    notebook.check_endpoint(words[0])
    notebook.endpoint = words[0]
    print(f"remote cells of this notebook run on {words[0]}; its session opens with the first one")


def _who(notebook: Notebook, words: Sequence[str]) -> None:
    session = notebook.find("", words[0] if words else "main")
    if session is None:
        print("no session is open, so no variable lives there")
        return
    for name in sorted(session.names):
        value = notebook.shell.user_ns.get(name)
        here = "stays there" if isinstance(value, RemoteValue) else "here and there"
        print(f"{name}  {here}")


def _keep(notebook: Notebook, words: Sequence[str]) -> None:
    """Bring values that stayed home, for a session that ends takes them along."""
    from jupyter_fx_kernel.cell import fetch

    for name in words:
        value = notebook.shell.user_ns.get(name)
        if not isinstance(value, RemoteValue):
            raise UsageError(f"%fx keep {name}: {name} is no remote value of this notebook; `%fx who` lists them")
        place = value._fx_place_
        session = next((s for s in notebook.sessions.values() if s.session_id == place.session), None)
        place.check()
        if session is not None:
            notebook.shell.user_ns[name] = fetch(notebook, session, place.name)
            print(f"{name} is here now")


def _tasks(notebook: Notebook, words: Sequence[str]) -> None:
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


def _attach(notebook: Notebook, words: Sequence[str]) -> None:
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


def _cancel(notebook: Notebook, words: Sequence[str]) -> None:
    task_id = _one(notebook, words, "cancel")
    told = notebook.client.request("tasks.cancel", {"task_ids": [task_id], "mode": int(CancelMode.CANCEL)})
    print(f"cancelling {short_id(task_id)}" if told.get("cancelled") else f"{short_id(task_id)} has already ended")


def _logs(notebook: Notebook, words: Sequence[str]) -> None:
    told = notebook.client.request("tasks.log", {"task_id": _one(notebook, words, "logs")})
    text = str(told.get("text") or "")
    print(text, end="" if text.endswith("\n") else "\n")
    if told.get("dropped"):
        print(f"[{told['dropped']} bytes were dropped from the middle]")


def _session(notebook: Notebook, words: Sequence[str]) -> None:
    if words:
        raise UsageError(
            "%fx session takes no argument; `%%remote --session NAME` opens a second one, `%fx close NAME` closes it"
        )
    if not notebook.sessions:
        print("session   none yet: the first %%remote cell opens it")
    for session in notebook.sessions.values():
        info = session.handle.info
        state = session.gone or session.handle.state.name.lower()
        python = (
            ".".join(map(str, info["python"][:3]))
            if isinstance(info.get("python"), list | tuple)
            else info.get("python")
        )
        details = [
            f"python {python}" if python else "",
            f"pid {info['pid']}" if info.get("pid") else "",
            str(info.get("cwd") or ""),
        ]
        told = ", ".join(part for part in details if part)
        counts = f"{session.cells} cells, {len(session.names)} variables"
        print(f"session   {session.name} on {session.endpoint}: {state}, {counts}; {told}")


def _close(notebook: Notebook, words: Sequence[str]) -> None:
    kill = "--kill" in words
    names = [word for word in words if word != "--kill"]
    session = notebook.close("", names[0] if names else "main", kill=kill)
    print(f"session {session.name} on {session.endpoint} closed; {len(session.names)} variables are gone there")


_VERBS: dict[str, Callable[[Notebook, Sequence[str]], None]] = {
    "attach": _attach,
    "cancel": _cancel,
    "close": _close,
    "keep": _keep,
    "logs": _logs,
    "session": _session,
    "tasks": _tasks,
    "use": _use,
    "who": _who,
}
