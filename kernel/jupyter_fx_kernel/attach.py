"""`%fx attach`: what a task tells, from any event on, shown here, live while it goes on; then what it left.

It works from the notebook that started the task, from another one, and after a restart: what is shown comes from the
fx hub. An interrupt ends the showing and the task hears nothing of it.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from jupyter_fx.client import TaskFuture
from jupyter_fx.client.listeners import Listener
from jupyter_fx.errors import RemoteError
from jupyter_fx.ids import short_id
from jupyter_fx.payload.cells import decode_cell, value_in
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import Event, EventKind, Outcome
from jupyter_fx_kernel import failures, homing
from jupyter_fx_kernel.attachmaps import attach_map
from jupyter_fx_kernel.card import Card
from jupyter_fx_kernel.choosing import choose
from jupyter_fx_kernel.endings import ending
from jupyter_fx_kernel.futures import CellFuture, known, lines_of
from jupyter_fx_kernel.notify import ended
from jupyter_fx_kernel.options import Parser, names
from jupyter_fx_kernel.running import Follower
from jupyter_fx_kernel.screens import is_rich, pinned, show_error
from jupyter_fx_kernel.session import Notebook

__all__ = ["AttachedCell", "attach", "follow_here"]

_TAIL = 20
_marks = itertools.count(1)


def attach(notebook: Notebook, words: Sequence[str]) -> Any:
    """Carry out `%fx attach`; a TaskFuture of the task."""
    asked = _parser().parse_args(words)
    info = choose(notebook, asked.task, "attach")
    if info["kind"] == "map" and info.get("group"):
        return attach_map(notebook, info)
    wanted = tuple(name for group in asked.outputs for name in group)
    return follow_here(notebook, info, first=max(0, asked.first), tail=asked.tail, wanted=wanted)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="%fx attach", add_help=False, allow_abbrev=False)
    parser.add_argument("task", nargs="?", default="")
    parser.add_argument("--from", dest="first", type=int, default=0, metavar="N")
    parser.add_argument("--tail", nargs="?", type=int, const=_TAIL, default=0, metavar="LINES")
    parser.add_argument("-o", "--outputs", type=names, action="append", default=[], metavar="x,y")
    return parser


def follow_here(
    notebook: Notebook, info: Mapping[str, Any], *, first: int = 0, tail: int = 0, wanted: Sequence[str] = ()
) -> TaskFuture:
    """Show a task's story under the cell that runs now, until it is done or the user leaves; its future."""
    shell, task_id = notebook.shell, str(info["task_id"])
    card = Card(
        task_id,
        str(info.get("endpoint") or ""),
        kind=str(info.get("kind") or "cell"),
        name=str(info.get("name") or ""),
        origin=info.get("origin") or {},
        submitted=float(info.get("submitted") or 0),
        state=str(info["state"]).lower(),
    )
    follower = Follower(shell, card, rich=is_rich(shell), mark=f"-again{next(_marks)}")
    follower.on_end = lambda over: ended(over, getattr(shell, "kernel", None))
    if tail > 0:
        first = _show_tail(notebook, follower, task_id, tail)
    listener = notebook.client.attach(task_id, on_event=follower.put, first=first)
    listener.add_done_callback(follower.finish)
    follower.ask = lambda: str(listener.why)
    ours = known.get(task_id)
    fresh = None
    if info["kind"] == "cell" and ours is None:
        fresh = AttachedCell(notebook, info, listener, follower, wanted, whole=not first)
    future: TaskFuture = fresh or ours or listener
    if not follower.follow(None):
        listener.leave()
        follower.outputs.flush()
        print(f"left; {card.name or 'the task'} goes on: `%fx attach {short_id(task_id)}` shows it again")
        if fresh is not None:
            fresh.go_on()
    elif fresh is not None:
        fresh.conclude()
    else:
        if ours is not None:
            ours.settled()
        if wanted and listener.outcome is not None:
            home = decode_cell(listener.outcome)
            card.notices += homing.bring(notebook, home, info, wanted, settled=True)
        _end(follower, listener, shell)
    return future


def _end(follower: Follower, listener: Listener, shell: Any) -> None:
    """The last word about a task whose result is somebody else's, or a value that its future holds."""
    outcome = listener.outcome
    follower.outputs.after_result(shown=False)
    follower.end(outcome, _word(outcome), ending(outcome) if outcome is not None else "")
    if listener.kind != 2 and not listener.cancelled() and (error := listener.exception()) is not None:
        show_error(pinned(shell), error, lines_of(error))


def _word(outcome: Outcome | None) -> str:
    return TaskState(outcome.state).name.lower() if outcome is not None else "failed"


def _show_tail(notebook: Notebook, follower: Follower, task_id: str, lines: int) -> int:
    """Show the last lines that were printed so far; the number of the event to go on from."""
    start: int | None = 0
    last = 0
    text: list[Event] = []
    while start is not None:
        args = {"task_id": task_id, "from": start, "limit": 1000}
        told = notebook.client.request("tasks.events", args)
        for n, kind, t, data in told["events"]:
            last = n + 1
            if kind in {EventKind.STDOUT, EventKind.STDERR}:
                text.append(Event(task_id, n, kind, t, data))
        start = told["next"]
    count = 0
    for at in range(len(text) - 1, -1, -1):
        pieces = bytes(text[at].data).splitlines(keepends=True)
        count += len(pieces)
        if count >= lines:
            text[at].data = b"".join(pieces[count - lines :])
            text = text[at:]
            break
    for event in text:
        follower.outputs.put(event)
    follower.outputs.flush()
    return last


class AttachedCell(CellFuture):
    """A cell that was submitted elsewhere, or before this kernel began.

    Names that it assigned and that this notebook does not have are bound here when it is over, and those that `-o`
    names in any case.
    """

    def __init__(
        self,
        notebook: Notebook,
        info: Mapping[str, Any],
        listener: Listener,
        follower: Follower,
        wanted: Sequence[str],
        *,
        whole: bool,
    ) -> None:
        cell = (info.get("origin") or {}).get("cell")
        label = f"remote cell In[{cell}]" if cell else "remote cell"
        super().__init__(listener, label, pinned(notebook.shell))
        self._notebook, self._about, self._follower = notebook, info, follower
        self._listener, self._wanted, self._whole = listener, tuple(wanted), whole
        self.set_running_or_notify_cancel()

    def go_on(self) -> None:
        """Nobody looks any more: complete when the task is done."""
        self._follower.move_to(self._screen)
        self._listener.add_done_callback(lambda _done: self._start(self.conclude))

    def conclude(self) -> None:
        """The task is done: its names, its value, or its error."""
        try:
            value = self._concluded()
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever asks for the result
            self._take(error)
        else:
            self._take(None, value)

    def _concluded(self) -> Any:
        follower, outcome = self._follower, self._listener.outcome
        if outcome is None:
            error = self._listener.exception() or RemoteError(task_id=self.task_id)
            follower.end(None, "failed", str(error))
            raise failures.as_said(error)
        home = decode_cell(outcome)
        follower.card.notices += homing.bring(self._notebook, home, self._about, self._wanted)
        follower.outputs.after_result(shown=False)
        failures.detailed(self._notebook, follower.card.place, home, follower.card)
        follower.end(outcome, _word(outcome), ending(outcome))
        if outcome.state == TaskState.SUCCEEDED:
            if not self._whole:
                return self._listener.result()
            return value_in(home, follower.outputs.result or {})
        error = home.error if home.error is not None else RemoteError(task_id=self.task_id)
        raise failures.shown(self._notebook, follower.card.place, error, home)
