"""`jupyter fx tasks`, `logs`, `cancel`."""

from __future__ import annotations

import datetime as dt
import sys
from typing import Any

from traitlets import Bool, CaselessStrEnum, Int, Unicode

from jupyter_fx.cli.base import ClientCommand, json_flag, nearest, table
from jupyter_fx.client import logs
from jupyter_fx.client.titles import name_of_task
from jupyter_fx.errors import UsageError
from jupyter_fx.ids import short_id
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import CancelMode, Event, EventKind

__all__ = ["CancelApp", "LogsApp", "TasksApp"]

_STATES = [state.name for state in TaskState]


class TasksApp(ClientCommand):
    """jupyter fx tasks [STATE]: your tasks at the fx hub, newest first."""

    name = "jupyter-fx-tasks"
    description = "List your tasks at the fx hub, newest first; with STATE only those in it (say running)."
    arguments = ("[STATE]",)
    limit = Int(30, min=1, max=1000, help="How many.").tag(config=True)
    aliases = {"hub": "TasksApp.hub", "limit": "TasksApp.limit"}
    flags = json_flag("TasksApp")

    def start(self) -> None:
        """Print them."""
        args: dict[str, Any] = {"limit": self.limit}
        if state := self.argument(0, ""):
            if state.upper() not in _STATES:
                raise UsageError(f"{state!r} is no state of a task{nearest(state.upper(), _STATES)}")
            args["state"] = state.upper()
        client = self.client
        known: dict[str, str] = {}
        try:
            found = client.request("tasks.list", args)["tasks"]
            for info in found:
                info["name"] = name_of_task(client, info, known)
        finally:
            client.close(timeout=0.0)
        rows = [
            (
                short_id(info["task_id"]),
                info.get("state"),
                info.get("kind"),
                (info.get("name") or "")[:40],
                info.get("endpoint"),
                _time(info.get("submitted")),
                _seconds(info),
                (info.get("why") or "")[:80],
            )
            for info in found
        ]
        self.say(found, table(rows, ("task", "state", "kind", "name", "endpoint", "submitted", "ran", "why")))


def _time(seconds: float | None) -> str:
    if not seconds:
        return ""
    return dt.datetime.fromtimestamp(seconds, tz=dt.UTC).astimezone().strftime("%d %b %H:%M:%S")


def _seconds(info: dict[str, Any]) -> str:
    started, finished = info.get("started"), info.get("finished")
    return f"{finished - started:.3g} s" if started and finished else ""


class LogsApp(ClientCommand):
    """jupyter fx logs TASK: what a task printed."""

    name = "jupyter-fx-logs"
    description = "Print what a task printed. TASK is its id, the last digits of it, or its name."
    arguments = ("TASK",)
    follow = Bool(False, help="Go on until the task is done.").tag(config=True)
    stream = CaselessStrEnum(["", "stdout", "stderr"], "", help="Only this stream.").tag(config=True)
    all = Bool(False, help="All of it, from the endpoint, and not what the fx hub keeps.").tag(config=True)
    aliases = {"hub": "LogsApp.hub", "stream": "LogsApp.stream"}
    flags: dict[Any, Any] = {
        ("f", "follow"): ({"LogsApp": {"follow": True}}, "Go on until the task is done."),
        "all": ({"LogsApp": {"all": True}}, "All of it, from the endpoint, and not what the fx hub keeps."),
    }

    def start(self) -> None:
        """Print it."""
        client = self.client
        try:
            if self.follow:
                self._follow(client)
                return
            task_id = str(client.request("tasks.get", {"task_id": self.argument()})["task_id"])
            read = logs.whole if self.all else logs.kept
            for piece in read(client, task_id, self.stream):
                sys.stdout.write(piece)
        finally:
            client.close(timeout=0.0)

    def _follow(self, client: Any) -> None:
        for event in client.attach(self.argument(), watch=0).events():
            self._show(event)

    def _show(self, event: Event) -> None:
        streams = {EventKind.STDOUT: ("stdout", sys.stdout), EventKind.STDERR: ("stderr", sys.stderr)}
        if event.kind not in streams:
            return
        name, out = streams[EventKind(event.kind)]
        if self.stream in {"", name}:
            out.write(event.data.decode("utf-8", "replace") if isinstance(event.data, bytes) else str(event.data))
            out.flush()


class CancelApp(ClientCommand):
    """jupyter fx cancel TASK…: stop tasks."""

    name = "jupyter-fx-cancel"
    description = "Cancel tasks: those that wait are removed, those that run are stopped (SIGINT, then stronger)."
    arguments = ("TASK", "TASK…")
    mode = CaselessStrEnum(
        ["cancel", "interrupt", "kill"], "cancel", help="interrupt: SIGINT only; kill: SIGKILL at once."
    ).tag(config=True)
    reason = Unicode("cancelled on the command line", help="Shown with the tasks.").tag(config=True)
    aliases = {"hub": "CancelApp.hub", "mode": "CancelApp.mode", "reason": "CancelApp.reason"}

    def start(self) -> None:
        """Cancel them."""
        self.argument()
        client = self.client
        try:
            ids = [client.request("tasks.get", {"task_id": word})["task_id"] for word in self.extra_args]
            done = client.request(
                "tasks.cancel", {"task_ids": ids, "mode": int(CancelMode[self.mode.upper()]), "reason": self.reason}
            )
        finally:
            client.close(timeout=0.0)
        print(f"{done['cancelled']} of {len(ids)} asked to stop")
        for task_id, why in done.get("refused", {}).items():
            print(f"{short_id(task_id)}: {why}")
