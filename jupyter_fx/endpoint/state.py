"""The agent's state machine: what it holds, what it says, what it asks for. `handle(event, now) -> [instruction]`.
Pure.

Promises that live here (PROMISES §1):

* A task is told to the manager after ACCEPT is in the journal; the manager gets its `Go` after START is. So after a
crash every
  task is known to be not started (it runs), started (nobody knows: LOST, attested, since the workers were ended), or
  finished
  (its result is sent again).
* A task that comes again is never started a second time: what is finished is answered under the new lease; what is
held goes on
  under it. Only a loss that was attested is run again, because the hub leases it anew (retries).
* A result is kept, in the journal, until the hub has acknowledged it.

`now` is monotonic seconds; times that are told are `now` + `wall` seconds since the epoch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from jupyter_fx.endpoint import batches, outcome
from jupyter_fx.endpoint import journal_kinds as kinds
from jupyter_fx.endpoint.books import Books
from jupyter_fx.endpoint.entry import ACCEPTED, FINISHED, STARTED, Entry
from jupyter_fx.endpoint.events import (
    Acked,
    DiskState,
    Draining,
    Fetch,
    Fetched,
    FindRef,
    KeepRef,
    Opened,
    Record,
    Remove,
    Replayed,
    RoundTrip,
    Send,
    Tell,
    Upload,
    Uploaded,
    Write,
    WriteFailed,
)
from jupyter_fx.endpoint.placing import Placing
from jupyter_fx.endpoint.replay import records_of, replay
from jupyter_fx.endpoint.sessions import SessionBook
from jupyter_fx.endpoint.steps import Steps
from jupyter_fx.endpoint.talk import (
    Back,
    CancelWork,
    Capacity,
    Done,
    Drain,
    Ended,
    Go,
    Report,
    Said,
    SessionGone,
    SessionUp,
    Want,
)
from jupyter_fx.endpoint.trust import Trust, foreign
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.limits import RESULT_HOME_MAX
from jupyter_fx.protocol.messages import (
    AgentStatus,
    CancelMode,
    CancelTasks,
    CloseSession,
    Demand,
    Dispatch,
    ErrorInfo,
    EventKind,
    Functions,
    Keep,
    LeasedTask,
    Nack,
    Output,
    RefInfo,
    Result,
    Results,
    SessionLease,
    Update,
    Updates,
)

__all__ = ["AgentState"]

_GONE: Final = 20_000
_RUN: Final = "run:"
"""What a task waits for while an earlier run of it is being ended here."""
_TEXT: Final = frozenset((int(EventKind.STDOUT), int(EventKind.STDERR)))


class AgentState:
    """See the module. The shell executes the instructions in their order and calls `sent` for kept messages with
    marks.
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
    ) -> None:
        self.endpoint_id = endpoint_id
        self.user = ""
        self.wall = wall
        self.tasks: dict[str, Entry] = {}
        self.sessions = SessionBook(max_sessions, use_cwd=use_cwd, cores=worker_cores)
        self.books = Books(slots, worker_cores)
        self.congested = False
        """Set by the shell: the hub does not take what is sent, so text is dropped."""
        self.open = False
        self.draining = ""
        self.disk_full = ""
        self.status: dict[str, Any] = {}
        self._trust = Trust(generation, boot_id, sure=sure, why=why)
        self._placing = Placing(self.tasks, self.books, functions or set())
        self._steps = Steps(self.books)
        self._sent: deque[tuple[int, list[str]]] = deque()
        self._gone: dict[str, tuple[int, int]] = {}
        """Fences of what was here: a lease that is not later is an old message."""
        self._restored: set[str] = set()
        """Tasks and sessions of an earlier agent, until the manager that outlived it has reported."""
        self._unforgotten: list[str] = []
        """Tasks that are gone, but stand in a journal that was too full to say so."""
        self._dropped = 0
        self._told_status: dict[str, Any] | None = None
        self._handlers: dict[type, Callable[[Any, float], list[Any]]] = {
            Dispatch: self._dispatch,
            Done: self._done,
            Want: self._want,
            Said: self._said,
            Acked: self._acked,
            Back: self._given_back,
            CancelTasks: self._cancel,
            Keep: self._keep,
            Functions: lambda message, _now: self._placing.take_functions(message),
            Demand: self._demand,
            SessionLease: self._lease,
            CloseSession: self._close_session,
            SessionUp: lambda message, _now: self.sessions.up(message),
            SessionGone: lambda message, _now: self.sessions.gone(message),
            Capacity: self._capacity,
            Report: self._report,
            Opened: self._opened,
            Fetched: self._fetched,
            Uploaded: self._uploaded,
            WriteFailed: self._write_failed,
            DiskState: self._disk,
            Draining: self._drain,
            RoundTrip: self._round_trip,
            Replayed: self._replayed,
        }

    # The outside.

    def handle(self, event: Any, now: float) -> list[Any]:
        """Take an event; what is to be done about it, in order."""
        out = self._handlers[type(event)](event, now)
        credit = (
            self.books.credit(self.sessions.open_ids(), stopped=bool(self.draining or self.disk_full))
            if self.open
            else None
        )
        if credit is not None:
            out.append(Send(credit))
        return out

    def next_timer(self) -> float:
        """When `handle_timer` wants to be called; infinity when not."""
        return self._steps.due

    def handle_timer(self, now: float) -> list[Any]:
        """Tell the steps that no result has made needless."""
        return self._steps.tell_due(now)

    def sent(self, number: int, marks: list[str]) -> None:
        """The link has numbered a message: its ack ends these tasks, unless a later one tells of them, too."""
        self._sent.append((number, marks))
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

    # Tasks come.

    def _dispatch(self, message: Dispatch, now: float) -> list[Any]:
        self.books.seen += len(message.tasks)
        out: list[Any] = []
        taken: list[LeasedTask] = []
        entries: list[Entry] = []
        refused: dict[tuple[str, bool], tuple[ErrorInfo, list[tuple[str, int]]]] = {}
        t = now + self.wall
        for task in message.tasks:
            task_id = task.task_id
            old = self.tasks.get(task_id)
            if old is not None:
                out += self._again(old, task, now)
                continue
            if task_id in self._gone and task.fence <= self._gone[task_id]:
                self.books.spent(task)
                continue
            refusal = self._refusal(task)
            if refusal is not None:
                self.books.spent(task)
                error, final = refusal
                refused.setdefault((error.message, final), (error, []))[1].append((task_id, task.attempt))
                continue
            shape = self.books.arrived(task)
            entry = Entry(task, shape, t)
            self.tasks[task_id] = entry
            taken.append(task)
            if task.session and self._restored:
                # Cells that came before it may have to be placed again: that is decided by the manager's report.
                self._restored.add(task_id)
                self._steps.note([entry], now)
            elif task_id in self._trust.strangers:
                self._placing.wait(entry, _RUN + task_id)
                self._steps.note([entry], now)
            else:
                entries.append(entry)
        for (_, final), (error, tasks) in refused.items():
            out.append(Send(Nack(tasks, error, final), keep=True))
        if taken:
            self._steps.note(entries, now)
            out.append(Write(Record(kinds.ACCEPT, taken), self._placing.place(entries)))
        return out

    def _refusal(self, task: LeasedTask) -> tuple[ErrorInfo, bool] | None:
        """Why a task is not taken, and whether no other try can cure that."""
        if self.draining:
            return ErrorInfo("InfrastructureError", f"the endpoint takes no more tasks: {self.draining}"), False
        if why := foreign(self.user, task.owner, task.task_id, task.session):
            return ErrorInfo("UsageError", why), True
        if task.session:
            if self.sessions.takes_cells(task.session):
                return None
            return ErrorInfo(
                "RefLost", "this session is not open at the endpoint; run the cell again in a new one"
            ), False
        if task.options is not None:
            why = self.books.refusal(task.options.resources)
            if why:
                return ErrorInfo("UsageError", why), True
        return None

    def _again(self, entry: Entry, task: LeasedTask, now: float) -> list[Any]:
        """A task that is here comes again: the same lease, or a later one."""
        old = entry.task
        result = entry.result
        lost = result is not None and result.lost and not entry.kept
        if lost and task.attempt > old.attempt and old.owner == task.owner:
            # The loss was attested and the hub leases it anew: its author declared retries.
            self._forget(entry)
            return [Write(Record(kinds.FORGET, [task.task_id]), []), *self._dispatch_anew(task, now)]
        self.books.spent(task)
        if old.owner != task.owner:
            error = ErrorInfo("UsageError", "a task of somebody else has this id")
            return [Send(Nack([(task.task_id, task.attempt)], error, final=True), keep=True)]
        if task.fence <= old.fence:
            return self._answer(entry) if entry.sent else []
        old.attempt, old.fence = task.attempt, task.fence
        entry.told = 0
        entry.kept = entry.spared = False
        out: list[Any] = [Write(Record(kinds.LEASE, [old]), [])]
        if result is not None:
            outcome.restamped(result, old)
            return out + (self._answer(entry) if entry.sent else [])
        return out + self._steps.tell([entry])

    def _dispatch_anew(self, task: LeasedTask, now: float) -> list[Any]:
        self.books.seen -= 1
        return self._dispatch(Dispatch([task]), now)

    def _answer(self, entry: Entry) -> list[Any]:
        assert entry.result is not None
        return [Send(Results([entry.result]), keep=True, marks=[entry.task.task_id])]

    def _fetched(self, event: Fetched, now: float) -> list[Any]:
        if event.error is None:
            return self._placing.fetched(event)
        ended = [Ended(one, "error", error=event.error) for one in self._placing.waiting(event.digest)]
        return self._done(Done([one for one in ended if one.task_id in self.tasks]), now)

    # Steps.

    def _want(self, message: Want, now: float) -> list[Any]:
        t = now + self.wall
        go: list[str] = []
        fresh: list[str] = []
        steps: list[Entry] = []
        told: list[Any] = []
        for task_id in message.tasks:
            entry = self.tasks.get(task_id)
            if entry is None or entry.phase == FINISHED or task_id in self._trust.strangers:
                told += self._let_go(task_id)
                continue
            go.append(task_id)
            if entry.phase == ACCEPTED:
                entry.phase = STARTED
                entry.started = t
                fresh.append(task_id)
                if entry.told and task_id not in self._steps:
                    steps.append(entry)
        if steps:
            self._steps.note(steps, now)
        said = Tell(Go(message.ticket, go))
        return [*told, Write(Record(kinds.START, fresh), [said]) if fresh else said]

    def _given_back(self, message: Back, now: float) -> list[Any]:
        """The manager gives back what did not start."""
        strange = self._trust.strangers.intersection(message.tasks)
        out = [one for task_id in sorted(strange) for one in self._let_go(task_id)] if message.home else []
        message.tasks = [task_id for task_id in message.tasks if task_id not in strange]
        return out + self._back(message, now)

    def _back(self, message: Back, now: float) -> list[Any]:
        """These did not start after all.

        While it drains and the hub is away nobody could be told: then they stay in the journal, for the next agent.
        """
        home = message.home and (self.open or not self.draining)
        updates = []
        undone = []
        for task_id in message.tasks:
            entry = self.tasks.get(task_id)
            if entry is None or entry.phase == FINISHED:
                continue
            if entry.phase == STARTED:
                entry.phase = ACCEPTED
                entry.started = 0.0
                undone.append(task_id)
            entry.placed = entry.placed and not message.home
            if home:
                task = entry.task
                updates.append(Update(task_id, task.attempt, task.fence, "requeue", now + self.wall, message.reason))
                self._forget(entry)
                self._gone.pop(task_id, None)
        out: list[Any] = []
        if undone and not home:
            out.append(Write(Record(kinds.UNSTART, undone), []))
        if updates:
            out.append(Send(Updates(updates), keep=True))
            out.append(Write(Record(kinds.FORGET, [update.task_id for update in updates]), []))
        return out

    # Results.

    def _done(self, message: Done, _now: float) -> list[Any]:
        out: list[Any] = []
        ready: list[Entry] = []
        for ended in message.results:
            entry = self.tasks.get(ended.task_id)
            if entry is None or entry.phase == FINISHED or ended.task_id in self._trust.strangers:
                out += self._let_go(ended.task_id)
                continue
            result = outcome.result_of(entry, ended)
            self._finished(entry, result, ended.t1 - ended.t0)
            if ended.path:
                out += self._big(entry, ended)
            else:
                ready.append(entry)
        return out + self._send_results(ready)

    def _finished(self, entry: Entry, result: Result, seconds: float) -> None:
        self._steps.drop(entry.task.task_id)
        self.books.ended(entry.shape, entry.size, seconds)
        entry.phase = FINISHED
        entry.result = result

    def _send_results(self, entries: list[Entry]) -> list[Any]:
        """Journal, then send, in messages of a fair size."""
        if not entries:
            return []
        for entry in entries:
            entry.sent = True
        then = batches.of_results([entry.result for entry in entries if entry.result is not None])
        return [Write(Record(kinds.RESULT, [(entry.result, entry.upload) for entry in entries]), then)]

    def _big(self, entry: Entry, ended: Ended) -> list[Any]:
        """A value in a file: it stays here as a ref, or goes as a blob before its result is told."""
        result = entry.result
        assert result is not None
        options = entry.task.options
        most = (options.result_max if options is not None else 0) or RESULT_HOME_MAX
        if ended.size > most:
            return self._keep_ref(entry, ended.path, ended.size)
        entry.upload, entry.upload_size = ended.path, ended.size
        return [Write(Record(kinds.RESULT, [(result, ended.path)]), [Upload(entry.task.task_id, ended.path)])]

    def _keep_ref(self, entry: Entry, path: str, size: int) -> list[Any]:
        result = entry.result
        assert result is not None
        ref_id = entry.task.task_id
        result.ref = RefInfo(ref_id, self.endpoint_id, size, {"size": size, "task_id": ref_id}, entry.task.session)
        entry.upload = ""
        return [KeepRef(ref_id, path), *self._send_results([entry])]

    def _uploaded(self, event: Uploaded, _now: float) -> list[Any]:
        entry = self.tasks.get(event.key)
        result = entry.result if entry is not None else None
        if entry is None or result is None or not entry.upload:
            return []
        if event.blob is None:
            # What cannot go to the hub is not lost: it stays here.
            return self._keep_ref(entry, entry.upload, entry.upload_size)
        result.blob = event.blob
        return self._send_results([entry])

    def _acked(self, event: Acked, _now: float) -> list[Any]:
        done: list[str] = []
        out: list[Any] = []
        while self._sent and self._sent[0][0] <= event.number:
            for task_id in self._sent.popleft()[1]:
                entry = self.tasks.get(task_id)
                if entry is not None and entry.result is not None and entry.sent and entry.number <= event.number:
                    if entry.spared:
                        entry.spared = False
                        continue
                    if entry.upload:
                        out.append(Remove(entry.upload))
                    self._forget(entry)
                    done.append(task_id)
        if done:
            out.append(Write(Record(kinds.FORGET, done), []))
        return out

    def _keep(self, message: Keep, _now: float) -> list[Any]:
        """The hub does not know these: their results outlast the ack that follows."""
        kept: list[str] = []
        for task_id, attempt in message.tasks:
            entry = self.tasks.get(task_id)
            if entry is not None and entry.result is not None and entry.task.attempt == attempt:
                entry.kept = entry.spared = True
                kept.append(task_id)
        return [Write(Record(kinds.KEEP, kept), [])] if kept else []

    def _forget(self, entry: Entry) -> None:
        task = entry.task
        if entry.phase != FINISHED:
            self.books.ended(entry.shape, entry.size, 0.0)
        del self.tasks[task.task_id]
        self._steps.drop(task.task_id)
        gone = self._gone
        gone[task.task_id] = task.fence
        if len(gone) > _GONE:
            for task_id in list(gone)[: _GONE // 4]:
                del gone[task_id]

    # Stories.

    def _said(self, message: Said, _now: float) -> list[Any]:
        outputs: list[Output] = []
        untold: dict[str, Entry] = {}
        for task_id, kind, t, data, k in message.pieces:
            entry = self.tasks.get(task_id)
            if entry is None or task_id in self._trust.strangers:
                continue
            if self.congested and kind in _TEXT:
                self._dropped += data.count(b"\n")
                continue
            if entry.told < 2:
                untold[task_id] = entry
            outputs.append(Output(task_id, entry.task.attempt, k, kind, t, data))
        out = batches.of_outputs(outputs)
        return self._steps.tell(list(untold.values())) + out if untold else out

    # Cancel, sessions, the rest.

    def _cancel(self, message: CancelTasks, now: float) -> list[Any]:
        out: list[Any] = []
        for task_id, attempt in message.tasks:
            entry = self.tasks.get(task_id)
            if entry is None or entry.phase == FINISHED or attempt < entry.task.attempt:
                continue
            entry.cancelled = True
            if entry.placed:
                out.append(Tell(CancelWork(task_id, message.mode)))
            else:
                self._finished(entry, outcome.cancelled(entry, now + self.wall), 0.0)
                out += self._send_results([entry])
        return out

    def _demand(self, message: Demand, _now: float) -> list[Any]:
        out: list[Any] = []
        shapes = {}
        for item in message.items:
            if item.session is not None:
                if not self.draining and not foreign(self.user, item.owner, item.session.session_id):
                    out += self.sessions.wanted(item.session, item.owner)
            else:
                shapes[item.shape] = item.resources
        self.books.demanded(shapes)
        return out + self._tell_status()

    def _lease(self, message: SessionLease, _now: float) -> list[Any]:
        if foreign(self.user, message.owner, message.session.session_id):
            return []
        return self.sessions.leased(message.session, message.owner, opened=message.opened)

    def _close_session(self, message: CloseSession, _now: float) -> list[Any]:
        return self.sessions.close(message.session_id, message.reason, kill=message.kill)

    def _opened(self, event: Opened, _now: float) -> list[Any]:
        self.open = True
        self.user = event.user
        self.books.reconnected()
        out = batches.of_inventory(self._trust.inventory(), self.tasks.values())
        self._told_status = None
        out += self._tell_status()
        out += self._send_results(
            [entry for entry in self.tasks.values() if entry.result is not None and not entry.sent and not entry.upload]
        )
        return out

    def closed(self) -> None:
        """The link is not open."""
        self.open = False

    def _capacity(self, message: Capacity, _now: float) -> list[Any]:
        self.status = message.info
        self.books.ready = message.ready
        return self._tell_status()

    def _tell_status(self) -> list[Any]:
        why = self.draining or self.disk_full or self.status.get("why") or self.sessions.why or ""
        info = {**self.status, "why": why, "max_sessions": self.sessions.most, "sessions": len(self.sessions)}
        if not self.open or info == self._told_status:
            return []
        self._told_status = info
        return [Send(AgentStatus(info))]

    def _disk(self, event: DiskState, _now: float) -> list[Any]:
        self.disk_full = event.why
        forgotten, self._unforgotten = ([], self._unforgotten) if event.why else (self._unforgotten, [])
        gone = [task_id for task_id in forgotten if task_id not in self.tasks]
        return [*self._tell_status(), *([Write(Record(kinds.FORGET, gone), [])] if gone else [])]

    def _drain(self, event: Draining, _now: float) -> list[Any]:
        self.draining = event.reason
        waiting = [entry for entry in self.tasks.values() if entry.phase == ACCEPTED and not entry.placed]
        out = self._back(Back([entry.task.task_id for entry in waiting], home=True, reason=event.reason), _now)
        return [*out, Tell(Drain(event.reason)), *self._tell_status()]

    def _round_trip(self, event: RoundTrip, _now: float) -> list[Any]:
        self.books.round_trip(event.seconds)
        return []

    def _write_failed(self, event: WriteFailed, now: float) -> list[Any]:
        """The journal's disk is full: nothing new is taken or started, results go all the same."""
        self.disk_full = f"the disk of the endpoint is full ({event.why}); free space there"
        record = event.record
        out: list[Any] = []
        if record.kind == kinds.ACCEPT:
            out += self._not_accepted([task for task in record.data if task.task_id in self.tasks], event.then)
        elif record.kind == kinds.START:
            out += self._not_started(record.data, now)
            held = self.tasks
            for go in (one.message for one in event.then if isinstance(one, Tell)):
                may = [one for one in go.tasks if one in held and not held[one].result and one not in record.data]
                out.append(Tell(Go(go.ticket, may)))
        elif record.kind == kinds.RESULT:
            entries = [self.tasks[result.task_id] for result, _path in record.data if result.task_id in self.tasks]
            results = [entry.result for entry in entries if entry.result is not None]
            out += [Send(Results([result]), keep=True, marks=[result.task_id]) for result in results]
        elif record.kind == kinds.FORGET:
            self._unforgotten += record.data
        elif record.kind == kinds.SESSION:
            out += self.sessions.not_journaled(record.data[0].session_id, event.why)
        return out + self._tell_status()

    def _not_accepted(self, tasks: list[LeasedTask], then: list[Any]) -> list[Any]:
        """A cell fails: one that waited for room would be overtaken by those behind it."""
        error = ErrorInfo("StorageFull", self.disk_full)
        out: list[Any] = []
        for task in tasks:
            self._forget(self.tasks[task.task_id])
        for final in (False, True):
            nacked = [(task.task_id, task.attempt) for task in tasks if bool(task.session) is final]
            if nacked:
                out.append(Send(Nack(nacked, error, final), keep=True))
        # Others may wait for the same bytes by now.
        return out + [one for one in then if isinstance(one, Fetch | FindRef)]

    def _not_started(self, task_ids: list[str], now: float) -> list[Any]:
        """They go home, but for cells (see above). The manager lets go of all: its `Go` does not name them."""
        out = self._back(Back([one for one in task_ids if not self._session(one)], True, self.disk_full), now)
        cells: list[Entry] = []
        for entry in [self.tasks[one] for one in task_ids if self._session(one)]:
            result = outcome.cancelled(entry, now + self.wall)
            result.state, result.error = int(TaskState.FAILED), ErrorInfo("StorageFull", self.disk_full)
            self._finished(entry, result, 0.0)
            cells.append(entry)
        return out + self._send_results(cells)

    def _session(self, task_id: str) -> str:
        entry = self.tasks.get(task_id)
        return entry.task.session if entry is not None else ""

    def _replayed(self, event: Replayed, now: float) -> list[Any]:
        """Begin with what an earlier agent left."""
        entries, sessions = replay(event.records, now + self.wall)
        for entry in entries:
            self.tasks[entry.task.task_id] = entry
            entry.shape = self.books.arrived(entry.task)
            if entry.result is not None:
                self.books.ended(entry.shape, entry.size, 0.0)
        for spec, owner in sessions:
            self.sessions.restore(spec, owner)
        out: list[Any] = []
        for entry in entries:
            if entry.result is not None and entry.upload and entry.result.blob is None:
                out.append(Upload(entry.task.task_id, entry.upload))
            elif entry.result is not None:
                entry.upload = ""
        self._trust.began(adopting=event.adopting)
        if event.adopting:
            self._restored = {*self.tasks, *(spec.session_id for spec, _ in sessions)}
            return out
        return out + self._report(Report([], [], gone=True), now)

    def _report(self, message: Report, now: float) -> list[Any]:
        """A manager says what it holds: what had started and is not there is lost, what had not is placed (again)."""
        held = set(message.tasks)
        t = now + self.wall
        ended: list[Entry] = []
        runnable: list[Entry] = []
        lacking: list[str] = []
        for entry in list(self.tasks.values()):
            task = entry.task
            if entry.phase == FINISHED or not (message.gone or task.task_id in self._restored):
                continue
            if task.task_id in held:
                entry.placed = True
            elif entry.phase == STARTED:
                self._finished(entry, outcome.lost(task, entry.accepted, entry.started, t), 0.0)
                ended.append(entry)
            elif task.session and task.session not in message.sessions:
                result = outcome.cancelled(entry, t)
                result.error = ErrorInfo("RefLost", "this cell's session ended before it started")
                self._finished(entry, result, 0.0)
                ended.append(entry)
            elif self._placing.lacks(task):
                lacking.append(task.task_id)
            else:
                entry.placed = False
                entry.needs.clear()
                runnable.append(entry)
        settled = self._trust.reported(message.tasks, self.tasks)
        told = [Tell(CancelWork(task_id, CancelMode.KILL)) for task_id in sorted(self._trust.strangers)]
        told += self.sessions.strange(message.sessions)
        self._steps.note(runnable, now)
        lost = self.sessions.lost_but(message.sessions, None if message.gone else self._restored)
        self._restored = set()
        # The hub sends functions with the tasks that it leases: so it is asked to lease these again.
        back = self._back(Back(lacking, home=True, reason="its function had not reached the endpoint"), now)
        out = self._send_results(ended) + back + self._placing.place(runnable) + lost + told
        return out + self._settled() if settled else out

    def _let_go(self, task_id: str) -> list[Any]:
        """The manager has done with what nobody here knows of, or not under this lease."""
        settled = self._trust.gone(task_id)
        out = self._placing.arrived(_RUN + task_id)
        return out + self._settled() if settled else out

    def _settled(self) -> list[Any]:
        """What the inventory lacks will not be found any more."""
        return batches.of_inventory(self._trust.inventory(), self.tasks.values()) if self.open else []
