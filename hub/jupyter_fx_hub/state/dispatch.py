"""Leases: which waiting tasks go to an endpoint now, and what it is told of those that wait.

Credit is the absolute number that the agent takes beyond what it had received up to dispatch `seen`; tasks that went
out after that are taken off. Demand is the other direction's answer: how much waits, whatever the credit.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from jupyter_fx.protocol.lifecycle import SessionState, TaskState
from jupyter_fx.protocol.messages import Credit, Demand, DemandItem, Dispatch, Function, Functions, LeasedTask
from jupyter_fx.protocol.shapes import resources_of, session_of
from jupyter_fx_hub.state.core import MESSAGE_BYTES, Core
from jupyter_fx_hub.state.io import ToAgent
from jupyter_fx_hub.state.records import Endpoint, Queue, Task
from jupyter_fx_hub.store.ops import LeaseTasks

__all__ = ["credit", "demand", "demand_items", "run", "start_connection"]

DISPATCH_TASKS: Final = 2048
DEMAND_EVERY: Final = 0.1
"""Seconds between two demand summaries to one endpoint."""
_LEASED = TaskState.LEASED


def start_connection(endpoint: Endpoint) -> None:
    """A new connection of its agent: nothing was sent on it, no credit was given."""
    endpoint.credit = {}
    endpoint.credit_said = {}
    endpoint.sent = 0
    endpoint.trace = {}
    endpoint.functions = set()
    endpoint.demand_said = None
    endpoint.demand_at = 0.0
    endpoint.dirty = True


def credit(core: Core, endpoint: Endpoint, message: Credit) -> None:
    """The agent says how much it takes."""
    seen = message.seen
    said: dict[str, int] = {}
    left: dict[str, int] = {}
    for shape, count in message.shapes:
        said[shape] = max(0, min(count, 100_000))
        left[shape] = said[shape] - _beyond(endpoint, shape, seen)
    for shape in list(endpoint.trace):
        if shape not in said:
            _beyond(endpoint, shape, seen)
            if not endpoint.trace[shape]:
                del endpoint.trace[shape]
    endpoint.credit, endpoint.credit_said = left, said
    core.touched[endpoint.endpoint_id] = endpoint


def _beyond(endpoint: Endpoint, shape: str, seen: int) -> int:
    """Tasks of this shape that went out after number `seen`; what is older is forgotten."""
    trace = endpoint.trace.get(shape)
    if not trace:
        return 0
    while trace and trace[0][0] <= seen:
        trace.popleft()
    return sum(count for _, count in trace)


def run(core: Core, endpoint: Endpoint) -> None:
    """Give out what waits, within the credit."""
    if endpoint.ready:
        floating = core.floating.get(endpoint.owner)
        for shape, left in endpoint.credit.items():
            if left <= 0:
                continue
            queue = endpoint.queues.get(shape)
            if queue is not None and queue.live:
                left -= _send(core, endpoint, shape, queue, left, after=False)
            if floating is not None and left > 0 and (queue := floating.get(shape)) is not None and queue.live:
                _send(core, endpoint, shape, queue, left, after=True)
    endpoint.dirty = True


def _send(core: Core, endpoint: Endpoint, shape: str, queue: Queue, limit: int, *, after: bool) -> int:
    """Lease up to `limit` tasks of a queue and put them into Dispatch messages; how many."""
    total = min(limit, queue.live)
    batch: list[LeasedTask] = []
    functions: list[Function] = []
    size = 0
    known = endpoint.functions
    records: list[tuple[str, int, int, int]] = []
    for _ in range(total):
        task = queue.pop()
        leased = _lease(core, endpoint, task)
        if after or task.watch or task.more:
            core.save(task)
        else:
            records.append((task.task_id, task.attempt, task.fence[1], task.n - 1))
        key = (task.owner, leased.function)
        if leased.function and key not in known:
            known.add(key)
            functions.append(core.functions[key])
        weight = len(leased.payload) + 250
        if leased.inputs:
            weight += sum(len(i.payload) + 200 for i in leased.inputs)
        if batch and (size + weight > MESSAGE_BYTES or len(batch) >= DISPATCH_TASKS):
            _emit(core, endpoint, shape, batch, functions, after)
            batch, functions, size = [], [], 0
        batch.append(leased)
        size += weight
    if batch:
        _emit(core, endpoint, shape, batch, functions, after)
    if records:
        core.writes.append(LeaseTasks(endpoint.endpoint_id, core.boot, core.wall, records))
    endpoint.credit[shape] -= total
    core.counts["leases"] += total
    return total


def _emit(
    core: Core, endpoint: Endpoint, shape: str, batch: list[LeasedTask], functions: list[Function], after: bool
) -> None:
    for function in functions:
        core.first.append(ToAgent(endpoint.endpoint_id, Functions([function]), after))
    endpoint.sent += len(batch)
    endpoint.trace.setdefault(shape, deque()).append((endpoint.sent, len(batch)))
    core.first.append(ToAgent(endpoint.endpoint_id, Dispatch(batch), after))


def _lease(core: Core, endpoint: Endpoint, task: Task) -> LeasedTask:
    # Lamport's rule: a fence is greater than every earlier one of its task, whichever endpoint gave that.
    counter = endpoint.counter
    if task.fence[0] == core.boot and task.fence[1] > counter:
        counter = task.fence[1]
    endpoint.counter = counter = counter + 1
    task.fence = fence = (core.boot, counter)
    task.attempt += 1
    task.endpoint_id = endpoint.endpoint_id
    task.leased_at = core.wall
    task.leased_mark = core.now
    core.step(task, _LEASED, core.wall)
    endpoint.leases[task.task_id] = task
    if not endpoint.sweep_at:
        endpoint.sweep_at = core.now + 60.0
        core.at(endpoint.sweep_at, "sweep", endpoint.endpoint_id)
    spec = task.spec
    assert spec is not None
    options = spec.options
    inputs = [task.inputs[i] for i in options.inputs] if task.inputs and options is not None else []
    return LeasedTask(
        task.task_id,
        task.owner,
        task.attempt,
        fence,
        spec.kind,
        spec.function,
        spec.payload,
        spec.session,
        options,
        inputs,
    )


def demand_items(core: Core, endpoint: Endpoint) -> list[DemandItem]:
    """What waits for this endpoint, by shape; sessions that want a worker are in it with or without cells."""
    items: dict[str, DemandItem] = {}
    for shape, queue in endpoint.queues.items():
        if queue.live:
            items[shape] = DemandItem(shape, queue.live, resources_of(shape), owner=endpoint.owner)
    for shape, queue in core.floating.get(endpoint.owner, {}).items():
        if queue.live:
            item = items.setdefault(shape, DemandItem(shape, 0, resources_of(shape), owner=endpoint.owner))
            item.tasks += queue.live
    for shape, item in items.items():
        session = core.sessions.get(session_of(shape) or "")
        wanted = {SessionState.REQUESTED, SessionState.OPENING, SessionState.OPEN}
        if session is not None and session.state in wanted:
            item.session, item.resources = session.spec, session.spec.resources
    return list(items.values())


def demand(core: Core, endpoint: Endpoint) -> None:
    """Tell the agent what waits if that has changed: at once when quiet, else at the next tenth of a second."""
    endpoint.dirty = False
    if not endpoint.ready:
        return
    if core.now < endpoint.demand_at:
        if not endpoint.demand_set:
            endpoint.demand_set = True
            core.at(endpoint.demand_at, "demand", endpoint.endpoint_id)
        return
    items = demand_items(core, endpoint)
    if items == endpoint.demand_said or (not items and not endpoint.demand_said):
        return
    endpoint.demand_said = items
    endpoint.demand_at = core.now + DEMAND_EVERY
    core.first.append(ToAgent(endpoint.endpoint_id, Demand(items)))
