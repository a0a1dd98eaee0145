"""The one mutator: events in, instructions out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import (
    AgentStatus,
    Attach,
    Cancel,
    CloseSession,
    Credit,
    Detach,
    Functions,
    Inventory,
    Nack,
    OpenSession,
    Outputs,
    Results,
    SessionClosed,
    SessionEvent,
    Submit,
    Updates,
)
from jupyter_fx_hub.state import dispatch, events, finish, lifespan, load, reconcile, sessions, tasks
from jupyter_fx_hub.state.core import Core
from jupyter_fx_hub.state.io import (
    AgentDown,
    AgentUp,
    Confirmed,
    DeleteEndpoint,
    EndpointKnown,
    Found,
    FromAgent,
    FromClient,
    Instruction,
    LinkGone,
    Refused,
    RenewSession,
    SessionKnown,
    StateEvent,
    Tick,
)
from jupyter_fx_hub.state.records import Endpoint, Lifespans

__all__ = ["HubState"]


class HubState:
    """Everything that the hub knows of unfinished work, and what to do about it.

    `boot`: number of this start of the hub on its database. `offset`: epoch seconds minus the clock of `now`
    (monotonic seconds).
    """

    def __init__(self, boot: int, *, offset: float = 0.0, limits: Lifespans | None = None) -> None:
        self.core = Core(boot, offset, limits)

    def handle(self, event: StateEvent, now: float) -> list[Instruction]:
        """Take an event; what has to be done about it, in order. Time never goes back."""
        core = self.core
        core.clock(now)
        kind = type(event)
        if kind is FromClient or kind is FromAgent:
            self._message(event)
        else:
            _EVENTS[kind](core, event)
        if core.stranded:
            sessions.strand(core)
        if core.touched:
            touched, core.touched = core.touched, {}
            for endpoint in touched.values():
                dispatch.run(core, endpoint)
            for endpoint in touched.values():
                if endpoint.dirty:
                    dispatch.demand(core, endpoint)
        return core.collect()

    def next_timer(self) -> float | None:
        """When a Tick is due."""
        return self.core.next_timer()

    def _message(self, event: Any) -> None:
        core, message = self.core, event.message
        if type(event) is FromAgent:
            endpoint = core.endpoints[event.endpoint_id]
            agent = _FROM_AGENT.get(type(message))
            if agent is not None:
                agent(core, endpoint, event, message)
        else:
            client = _FROM_CLIENT.get(type(message))
            if client is not None:
                client(core, event, message)

    def validate(self) -> None:
        """Raise AssertionError where the records contradict each other: for tests, after every event."""
        core = self.core
        queued: dict[str, int] = {}
        queues = [q for e in core.endpoints.values() for q in e.queues.values()]
        queues += [q for shapes in core.floating.values() for q in shapes.values()]
        for queue in queues:
            waiting = queue.tasks()
            assert len(waiting) == queue.live, (len(waiting), queue.live)
            for task in waiting:
                queued[task.task_id] = queued.get(task.task_id, 0) + 1
        unfinished = 0
        for task in core.tasks.values():
            story = (task.task_id, task.state, task.hist)
            leased = task.state in {TaskState.LEASED, TaskState.ACCEPTED, TaskState.RUNNING}
            assert queued.get(task.task_id, 0) == (1 if core.waits_in_queue(task) else 0), story
            assert leased == any(task.task_id in e.leases for e in core.endpoints.values()), story
            assert not leased or task.task_id in core.endpoints[task.endpoint_id].leases, story
            assert task.unsure or (task.state is TaskState.WAITING) == bool(task.missing), story
            assert [h[0] for h in task.hist] == sorted({h[0] for h in task.hist}), story
            assert sum(1 for h in task.hist if TaskState(h[1]).terminal) == (1 if task.state.terminal else 0), story
            unfinished += not task.state.terminal
        assert unfinished == core.unfinished, (unfinished, core.unfinished)
        for endpoint in core.endpoints.values():
            assert endpoint.unsure <= set(endpoint.leases), endpoint.name
            assert all(left >= 0 or endpoint.credit_said for left in endpoint.credit.values()), endpoint.name


def _tick(core: Core, _: Tick) -> None:
    for kind, key in core.due():
        if kind == "expires":
            if (task := core.tasks.get(key)) is not None:
                tasks.expire(core, task)
        elif kind == "retry":
            task = core.tasks.get(key)
            if task is not None and task.not_before and task.not_before <= core.now:
                task.not_before = 0.0
                if core.waits_in_queue(task):
                    core.enqueue(task)
        elif kind == "session":
            sessions.look(core, key)
        else:
            endpoint = core.endpoints.get(key)
            if endpoint is not None:
                _endpoint_timer(core, kind, endpoint)
    core.forget_done()


def _endpoint_timer(core: Core, kind: str, endpoint: Endpoint) -> None:
    if kind == "demand":
        endpoint.demand_set = False
        dispatch.demand(core, endpoint)
    elif kind == "unsure":
        reconcile.unsure_over(core, endpoint)
    elif kind == "sweep":
        reconcile.sweep(core, endpoint)
    elif kind == "silent" and not endpoint.ready:
        for task in endpoint.leases.values():
            events.note(core, task, f"endpoint {endpoint.name} is unreachable; the task may still be running there")


def _link_gone(core: Core, event: LinkGone) -> None:
    """Its number never comes again, so messages for it are dropped by the shell; tasks forget it when they tell
    something.
    """
    lifespan.left(core, event.link, silent=event.silent)


def _endpoint_known(core: Core, event: EndpointKnown) -> None:
    reconcile.known(core, event)


_EVENTS: dict[type, Callable[[Core, Any], object]] = {
    Tick: _tick,
    LinkGone: _link_gone,
    AgentUp: reconcile.up,
    AgentDown: reconcile.down,
    Confirmed: lambda core, event: tasks.confirmed(core, event.task_ids),
    Refused: lambda core, event: tasks.refused(core, event.task_id, event.kind),
    EndpointKnown: _endpoint_known,
    SessionKnown: sessions.known,
    RenewSession: lambda core, event: sessions.renew(core, core.sessions[event.session_id]),
    DeleteEndpoint: lambda core, event: reconcile.delete(core, core.endpoints[event.endpoint_id]),
    Found: load.found,
}
_FROM_CLIENT: dict[type, Callable[[Core, FromClient, Any], None]] = {
    Submit: tasks.submit,
    Cancel: tasks.cancel,
    Attach: tasks.attach,
    Detach: tasks.detach,
    Functions: tasks.functions,
    OpenSession: sessions.opens,
    CloseSession: sessions.close_asked,
}
_FROM_AGENT: dict[type, Callable[[Core, Endpoint, FromAgent, Any], None]] = {
    Results: finish.results,
    Updates: lambda core, endpoint, event, message: finish.updates(core, endpoint, message),
    Outputs: lambda core, endpoint, event, message: events.outputs(core, endpoint, message),
    Credit: lambda core, endpoint, event, message: dispatch.credit(core, endpoint, message),
    Nack: lambda core, endpoint, event, message: finish.nack(core, endpoint, message),
    Inventory: reconcile.inventory,
    AgentStatus: lambda core, endpoint, event, message: reconcile.status(core, endpoint, message),
    SessionEvent: lambda core, endpoint, event, message: sessions.told(core, endpoint, message),
    SessionClosed: lambda core, endpoint, event, message: sessions.closed(core, endpoint, message),
}
