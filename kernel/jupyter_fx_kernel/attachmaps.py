"""Coming back to a map: one card for all of its tasks, the hub's word on how far each is, then its values."""

from __future__ import annotations

import itertools
import queue
import time
from collections.abc import Mapping
from typing import Any

from jupyter_fx import payload
from jupyter_fx.client import TaskFuture
from jupyter_fx.client.listeners import Listener
from jupyter_fx.client.titles import name_of_task
from jupyter_fx.ids import short_id
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import CancelMode, Watch
from jupyter_fx_kernel.card import Card
from jupyter_fx_kernel.endings import ending
from jupyter_fx_kernel.screens import is_rich
from jupyter_fx_kernel.session import Notebook
from jupyter_fx_kernel.showing import CardView

__all__ = ["AttachedMap", "attach_map", "tasks_of"]

_TICK = 1.0
_LOOK = 5.0
"""Seconds between two looks whether who feeds the map has submitted more of it."""
_marks = itertools.count(1)


def tasks_of(notebook: Notebook, group: str) -> list[dict[str, Any]]:
    """TaskInfo of every task of a map, in the order of their submission."""
    rows: list[dict[str, Any]] = []
    args: dict[str, Any] = {"group": group, "limit": 1000}
    while True:
        told = notebook.client.request("tasks.list", args)
        rows += told["tasks"]
        if told["next"] is None:
            return rows[::-1]
        args["before"] = told["next"]


class AttachedMap:
    """The tasks of a map as the hub has them. `result()` gives the values in order, as far as they were submitted."""

    def __init__(self, notebook: Notebook, info: Mapping[str, Any]) -> None:
        self.group, self.name = str(info["group"]), name_of_task(notebook.client, info, {}) or "map"
        self._notebook = notebook
        self._futures: dict[str, TaskFuture] = {}
        self._infos: dict[str, dict[str, Any]] = {}
        self._failed, self._failures = 0, list[dict[str, Any]]()
        self._ended: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.look()

    def look(self) -> None:
        """Learn of tasks that were submitted since, and listen to them."""
        for info in tasks_of(self._notebook, self.group):
            task_id = info["task_id"]
            self._infos[task_id] = info
            if task_id not in self._futures:
                future: Listener = self._notebook.client.attach(task_id, watch=Watch.STATES)
                self._futures[task_id] = future
                future.add_done_callback(lambda _done: self._ended.put(None))

    def wait(self, seconds: float) -> bool:
        """Wait until one more task ends, at most so long; whether one did."""
        try:
            self._ended.get(timeout=seconds)
        except queue.Empty:
            return False
        return True

    @property
    def done(self) -> bool:
        """Whether all of its tasks have ended."""
        return all(future.done() for future in self._futures.values())

    @property
    def task_ids(self) -> list[str]:
        """Its tasks."""
        return list(self._futures)

    def cancel(self) -> int:
        """Cancel what has not ended; how many tasks that are."""
        live = [task_id for task_id, future in self._futures.items() if not future.done()]
        if live:
            self._notebook.client.cancel(live, CancelMode.CANCEL, "its map was cancelled")
        return len(live)

    def result(self, timeout: float | None = None) -> list[Any]:
        """Wait for the values of all items; raises the first error among them."""
        values: list[Any] = []
        for task_id in self._infos:
            for value in self._futures[task_id].result(timeout):
                if type(value) is payload.ItemError:
                    raise value.error
                values.append(value)
        return values

    def counts(self) -> dict[str, int]:
        """Items: total, done, running, failed, cancelled."""
        found = dict.fromkeys(("total", "done", "running", "failed", "cancelled"), 0)
        for task_id, info in self._infos.items():
            future, items = self._futures[task_id], int(info.get("items") or 0)
            found["total"] += items
            outcome = future.outcome
            if outcome is None:
                found["running"] += items if future.running() else 0
                continue
            found["done"] += items
            usage = outcome.usage or {}
            if outcome.state == TaskState.SUCCEEDED:
                found["failed"] += int(usage.get("failed") or 0)
            else:
                what = "cancelled" if outcome.state == TaskState.CANCELLED else "failed"
                found[what] += items - int(usage.get("items") or 0)
        return found

    def failures(self, failed: int) -> list[dict[str, Any]]:
        """The first failures, as the hub tells them; asked for when `failed`, how many there are, has changed."""
        if failed != self._failed:
            self._failed = failed
            self._failures = self._notebook.client.request("groups.get", {"group": self.group})["failures"]
        return self._failures

    def state(self) -> str:
        """As a state of a task: how the map stands."""
        outcomes = [future.outcome for future in self._futures.values()]
        states = {TaskState(outcome.state) for outcome in outcomes if outcome is not None}
        if not self.done:
            return "running" if states or any(f.running() for f in self._futures.values()) else "queued"
        if states <= {TaskState.SUCCEEDED}:
            return "succeeded"
        return "cancelled" if TaskState.CANCELLED in states else "failed"

    def ended(self) -> str:
        """How it was stopped, in words; empty when nobody did."""
        for future in self._futures.values():
            outcome = future.outcome
            if outcome is not None and outcome.state == TaskState.CANCELLED and (said := ending(outcome)):
                return said
        return ""

    def __repr__(self) -> str:
        counts = self.counts()
        return f"<map {self.name} {counts['done']}/{counts['total']}>"


def attach_map(notebook: Notebook, info: Mapping[str, Any]) -> AttachedMap:
    """Show how far a map is until it is done or the user leaves."""
    found = AttachedMap(notebook, info)
    shell = notebook.shell
    card = Card(
        found.group,
        str(info.get("endpoint") or ""),
        kind="map",
        name=found.name,
        submitted=min(float(one.get("submitted") or 0) for one in found._infos.values()),  # noqa: SLF001
    )
    view = CardView(card, shell.display_pub.publish, rich=is_rich(shell), mark=f"-again{next(_marks)}")
    try:
        waited = 0.0
        while True:
            _refresh(card, view, found)
            if found.done:
                found.look()
                if found.done:
                    break
            ended = found.wait(_TICK)
            waited = 0.0 if ended else waited + _TICK
            if waited >= _LOOK:
                waited = 0.0
                found.look()
    except KeyboardInterrupt:
        print(f"left; the map goes on: `%fx attach {short_id(found.task_ids[0])}` shows it again")
        return found
    card.ended = found.ended()
    _refresh(card, view, found)
    return found


def _refresh(card: Card, view: CardView, found: AttachedMap) -> None:
    counts = found.counts()
    card.items, card.state = {**counts, "failures": found.failures(counts["failed"])}, found.state()
    card.elapsed = max(0.0, time.time() - card.submitted)
    view.refresh(force=True)
