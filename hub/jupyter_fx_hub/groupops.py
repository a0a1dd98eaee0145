"""The operations about groups: the tasks of one map, summed up and stopped together."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from jupyter_fx.errors import UsageError
from jupyter_fx.protocol.lifecycle import EndpointState, TaskState
from jupyter_fx_hub import infos
from jupyter_fx_hub.optable import Arg, Caller, operation
from jupyter_fx_hub.state.why import why_task
from jupyter_fx_hub.stops import stop
from jupyter_fx_hub.store.groups import GroupTask

if TYPE_CHECKING:
    from jupyter_fx_hub.service import Service

__all__ = ["GroupOperations"]

FAILURES_MAX: Final = 20
"""Failures of a group that are told."""
_INPUT, _ERROR = 200, 500
"""Characters of one."""
_SPECS: Final = 64
"""Submissions that are read at a time: each may hold 256 KiB."""
_SIZES: Final = 100_000
"""Tasks whose number of items is remembered."""
_GROUP: Final = Arg(str, "id of a map: `group` of its tasks", needed=True)
_STARTED: Final = frozenset({TaskState.LEASED, TaskState.ACCEPTED, TaskState.RUNNING})


class GroupOperations:
    """What callers may ask about groups; a part of `Operations`."""

    service: Service

    def __init__(self) -> None:
        self._sizes: OrderedDict[str, int] = OrderedDict()
        """Items of tasks whose outcome does not tell how many there were."""

    async def _group(self, caller: Caller, group: str) -> list[GroupTask]:
        # What was told before this question is known to it.
        await self.service.flushed()
        tasks: list[GroupTask] = await self.service.store.read("group_tasks", caller.user, group)
        if not tasks:
            raise UsageError(f"no map {group[:64]!r}: its tasks were deleted, or its id is wrong")
        return tasks

    async def _learn(self, caller: Caller, tasks: list[GroupTask]) -> None:
        """Find out how many items those tasks have whose rows do not say it."""
        live = self.service.state.core.tasks
        unknown = []
        for task in tasks:
            if task.state == TaskState.SUCCEEDED or task.task_id in self._sizes:
                continue
            known = live.get(task.task_id)
            if known is not None and known.spec is not None:
                self._remember(task.task_id, known.spec.options.items if known.spec.options is not None else 1)
            else:
                unknown.append(task.task_id)
        for at in range(0, len(unknown), _SPECS):
            for task_id, data in await self.service.store.read("group_specs", caller.user, unknown[at : at + _SPECS]):
                options = infos.spec_of(data).options if data else None
                self._remember(task_id, options.items if options is not None else 1)

    def _remember(self, task_id: str, items: int) -> None:
        self._sizes[task_id] = max(1, items)
        while len(self._sizes) > _SIZES:
            self._sizes.popitem(last=False)

    @operation("groups.get", "read", "GET /api/v1/groups/{group}", group=_GROUP)
    async def groups_get(self, caller: Caller, args: dict[str, Any]) -> Any:
        """How a map stands as far as its tasks were sent: items, states, the first failures, what it waits for."""
        tasks = await self._group(caller, args["group"])
        await self._learn(caller, tasks)
        core = self.service.state.core
        told: dict[str, Any] = {"group": args["group"], "name": tasks[0].name, "tasks": len(tasks)}
        told |= {"submitted": tasks[0].submitted, "finished": 0.0, "endpoint": "", "why": "", "unreachable": False}
        sums = dict.fromkeys(("items", "done", "failed", "cancelled", "running"), 0)
        states: dict[str, int] = {}
        failures: list[dict[str, Any]] = []
        for task in tasks:
            live = core.tasks.get(task.task_id)
            state, endpoint_id = TaskState(task.state), task.endpoint_id
            if live is not None and not state.terminal and not live.state.terminal:
                state, endpoint_id = live.state, live.endpoint_id
                told["why"] = told["why"] or why_task(core, live)
            states[state.name] = states.get(state.name, 0) + 1
            sums["running"] += state is TaskState.RUNNING
            endpoint = core.endpoints.get(endpoint_id)
            if endpoint is not None:
                told["endpoint"] = told["endpoint"] or endpoint.name
                silent = endpoint.state is EndpointState.UNREACHABLE and core.wall - endpoint.since >= 30.0
                told["unreachable"] |= silent and state in _STARTED
            size = max(task.done, self._sizes.get(task.task_id, 0))
            if state.terminal and len(failures) < FAILURES_MAX:
                failures += _failures(task, state, sums["items"], size)
            _add(sums, task, state, size)
            if state.terminal:
                told["finished"] = max(told["finished"], task.finished)
        told["active"] = sum(count for name, count in states.items() if not TaskState[name].terminal)
        return {**told, **sums, "states": states, "failures": failures[:FAILURES_MAX]}

    @operation(
        "groups.cancel",
        "run",
        "POST /api/v1/groups/{group}/cancel",
        group=_GROUP,
        mode=Arg(int, "0 cancel, 1 interrupt, 2 kill"),
        reason=Arg(str, "why, for the outcomes"),
    )
    async def groups_cancel(self, caller: Caller, args: dict[str, Any]) -> Any:
        """Stop all tasks of a map that are not at their end; the answer is that of `tasks.cancel`."""
        tasks = await self._group(caller, args["group"])
        live = [task.task_id for task in tasks if not TaskState(task.state).terminal]
        reason = args.get("reason") or "its map was cancelled"
        return await stop(self.service, caller.user, live, args.get("mode") or 0, reason)


def _add(sums: dict[str, int], task: GroupTask, state: TaskState, size: int) -> None:
    """Count a task's items: those of one that has ended are all done, whatever became of them."""
    sums["items"] += size
    if not state.terminal:
        return
    sums["done"] += size
    sums["failed"] += task.failed
    if state is not TaskState.SUCCEEDED:
        sums["cancelled" if state is TaskState.CANCELLED else "failed"] += size - task.done


def _failures(task: GroupTask, state: TaskState, first: int, size: int) -> list[dict[str, Any]]:
    """What failed of a task that has ended; `first` is the index of its first item in the map.

    Its chunks were sent in the order of their items. What a worker says may be anything.
    """
    found = []
    for told in task.failures:
        if not isinstance(told, list) or len(told) != 3 or not isinstance(told[0], int):
            continue
        at, shown, error = told
        found.append({"index": first + at, "input": str(shown)[:_INPUT], "error": str(error)[:_ERROR]})
    if task.etype and state is not TaskState.CANCELLED and size > task.done:
        lost = size - task.done
        what = f"and {lost - 1:,} more items of its chunk" if lost > 1 else ""
        error = f"{task.etype}: {task.message}" if task.message else task.etype
        found.append({"index": first + task.done, "input": what, "error": error[:_ERROR]})
    return found
