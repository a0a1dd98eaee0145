"""The agent's state machine: what it holds, what it says, what it asks for. `handle(event, now) -> [instruction]`.
Pure.

Promises that live here (PROMISES §1):

* A task is told to the manager after ACCEPT is in the journal; the manager gets its `Go` after START is. So after a
  crash every task is known to be not started (it runs), started (nobody knows: LOST, attested, since the workers were
  ended), or finished (its result is sent again).
* A task that comes again is never started a second time: what is finished is answered under the new lease; what is
  held goes on under it. Only a loss that was attested is run again, because the hub leases it anew (retries).
* A result is kept, in the journal, until the hub has acknowledged it.

`now` is monotonic seconds; times that are told are `now` + `wall` seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from jupyter_fx.endpoint import batches, outcome
from jupyter_fx.endpoint import journal_kinds as kinds
from jupyter_fx.endpoint.arrivals import Arrivals
from jupyter_fx.endpoint.books import Books
from jupyter_fx.endpoint.ending import Endings
from jupyter_fx.endpoint.entry import ACCEPTED, FINISHED, STARTED, Entry
from jupyter_fx.endpoint.events import (
    Acked,
    DiskState,
    Draining,
    Fetched,
    From,
    Opened,
    Record,
    RefKept,
    Replayed,
    RoundTrip,
    Send,
    Tell,
    Uploaded,
    Write,
    WriteFailed,
)
from jupyter_fx.endpoint.fleet import Fleet
from jupyter_fx.endpoint.full_disk import FullDisk
from jupyter_fx.endpoint.holding import Holding
from jupyter_fx.endpoint.many import Many
from jupyter_fx.endpoint.need import NodeSize, Place
from jupyter_fx.endpoint.placing import Placing
from jupyter_fx.endpoint.recovery import Recovery
from jupyter_fx.endpoint.replay import records_of
from jupyter_fx.endpoint.scaling import Load
from jupyter_fx.endpoint.sessions import SessionBook
from jupyter_fx.endpoint.talk import (
    Back,
    CancelWork,
    Capacity,
    Done,
    Drain,
    Go,
    Report,
    Said,
    SessionGone,
    SessionUp,
    Want,
)
from jupyter_fx.endpoint.trust import Trust, foreign
from jupyter_fx.protocol.messages import (
    AgentStatus,
    CancelTasks,
    CloseSession,
    Demand,
    Dispatch,
    EventKind,
    Functions,
    Keep,
    Output,
    SessionLease,
)

__all__ = ["AgentState"]

_TEXT: Final = frozenset((int(EventKind.STDOUT), int(EventKind.STDERR)))


class AgentState:
    """See the module. The shell executes the instructions in their order and calls `sent` for kept messages with
    marks.

    With a `fleet` there are many managers (it begins with none): what they say comes in `From`. `engine`: which engine
    of others runs its tasks, if any. `most`: the largest node that can be had, `session_floor`: seconds that a block
    must still last for a session to begin in it.
    """

    def __init__(
        self,
        *,
        endpoint_id: str,
        slots: int,
        worker_cores: int,
        max_sessions: int,
        wall: float,
        generation: str,
        boot_id: str,
        sure: bool = True,
        why: str = "",
        use_cwd: bool = False,
        functions: set[str] | None = None,
        fleet: Fleet | None = None,
        most: NodeSize | None = None,
        session_floor: float = 0.0,
        refuses: Callable[[str], str] | None = None,
        place_of: Callable[[str], Place] | None = None,
        engine: str = "",
    ) -> None:
        self._engine = engine
        given: dict[str, Any] = {"refuses": refuses, "place_of": place_of}
        given = {key: value for key, value in given.items() if value is not None}
        books = Books(slots, worker_cores, most, engine=engine, **given)
        tasks: dict[str, Entry] = {}
        self._held = Holding(
            endpoint_id=endpoint_id,
            wall=wall,
            tasks=tasks,
            books=books,
            sessions=SessionBook(max_sessions, use_cwd=use_cwd, books=books, fleet=fleet, floor=session_floor),
            trust=Trust(generation, boot_id, sure=sure, why=why),
            placing=Placing(tasks, books, functions or set(), fleet),
            fleet=fleet,
        )
        self._endings = Endings(self._held)
        self._recovery = Recovery(self._held, self._endings)
        self._arrivals = Arrivals(self._held, self._endings, self._recovery, engine)
        self._full_disk = FullDisk(self._held, self._endings)
        self._many = Many(self._held, self._recovery, fleet, self._tell_status) if fleet is not None else None
        self.wall = wall
        self.tasks = tasks
        self.sessions = self._held.sessions
        self.books = books
        self.congested = False
        """Set by the shell: the hub does not take what is sent, so text is dropped."""
        self.status: dict[str, Any] = {}
        self._dropped = 0
        self._told_status: dict[str, Any] | None = None
        self._handlers: dict[type, Callable[[Any, float], list[Any]]] = {
            Dispatch: self._arrivals.dispatch,
            Done: self._endings.done,
            Want: self._want,
            Said: self._said,
            Acked: self._endings.acked,
            Back: self._held.given_back,
            CancelTasks: self._cancel,
            Keep: self._endings.keep,
            Functions: lambda message, _now: self._held.placing.take_functions(message),
            Demand: self._demand,
            SessionLease: self._lease,
            CloseSession: self._close_session,
            SessionUp: lambda message, _now: self._session_up(message),
            SessionGone: lambda message, _now: self._session_gone(message),
            Capacity: self._capacity,
            Report: self._recovery.report,
            Opened: self._opened,
            Fetched: self._arrivals.fetched,
            Uploaded: self._endings.uploaded,
            RefKept: self._endings.ref_kept,
            WriteFailed: self._write_failed,
            DiskState: self._disk,
            Draining: self._drain,
            RoundTrip: self._round_trip,
            Replayed: self._recovery.replayed,
            From: self._from,
            **(self._many.handlers if self._many is not None else {}),
        }

    # The outside.

    @property
    def draining(self) -> str:
        """Why it takes nothing more; empty while it does."""
        return self._held.draining

    @property
    def disk_full(self) -> str:
        """What is wrong with the disk; empty while nothing is."""
        return self._held.disk_full

    def handle(self, event: Any, now: float) -> list[Any]:
        """Take an event; what is to be done about it, in order."""
        if self._many is None:
            out = self._handlers[type(event)](event, now)
        else:
            self._many.begin(now)
            out = self._handlers[type(event)](event, now)
            out += self._many.settle()
        if self._held.placing.held_back:
            out += self._held.placing.release()
        credit = (
            self.books.credit(self.sessions.open_ids(), stopped=bool(self._held.draining or self._held.disk_full))
            if self._held.open
            else None
        )
        if credit is not None:
            out.append(Send(credit))
        return out

    def files_in_use(self) -> set[str]:
        """The names of fetched files that must stay: see `Placing.in_use`."""
        return self._held.placing.in_use(self.sessions.open_ids())

    def files_gone(self, names: list[str]) -> None:
        """Fetched files were deleted to make room."""
        self._held.placing.forget(names)

    def next_timer(self) -> float:
        """When `handle_timer` wants to be called; infinity when not."""
        due = self._held.steps.due
        return due if self._many is None else min(due, self._many.next_timer())

    def handle_timer(self, now: float) -> list[Any]:
        """Tell the steps that no result has made needless, give out what was held back."""
        out = self._held.steps.tell_due(now)
        return out if self._many is None else out + self._many.handle_timer(now)

    def sent(self, number: int, marks: list[str]) -> None:
        """The link has numbered a message: its ack ends these tasks, unless a later one tells of them, too."""
        self._held.sent.append((number, marks))
        for task_id in marks:
            self.tasks[task_id].number = number

    def held(self) -> int:
        """Tasks that have no result yet."""
        return sum(1 for entry in self.tasks.values() if entry.phase != FINISHED)

    def records(self) -> Iterator[Record]:
        """What a new journal must hold."""
        return records_of(list(self.tasks.values()), self.sessions.opened())

    def validate(self) -> None:
        """Raise AssertionError when the books contradict each other (called by tests after every event)."""
        held = 0
        for task_id, entry in self.tasks.items():
            assert task_id == entry.task.task_id
            assert (entry.phase == FINISHED) == (entry.result is not None), task_id
            assert not (entry.needs and entry.placed), task_id
            held += entry.phase != FINISHED
        assert held == self.books.held(), (held, self.books.held())

    # Steps.

    def _want(self, message: Want, now: float) -> list[Any]:
        t = now + self.wall
        speaker = self._held.speaker
        go: list[str] = []
        fresh: list[str] = []
        steps: list[Entry] = []
        told: list[Any] = []
        for task_id in message.tasks:
            entry = self.tasks.get(task_id)
            if entry is None or entry.phase == FINISHED or task_id in self._held.trust.strangers:
                told += self._held.let_go(task_id)
                continue
            if entry.manager != speaker and not self._recovery.claimed(entry):
                # It is another manager's by now; this one, told nothing of it, lets go.
                continue
            go.append(task_id)
            if entry.phase == ACCEPTED:
                entry.phase = STARTED
                entry.started = t
                fresh.append(task_id)
                if entry.told and task_id not in self._held.steps:
                    steps.append(entry)
        if steps:
            self._held.steps.note(steps, now)
        said = Tell(Go(message.ticket, go), speaker)
        if not fresh:
            return [*told, said]
        started = Record(kinds.START_AT, [speaker, fresh]) if speaker else Record(kinds.START, fresh)
        return [*told, Write(started, [said])]

    # Stories.

    def _said(self, message: Said, _now: float) -> list[Any]:
        outputs: list[Output] = []
        untold: dict[str, Entry] = {}
        for task_id, kind, t, data, k in message.pieces:
            entry = self.tasks.get(task_id)
            if entry is None or task_id in self._held.trust.strangers or entry.manager != self._held.speaker:
                continue
            if self.congested and kind in _TEXT:
                self._dropped += data.count(b"\n")
                continue
            if entry.told < 2:
                untold[task_id] = entry
            outputs.append(Output(task_id, entry.task.attempt, k, kind, t, data))
        out = batches.of_outputs(outputs)
        return self._held.steps.tell(list(untold.values())) + out if untold else out

    # Cancel, sessions, the rest.

    def _cancel(self, message: CancelTasks, now: float) -> list[Any]:
        out: list[Any] = []
        for task_id, attempt in message.tasks:
            entry = self.tasks.get(task_id)
            if entry is None or entry.phase == FINISHED or attempt < entry.task.attempt:
                continue
            entry.cancelled = True
            if entry.placed and (entry.manager or self._many is None):
                out.append(Tell(CancelWork(task_id, message.mode), entry.manager))
            else:
                self._held.finish(entry, outcome.cancelled(entry, now + self.wall), 0.0)
                out += self._endings.send([entry])
        return out

    def _demand(self, message: Demand, _now: float) -> list[Any]:
        out: list[Any] = []
        shapes = {}
        for item in message.items:
            if item.session is not None:
                if not self._held.draining and not foreign(self._held.user, item.owner, item.session.session_id):
                    out += self.sessions.wanted(item.session, item.owner)
            else:
                shapes[item.shape] = item.resources
        self.books.demanded(shapes)
        if self._many is not None:
            self._many.demanded(message)
        return out + self._tell_status()

    def _lease(self, message: SessionLease, _now: float) -> list[Any]:
        if foreign(self._held.user, message.owner, message.session.session_id):
            return []
        return self.sessions.leased(message.session, message.owner, opened=message.opened)

    def _close_session(self, message: CloseSession, _now: float) -> list[Any]:
        return self.sessions.close(message.session_id, message.reason, kill=message.kill)

    def _opened(self, event: Opened, _now: float) -> list[Any]:
        self._held.open = True
        self._held.user = event.user
        self.books.reconnected()
        out = batches.of_inventory(self._held.trust.inventory(), self.tasks.values())
        self._told_status = None
        out += self._tell_status()
        out += self._endings.send(
            [entry for entry in self.tasks.values() if entry.result is not None and not entry.sent and not entry.upload]
        )
        return out

    def closed(self) -> None:
        """The link is not open."""
        self._held.open = False

    def _session_up(self, message: SessionUp) -> list[Any]:
        if self._many is not None:
            message.info |= self._many.lasts(self.wall)
        return self.sessions.up(message)

    def _session_gone(self, message: SessionGone) -> list[Any]:
        if self.sessions.manager_of(message.session_id) != self._held.speaker:
            return []
        return self.sessions.gone(message)

    def _from(self, event: From, now: float) -> list[Any]:
        """One of many managers speaks."""
        assert self._many is not None
        self._held.speaker = event.manager
        try:
            if type(event.message) is Capacity:
                return self._many.capacity(event.message, now)
            if type(event.message) is Report and event.message.gone:
                self._many.gone(event.manager)
            return self._handlers[type(event.message)](self._many.clocks.put_right(event), now)
        finally:
            self._held.speaker = ""

    def _capacity(self, message: Capacity, _now: float) -> list[Any]:
        self.status = message.info
        self.books.ready = message.ready
        if self._engine:
            self.books.resize(message.cores)
        return self._tell_status()

    def _tell_status(self) -> list[Any]:
        if self._many is not None:
            self.status = self._many.status()
        why = self._held.draining or self._held.disk_full or self.status.get("why") or self.sessions.why or ""
        info = {**self.status, "why": why, "max_sessions": self.sessions.most, "sessions": len(self.sessions)}
        if not self._held.open or info == self._told_status:
            return []
        self._told_status = info
        return [Send(AgentStatus(info))]

    def _disk(self, event: DiskState, _now: float) -> list[Any]:
        self._held.disk_full = event.why
        forgotten, self._held.unforgotten = ([], self._held.unforgotten) if event.why else (self._held.unforgotten, [])
        gone = [task_id for task_id in forgotten if task_id not in self.tasks]
        return [*self._tell_status(), *([Write(Record(kinds.FORGET, gone), [])] if gone else [])]

    def _write_failed(self, event: WriteFailed, now: float) -> list[Any]:
        return self._full_disk.failed(event, now) + self._tell_status()

    def _given(self, entry: Entry) -> bool:
        """Whether a manager has it."""
        return bool(entry.manager) if self._many is not None else entry.placed

    def load(self) -> Load:
        """What there is to do in blocks that are asked for as the endpoint does by itself."""
        return self.loads()[""]

    def loads(self) -> dict[str, Load]:
        """What there is to do, by allocation, where there are many managers."""
        return self._many.loads() if self._many is not None else {"": Load()}

    def _drain(self, event: Draining, _now: float) -> list[Any]:
        self._held.draining = event.reason
        waiting = [entry for entry in self.tasks.values() if entry.phase == ACCEPTED and not self._given(entry)]
        out = self._held.back(Back([entry.task.task_id for entry in waiting], home=True, reason=event.reason), _now)
        return [*out, Tell(Drain(event.reason), "*"), *self._tell_status()]

    def _round_trip(self, event: RoundTrip, _now: float) -> list[Any]:
        self.books.round_trip(event.seconds)
        return []
