"""The shell around the state: carries out what it decides, and says when things are on disk.

A message is acknowledged when the store has committed everything that was written up to its handling, which includes
all that it caused. An instruction `after` its writes waits for the same position. Messages to one agent keep their
order.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from typing import Any, Final

import msgspec

from jupyter_fx.errors import HubUnavailable, InfrastructureError
from jupyter_fx.protocol.faults import error_from
from jupyter_fx.protocol.messages import ErrorInfo, Rejected, SessionSpec, Submit
from jupyter_fx.transport import Clock
from jupyter_fx_hub import stories
from jupyter_fx_hub.lookups import look_up, windows
from jupyter_fx_hub.ports import AgentPort, ClientPort, Port
from jupyter_fx_hub.state.io import (
    AgentDown,
    AgentUp,
    CloseAgent,
    Confirmed,
    EndpointKnown,
    Found,
    FromAgent,
    FromClient,
    Instruction,
    LinkGone,
    Need,
    Refused,
    Replay,
    SessionKnown,
    StateEvent,
    Tick,
    ToAgent,
    ToClient,
    ToOwner,
    Writes,
)
from jupyter_fx_hub.state.machine import HubState
from jupyter_fx_hub.state.records import Lifespans
from jupyter_fx_hub.store.ops import Op, Problem
from jupyter_fx_hub.store.store import Store

__all__ = ["Service"]

FRESH_WITHIN: Final = 60.0
"""Seconds after its making in which a task id can be taken for new without asking the store."""
BACKLOG_MAX: Final = 256
FULL: Final = "the disk of the fx hub is nearly full, so it takes no new tasks: free space there and submit again"
log = logging.getLogger(__name__)


class Service:
    """Owns the state and the store of a hub process."""

    def __init__(self, clock: Clock, lifespans: Lifespans | None = None) -> None:
        self.clock = clock
        self.lifespans = lifespans or Lifespans()
        self.loop = asyncio.get_running_loop()
        self.started = clock.wall()
        self.store: Store
        self.state: HubState
        self.ready = False
        self.clients: dict[int, ClientPort] = {}
        self.by_user: dict[str, dict[int, ClientPort]] = {}
        self.agents: dict[str, AgentPort] = {}
        self.problems: Counter[str] = Counter()
        self.refused_full = 0
        self.position = 0
        self._links = 0
        self._acks: deque[tuple[int, Port, int]] = deque()
        self._held: deque[tuple[int, Port, Any]] = deque()
        self._confirming: deque[tuple[int, list[str]]] = deque()
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._seen_problems: dict[tuple[str, str], str] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._work: set[asyncio.Task[None]] = set()

    # --- start and stop ---

    async def start(self, store: Store) -> None:
        """Take up what the store holds. Give `on_commit` to the store as its callback before."""
        self.store = store
        now = self.clock.monotonic()
        self.state = HubState(store.hub_boot, offset=self.clock.wall() - now, limits=self.lifespans)
        endpoints = await store.read("all_endpoints")
        for row in endpoints:
            self.handle(EndpointKnown(row.endpoint_id, row.owner, row.name, row.created, row.state, row.seen, row.info))
        for row in await store.read("live_sessions"):
            spec = msgspec.msgpack.decode(row.spec, type=SessionSpec)
            if row.endpoint_id in self.state.core.endpoints:
                self.handle(SessionKnown(spec, row.owner, row.endpoint_id, row.state, row.opened, row.info))
        known: set[tuple[str, str]] = set()
        for endpoint_id in [row.endpoint_id for row in endpoints] + [""]:
            for found in await windows(store, endpoint_id, known):
                self.handle(found)
        self.ready = True

    async def stop(self) -> None:
        """Carry out nothing more; what was taken is on disk when this returns."""
        self.ready = False
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._work):
            task.cancel()
        if self.position > self.store.committed and self.store.failure is None:
            await self.flushed()

    # --- events in ---

    def handle(self, event: StateEvent) -> None:
        """Hand an event to the state and carry out the answer."""
        self._carry_out(self.state.handle(event, self.clock.monotonic()))
        self._arm()

    def next_link(self) -> int:
        """A number for a link."""
        self._links += 1
        return self._links

    def client_up(self, port: ClientPort) -> None:
        """A client's link is open."""
        self.clients[port.number] = port
        self.by_user.setdefault(port.user, {})[port.number] = port

    def client_down(self, port: ClientPort) -> None:
        """It is gone."""
        self.clients.pop(port.number, None)
        self.by_user.get(port.user, {}).pop(port.number, None)
        self.handle(LinkGone(port.number, getattr(port, "silent", False)))

    def agent_up(self, port: AgentPort, incarnation: str) -> None:
        """An agent's link is open."""
        self.agents[port.endpoint_id] = port
        self.handle(AgentUp(port.endpoint_id, incarnation=incarnation))

    def agent_down(self, port: AgentPort, *, goodbye: bool) -> None:
        """It is gone."""
        if self.agents.get(port.endpoint_id) is port:
            del self.agents[port.endpoint_id]
            self.handle(AgentDown(port.endpoint_id, goodbye))

    def message(self, port: Port, message: Any, number: int) -> None:
        """A message came in on a link."""
        if port.busy:
            port.backlog.append((message, number))
            if len(port.backlog) == BACKLOG_MAX:
                port.hold(True)
            return
        if port.broken:
            return
        try:
            self._message(port, message, number)
        except Exception as error:  # noqa: BLE001 whatever it is, the message must not count as taken
            self._failed(port, f"a {type(message).__name__}", error, kept=bool(number))

    def _failed(self, port: Port, what: str, error: Exception, *, kept: bool) -> None:
        """A message could not be dealt with. A later ack would be its ack too: the link ends, and it comes again."""
        if isinstance(error, HubUnavailable):
            log.error("%s could not be written: %s", what, error.message)
        else:
            log.error("%s of %s could not be dealt with", what, port.user, exc_info=error)
        if kept:
            port.break_off(InfrastructureError(f"the fx hub failed to deal with {what}; its log tells more"))

    def _message(self, port: Port, message: Any, number: int) -> None:
        endpoint_id = getattr(port, "endpoint_id", "")
        event: FromAgent | FromClient
        if endpoint_id:
            event = FromAgent(endpoint_id, message)
        else:
            kind = type(message)
            if kind is Submit:
                if self.store.storage_full and not self._refuse_full(port, message):
                    self._acknowledge(port, number)
                    return
                event = FromClient(port.number, port.user, message, self._fresh(port, message, number))
            else:
                event = FromClient(port.number, port.user, message, local=getattr(port, "local", False))
        self.handle(event)
        if number:
            self._acknowledge(port, number)

    def _fresh(self, port: Any, message: Submit, number: int) -> bool:
        """Whether these ids are certainly new: not a redelivery, and made since this hub started, less than a minute
        ago.

        A task that is not certainly new goes to nobody before the store has said that it was not there: else one that
        ran under an earlier hub could be started again.
        """
        if not 0 <= port.sent < number or not message.tasks:
            return False
        now = self.clock.wall()
        first, last = message.tasks[0].task_id, message.tasks[-1].task_id
        low = max(now - FRESH_WITHIN, self.started + (0.0 if port.local else 2.0))
        try:
            made = (int(first[:12], 16) / 1000, int(last[:12], 16) / 1000)
        except ValueError:
            return False
        if not all(low <= t <= now + 2.0 for t in made):
            return False
        return all(first[:12] <= spec.task_id[:12] <= last[:12] for spec in message.tasks)

    def not_now(self) -> str:
        """Why the hub does not take work, or an empty sentence."""
        if not self.ready:
            return "the fx hub is starting or stopping"
        if self.store.failure is not None:
            return f"the fx hub's database has failed: {self.store.failure}"
        return FULL if self.store.storage_full else ""

    def _refuse_full(self, port: Port, message: Submit) -> bool:
        """While the disk is nearly full only what is known already is taken; False when nothing is left of the
        message.
        """
        known = self.state.core.tasks
        new = [spec.task_id for spec in message.tasks if spec.task_id not in known]
        if new:
            self.refused_full += len(new)
            port.send(Rejected(new, ErrorInfo("StorageFull", FULL)))
            message.tasks = [spec for spec in message.tasks if spec.task_id in known]
        return bool(message.tasks)

    def _acknowledge(self, port: Port, number: int) -> None:
        if not number:
            return
        if port.busy:
            # What this message asked for is being looked up: it is acknowledged when that is dealt with.
            port.backlog.appendleft((None, number))
        elif self.position <= self.store.committed:
            port.acknowledge(number)
        else:
            self._acks.append((self.position, port, number))

    # --- instructions out ---

    def _carry_out(self, instructions: list[Instruction]) -> None:
        for instruction in instructions:
            _CARRY[type(instruction)](self, instruction)

    def write(self, op: Op) -> int:
        """Queue an op of the service's own (tokens, codes); its position."""
        self.position = self.store.write(op)
        return self.position

    def _writes(self, instruction: Writes) -> None:
        self.position = position = self.store.write_all(instruction.ops)
        if instruction.confirm:
            self._confirming.append((position, instruction.confirm))

    def _to_agent(self, instruction: ToAgent) -> None:
        port = self.agents.get(instruction.endpoint_id)
        if port is None:
            return
        if port.waiting or (instruction.after and self.position > self.store.committed):
            port.waiting += 1
            self._held.append((self.position, port, instruction.message))
        else:
            port.send(instruction.message)

    def _to_client(self, instruction: ToClient) -> None:
        port = self.clients.get(instruction.link)
        if port is None:
            return
        if instruction.after and self.position > self.store.committed:
            port.waiting += 1
            self._held.append((self.position, port, instruction.message))
        else:
            port.send(instruction.message)

    def _to_owner(self, instruction: ToOwner) -> None:
        for port in list(self.by_user.get(instruction.owner, {}).values()):
            port.send(instruction.message)

    def _close_agent(self, instruction: CloseAgent) -> None:
        port = self.agents.get(instruction.endpoint_id)
        if port is not None:
            port.close(error_from(instruction.error), retry=instruction.retry)
            self.agent_down(port, goodbye=not instruction.retry)

    # --- commits ---

    def on_commit(self, position: int, problems: list[Problem]) -> None:
        """The store has everything up to `position` on disk."""
        for problem in problems:
            self.problems[f"{problem.op} {problem.kind}"] += 1
            if problem.op == "InsertTask" and self._confirming:
                self._seen_problems[problem.task_id, "InsertTask"] = problem.kind
        held = self._held
        while held and held[0][0] <= position:
            _, port, message = held.popleft()
            port.waiting -= 1
            if not port.gone:
                port.send(message)
        acks: dict[int, tuple[Port, int]] = {}
        while self._acks and self._acks[0][0] <= position:
            _, port, number = self._acks.popleft()
            acks[id(port)] = (port, number)
        for port, number in acks.values():
            port.acknowledge(number)
        while self._waiters and self._waiters[0][0] <= position:
            waiter = self._waiters.popleft()[1]
            if not waiter.done():
                waiter.set_result(None)
        while self._confirming and self._confirming[0][0] <= position:
            self._confirm(self._confirming.popleft()[1])
        if not self._confirming:
            self._seen_problems.clear()

    def _confirm(self, task_ids: list[str]) -> None:
        good = []
        for task_id in task_ids:
            kind = self._seen_problems.pop((task_id, "InsertTask"), "")
            if kind:
                self.handle(Refused(task_id, kind))
            else:
                good.append(task_id)
        if good:
            self.handle(Confirmed(good))

    async def flushed(self) -> None:
        """Return when everything written so far is on disk."""
        if self.position > self.store.committed:
            waiter: asyncio.Future[None] = self.loop.create_future()
            self._waiters.append((self.position, waiter))
            await waiter

    # --- looks into the store ---

    def _spawn(self, work: Any) -> None:
        task = self.loop.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._worked)

    def _worked(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a look into the store failed", exc_info=error)

    def _need(self, instruction: Need) -> None:
        event = instruction.event
        port: Port | None
        if isinstance(event, FromAgent):
            port = self.agents.get(event.endpoint_id)
            owner = self.state.core.endpoints[event.endpoint_id].owner
        else:
            port = self.clients.get(event.link)
            owner = event.owner
        if port is not None:
            port.busy = True
        self._spawn(self._look(instruction, owner, port))

    async def _look(self, need: Need, owner: str, port: Port | None) -> None:
        try:
            found = await look_up(self.store, owner, need.task_ids, need.functions)
            if port is not None:
                port.busy = False
            self._looked(need.event, found, port)
        except Exception as error:
            if port is None:
                raise
            port.busy = False
            self._failed(port, f"a {type(need.event.message).__name__}", error, kept=True)

    def _looked(self, event: FromAgent | FromClient, found: Found, port: Port | None) -> None:
        """The message that needed the look, and those that waited for it. An agent that is gone says it again."""
        self.handle(found)
        if isinstance(event, FromAgent):
            if port is None or port.gone:
                return
            self.handle(FromAgent(event.endpoint_id, event.message, looked=True))
        else:
            self.handle(FromClient(event.link, event.owner, event.message, event.fresh, looked=True))
        if port is not None:
            self._go_on(port)

    def _go_on(self, port: Port) -> None:
        """Take the messages that waited, until one of them has to wait again."""
        while port.backlog and not port.busy:
            message, number = port.backlog.popleft()
            if message is None:
                self._acknowledge(port, number)
            else:
                self.message(port, message, number)
        if len(port.backlog) < BACKLOG_MAX:
            port.hold(False)

    def _replay(self, instruction: Replay) -> None:
        port = self.clients.get(instruction.link)
        if not instruction.watch and instruction.upto >= 0:
            return  # of a task that goes on only the outcome is wanted: it is told when it comes
        if port is not None and port.begin_replay(instruction.task_id):
            self._spawn(self._tell_story(instruction, port))

    async def _tell_story(self, what: Replay, port: ClientPort) -> None:
        try:
            await self.flushed()
            await stories.tell(self.store, what, port)
        except Exception as error:  # whatever the store raises: who waits for the story must hear of it
            log.exception("the story of task %s cannot be read", what.task_id)
            if not port.gone:
                said = getattr(error, "message", "") or str(error) or type(error).__name__
                port.break_off(
                    InfrastructureError(f"the fx hub cannot read what task {what.task_id[-8:]} told: {said}")
                )

    # --- time ---

    def _arm(self) -> None:
        due = self.state.next_timer()
        if due is None or not self.ready:
            return
        if self._timer is not None:
            if self._timer_at <= due:
                return
            self._timer.cancel()
        self._timer_at = due
        self._timer = self.loop.call_later(max(0.0, due - self.clock.monotonic()), self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.handle(Tick())


_CARRY: Final[dict[type, Any]] = {
    Writes: Service._writes,
    ToAgent: Service._to_agent,
    ToClient: Service._to_client,
    ToOwner: Service._to_owner,
    Replay: Service._replay,
    Need: Service._need,
    CloseAgent: Service._close_agent,
}
