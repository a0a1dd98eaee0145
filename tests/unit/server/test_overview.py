"""What the server keeps of the hub's lists for those who look."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from jupyter_fx.server.hublink import HubLink
from jupyter_fx.server.overview import Overview


class Hub:
    """A hub's list of tasks, newest first: where a cell that has ended comes from it tells on request only."""

    def __init__(self) -> None:
        self.tasks: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []

    def add(self, task_id: str, *, ended: bool, kind: str = "cell") -> None:
        self.tasks.insert(
            0, {"task_id": task_id, "kind": kind, "ended": ended, "origin": {"cell": len(self.tasks) + 1}}
        )

    async def ask(self, _op: str, args: dict[str, Any]) -> Any:
        self.asked.append(args)

        def details(task: dict[str, Any]) -> bool:
            return bool(args.get("details")) and task["kind"] == "cell"

        told = [
            {**task, "origin": task["origin"] if details(task) or not task["ended"] else {}}
            for task in self.tasks[: args["limit"]]
        ]
        return {"tasks": told, "next": None}


def test_where_ended_cells_come_from_is_told_and_asked_for_once() -> None:
    hub = Hub()
    overview = Overview(cast("HubLink", hub))

    def look() -> dict[str, int]:
        hub.asked.clear()
        told = asyncio.run(overview.get("tasks"))["tasks"]
        return {task["task_id"]: task["origin"].get("cell", 0) for task in told}

    hub.add("before", ended=True)
    hub.add("call", ended=True, kind="call")
    hub.add("runs", ended=False)
    assert look() == {"before": 1, "call": 0, "runs": 3}
    assert [args.get("details", False) for args in hub.asked] == [False, True]
    hub.tasks[0]["ended"] = True
    assert look() == {"before": 1, "call": 0, "runs": 3}
    assert len(hub.asked) == 1
    # A quick one that nobody saw run: no more is asked for than it takes.
    hub.add("quick", ended=True)
    assert look() == {"before": 1, "call": 0, "runs": 3, "quick": 4}
    assert hub.asked[1:] == [{"limit": 1, "details": True}]


def test_a_cell_that_comes_from_nowhere_is_not_asked_for_again() -> None:
    hub = Hub()
    hub.add("script", ended=True)
    hub.tasks[0]["origin"] = {}
    overview = Overview(cast("HubLink", hub))
    for _ in range(2):
        assert asyncio.run(overview.get("tasks"))["tasks"][0]["origin"] == {}
    assert sum(bool(args.get("details")) for args in hub.asked) == 1
