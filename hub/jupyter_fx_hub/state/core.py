"""What the parts of the state share: the records, the clock that they were given, and what they have to say so far."""

from __future__ import annotations

import heapq
from collections import deque
from typing import Any, Final

import msgspec

from jupyter_fx.protocol.lifecycle import EndpointState, SessionState, TaskState, move
from jupyter_fx.protocol.messages import (
    ErrorInfo,
    Event,
    EventKind,
    Events,
    Function,
    Outcome,
    Outcomes,
    Rejected,
    Result,
)
from jupyter_fx_hub.state.io import Instruction, ToClient, Writes
from jupyter_fx_hub.state.records import Endpoint, Lifespans, Queue, Session, Task
from jupyter_fx_hub.store.ops import MoveTask, Op, PutEndpoint

__all__ = ["LIVE", "MESSAGE_BYTES", "Core", "bytes_of", "pack"]

MESSAGE_BYTES: Final = 640 * 1024
"""A message to an agent or a client is closed when it has this much payload: the next one is at most 256 KiB more."""
LIVE: Final = frozenset((SessionState.REQUESTED, SessionState.OPENING, SessionState.OPEN))
"""A session in one of these states takes cells."""
DONE_KEEP: Final = 120.0
"""Seconds for which a finished task stays in memory: duplicates and late results are answered without a look at the
store …
"""
DONE_MAX: Final = 20_000
"""… and how many do: more of them cost more (memory that is new to the processor's caches) than the looks they save."""

pack = msgspec.msgpack.Encoder().encode
# The two moves of `ran`, looked up once.
_ACCEPTED: Final = int(move(TaskState.LEASED, TaskState.ACCEPTED))
_RAN: Final = move(TaskState.ACCEPTED, TaskState.RUNNING)
_RUNNING: Final = int(_RAN)
_MOVES: dict[tuple[TaskState | None, TaskState], TaskState] = {}


class Core:
    """The shared part. `offset` is what must be added to the state's clock to get epoch seconds: a step of the
    machine's clock after the start changes nothing.
    """

    def __init__(self, boot: int, offset: float, limits: Lifespans | None = None) -> None:
        self.boot, self.offset = boot, offset
        self.limits = limits or Lifespans()
        self.now = 0.0
        self.wall = offset
        """Epoch seconds."""
        self.seq = 0
        self.tasks: dict[str, Task] = {}
        self.endpoints: dict[str, Endpoint] = {}
        self.names: dict[tuple[str, str], str] = {}
        """(owner, name) -> endpoint_id of those not deleted."""
        self.owned: dict[str, list[Endpoint]] = {}
        """owner -> endpoints not deleted, in the order of their enrolment."""
        self.sessions: dict[str, Session] = {}
        self.functions: dict[tuple[str, str], Function] = {}
        self.floating: dict[str, dict[str, Queue]] = {}
        """owner -> shape -> tasks for whichever of the owner's endpoints has room."""
        self.dependents: dict[str, list[Task]] = {}
        self.orphans: dict[str, tuple[str, Result]] = {}
        """task_id -> (endpoint_id, result) of tasks that nobody has submitted on this hub's disk."""
        self.done: deque[tuple[float, str]] = deque()
        self.unfinished = 0
        self.counts: dict[str, int] = dict.fromkeys(
            ("submitted", "duplicates", "rejected", "leases", "retries", "stale", "outputs", "late_results"), 0
        )
        self.ended: dict[TaskState, int] = {state: 0 for state in TaskState if state.terminal}
        self._timers: list[tuple[float, int, str, str]] = []
        self._timer_no = 0
        self.touched: dict[str, Endpoint] = {}
        self.stranded: list[Task] = []
        """Cells that came into a queue from which no session will take them."""
        self.writes: list[Op] = []
        self.confirm: list[str] = []
        self.first: list[Instruction] = []
        """Messages that go before outcomes: dispatches, cancellations."""
        self.told: dict[int, list[Event]] = {}
        self.outcomes: dict[int, list[Outcome]] = {}
        self.last: list[Instruction] = []

    def clock(self, now: float) -> None:
        """It is `now`; time never goes back."""
        if now > self.now:
            self.now, self.wall = now, now + self.offset

    def at(self, when: float, kind: str, key: str) -> None:
        """Be woken for (kind, key) at `when`."""
        self._timer_no += 1
        heapq.heappush(self._timers, (when, self._timer_no, kind, key))

    def next_timer(self) -> float | None:
        """When the next one is due."""
        return self._timers[0][0] if self._timers else None

    def due(self) -> list[tuple[str, str]]:
        """(kind, key) of those that are due; each is told once."""
        found = []
        while self._timers and self._timers[0][0] <= self.now:
            _, _, kind, key = heapq.heappop(self._timers)
            found.append((kind, key))
        return found

    # Transitions.

    def step(self, task: Task, state: TaskState, at: float, reason: str = "") -> None:
        """Move a task and note it in its history; tell those who follow its states. Written by the caller."""
        pair = (task.state, state)
        if pair not in _MOVES:
            _MOVES[pair] = move(task.state, state, task.hist)
        task.state = state
        n = task.n
        task.n = n + 1
        task.hist.append((n, int(state), at, reason))
        if (task.watch or task.more) and not task.unsure:
            self.tell_state(task, n, state, at, reason)

    def ran(self, task: Task, accepted: float, started: float) -> None:
        """A leased task's result is here and nothing else was told: through ACCEPTED to RUNNING in one."""
        if task.watch or task.more:
            self.step(task, TaskState.ACCEPTED, accepted)
            self.step(task, TaskState.RUNNING, started)
        else:
            n = task.n
            task.hist += ((n, _ACCEPTED, accepted, ""), (n + 1, _RUNNING, started, ""))
            task.n = n + 2
            task.state = _RAN
        task.accepted_at, task.started_at = accepted, started
        task.starts += 1

    def tell_state(self, task: Task, n: int, state: int, at: float, reason: str) -> None:
        """Tell a state event to those who follow."""
        data: dict[str, Any] = {"state": int(state), "attempt": task.attempt}
        if reason:
            data["reason"] = reason
        endpoint = self.endpoints.get(task.endpoint_id)
        if endpoint is not None:
            data["endpoint"] = endpoint.name
        self.tell(task, Event(task.task_id, n, EventKind.STATE, at, data), 1)

    def tell(self, task: Task, event: Event, level: int) -> None:
        """Tell an event to the links that want to hear this much of the task."""
        if task.watch >= level:
            self.told.setdefault(task.link, []).append(event)
        if task.more:
            for link, watch in task.more.items():
                if watch >= level:
                    self.told.setdefault(link, []).append(event)

    def save(self, task: Task) -> None:
        """Write where a task is now."""
        self.writes.append(
            MoveTask(
                task.task_id, task.state, task.attempt, task.fence, task.endpoint_id, pack(task.hist), task.started_at
            )
        )

    def endpoint_moves(self, endpoint: Endpoint, state: EndpointState) -> None:
        """Move an endpoint and write it."""
        endpoint.state = move(endpoint.state, state, endpoint.name)
        endpoint.since = self.wall
        self.save_endpoint(endpoint)

    def save_endpoint(self, endpoint: Endpoint) -> None:
        """Write an endpoint as it is now."""
        self.writes.append(
            PutEndpoint(
                endpoint.endpoint_id,
                endpoint.owner,
                endpoint.name,
                endpoint.state,
                dict(endpoint.info),
                endpoint.created_at,
                endpoint.seen_at,
                endpoint.credential_hash,
            )
        )

    # Queues.

    def queue_of(self, task: Task) -> Queue:
        """Where it waits, or would."""
        if task.pinned:
            return self.endpoints[task.endpoint_id].queue(task.shape)
        shapes = self.floating.setdefault(task.owner, {})
        found = shapes.get(task.shape)
        if found is None:
            found = shapes[task.shape] = Queue()
        return found

    def waits_in_queue(self, task: Task) -> bool:
        """Whether a QUEUED task has an entry in its queue (and not a retry's pause or an unconfirmed insertion before
        it).
        """
        return task.state is TaskState.QUEUED and not task.unsure and not task.not_before

    def enqueue(self, task: Task) -> None:
        """Append it to its queue; endpoints that may take it get a look."""
        self.queue_of(task).push(task)
        self.touch(task)
        if task.spec is not None and task.spec.session:
            self._strand(task, task.spec.session)

    def _strand(self, task: Task, session_id: str) -> None:
        session = self.sessions.get(session_id)
        if session is None or session.state not in LIVE:
            self.stranded.append(task)

    def touch(self, task: Task) -> None:
        """Let the endpoints that could take it look at their queues at the end of this event."""
        if task.pinned:
            endpoint = self.endpoints[task.endpoint_id]
            self.touched[endpoint.endpoint_id] = endpoint
        else:
            for endpoint in self.owned.get(task.owner, ()):
                self.touched[endpoint.endpoint_id] = endpoint

    def requeue(self, tasks: list[Task], reason: str) -> None:
        """Take leases back: QUEUED again, in front, in the order of submission. The caller has seen that this is
        safe.
        """
        queues: dict[int, tuple[Queue, list[Task]]] = {}
        for task in tasks:
            endpoint = self.endpoints[task.endpoint_id]
            endpoint.leases.pop(task.task_id, None)
            endpoint.unsure.discard(task.task_id)
            task.note = ""
            self.step(task, TaskState.QUEUED, self.wall, reason)
            if not task.pinned:
                task.endpoint_id = ""
            self.save(task)
            if not task.not_before:
                queue = self.queue_of(task)
                queues.setdefault(id(queue), (queue, []))[1].append(task)
                self.touch(task)
                if task.spec is not None and task.spec.session:
                    self._strand(task, task.spec.session)
        for queue, again in queues.values():
            queue.push_front(again)

    # The answer.

    def reject(self, link: int, task_ids: list[str], error: ErrorInfo, session_id: str = "") -> None:
        """Tell a client what was not taken."""
        self.counts["rejected"] += len(task_ids)
        self.first.append(ToClient(link, Rejected(task_ids, error, session_id), after=True))

    def collect(self) -> list[Instruction]:
        """Everything that has to be done: writes first, then messages; outcomes after the events that came before
        them.
        """
        answer: list[Instruction] = []
        if self.writes:
            answer.append(Writes(self.writes, self.confirm))
            self.writes, self.confirm = [], []
        if self.first:
            answer += self.first
            self.first = []
        if self.told:
            for link, events in self.told.items():
                _split_events(answer, link, events)
            self.told = {}
        if self.outcomes:
            for link, outcomes in self.outcomes.items():
                _split_outcomes(answer, link, outcomes)
            self.outcomes = {}
        if self.last:
            answer += self.last
            self.last = []
        return answer

    def forget_done(self) -> None:
        """Drop finished tasks that are old enough."""
        limit = self.now - DONE_KEEP
        while self.done and (self.done[0][0] < limit or len(self.done) > DONE_MAX):
            task = self.tasks.get(self.done.popleft()[1])
            if task is not None and task.state.terminal:
                del self.tasks[task.task_id]


def bytes_of(item: Event | Outcome) -> int:
    """About how many bytes it takes in a message."""
    if isinstance(item, Outcome):
        return len(item.payload) + 300 + (len(item.error.message) + 1000 if item.error is not None else 0)
    data = item.data
    if isinstance(data, bytes):
        return len(data) + 100
    return 300 if item.kind == EventKind.STATE else len(pack(data)) + 100


def _split_outcomes(answer: list[Instruction], link: int, outcomes: list[Outcome]) -> None:
    """Append Outcomes messages that stay well under a frame."""
    part: list[Outcome] = []
    size = 0
    for outcome in outcomes:
        size += bytes_of(outcome)
        part.append(outcome)
        if size > MESSAGE_BYTES:
            answer.append(ToClient(link, Outcomes(part), after=True))
            part, size = [], 0
    if part:
        answer.append(ToClient(link, Outcomes(part), after=True))


def _split_events(answer: list[Instruction], link: int, events: list[Event]) -> None:
    """Append Events messages that stay well under a frame."""
    part: list[Event] = []
    size = 0
    for event in events:
        size += bytes_of(event)
        part.append(event)
        if size > MESSAGE_BYTES:
            answer.append(ToClient(link, Events(part)))
            part, size = [], 0
    if part:
        answer.append(ToClient(link, Events(part)))
