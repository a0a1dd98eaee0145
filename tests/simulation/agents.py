"""The real agent's state in a small world: its journal is bytes that outlive it, its manager is made up here.

The agent dies between any two of its instructions. Its manager dies with it, or outlives it and then tells again what
the dead one had not acknowledged. The journal is written and read by the real code, so that it can be torn.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from jupyter_fx.endpoint import journal_kinds as kinds
from jupyter_fx.endpoint.events import (
    Acked,
    Assemble,
    DiskState,
    Draining,
    Fetch,
    Fetched,
    FindRef,
    KeepRef,
    LoadFunction,
    Opened,
    Record,
    RefKept,
    Replayed,
    Send,
    Tell,
    Upload,
    Uploaded,
    Write,
    WriteFailed,
)
from jupyter_fx.endpoint.journal_records import begun, encoded, judged
from jupyter_fx.endpoint.state import AgentState
from jupyter_fx.endpoint.talk import (
    Back,
    CancelWork,
    Capacity,
    CloseWorker,
    Done,
    Drain,
    Ended,
    Go,
    OpenWorker,
    Place,
    Report,
    Said,
    SessionGone,
    SessionUp,
    Want,
    Work,
)
from jupyter_fx.protocol.messages import BlobRef, ErrorInfo, EventKind, Kind

_encode = msgspec.msgpack.Encoder().encode


def copied(message: Any) -> Any:
    """What the other side of a wire would decode."""
    return msgspec.msgpack.decode(_encode(message), type=type(message))


class Wire:
    """One direction of a link, with kept messages that are sent again after a cut."""

    def __init__(self) -> None:
        self.flying: deque[tuple[Any, int]] = deque()
        self.kept: list[tuple[Any, int]] = []
        self.last = 0
        self.up = False

    def send(self, message: Any, *, keep: bool = False) -> int:
        number = 0
        if keep:
            self.last += 1
            number = self.last
            self.kept.append((message, number))
        if self.up:
            self.flying.append((message, number))
        return number

    def cut(self) -> None:
        self.up = False
        self.flying.clear()

    def join(self, received: int) -> None:
        self.up = True
        self.flying = deque((m, n) for m, n in self.kept if n > received)

    def acked(self, number: int) -> None:
        self.kept = [(m, n) for m, n in self.kept if n > number]


class Died(Exception):
    """The agent's process is killed here."""


class Job:
    """Work in a manager: `state` is waiting, asked, handed or running."""

    def __init__(self, work: Work) -> None:
        self.work, self.state, self.cancel, self.said = work, "waiting", False, 0


class Manager:
    """What the environment of an agent does: runs work, loses workers, gives work back."""

    def __init__(self, world: Any, agent: Agent) -> None:
        self.world, self.agent = world, agent
        self.jobs: dict[str, Job] = {}
        self.tickets: dict[int, list[str]] = {}
        self.ticket = 0
        self.sessions: dict[str, tuple[int, bool]] = {}
        """Their worker's number, and whether it is up."""
        self.closing: dict[str, str] = {}
        self.draining = False
        self.up: deque[Any] = deque()
        self.past: deque[Any] = deque(maxlen=3)
        """Told last: an agent that starts anew may not have acknowledged it."""
        self.down: deque[Any] = deque()
        self.say(Capacity(4, True, {}))

    def say(self, message: Any) -> None:
        self.up.append(copied(message))

    def reconnect(self) -> None:
        """Another agent: what the last one was told may not have been acknowledged, what it said may be lost."""
        again = self.world.rng.randrange(len(self.past) + 1)
        self.up.extendleft(list(self.past)[::-1][:again])
        self.past.clear()
        self.down.clear()
        for ticket, tasks in self.tickets.items():
            self.say(Want(ticket, tasks))
        self.say(Report(list(self.jobs), list(self.sessions), to=str(self.agent.process + 1)))

    # What the agent says.

    def receive(self, message: Any) -> None:
        match message:
            case Place():
                for work in message.work:
                    self.place(work)
            case Go():
                self.go(message)
            case CancelWork():
                self.cancel(message.task_id)
            case OpenWorker():
                if message.session_id not in self.sessions:
                    self.world.workers += 1
                    self.sessions[message.session_id] = (self.world.workers, False)
            case CloseWorker():
                if message.session_id not in self.sessions:
                    self.say(SessionGone(message.session_id, message.reason, lost=False))
                else:
                    self.closing[message.session_id] = message.reason
            case Drain():
                self.draining = True
                self.give_home([t for t, job in self.jobs.items() if job.state == "waiting"])

    def place(self, work: Work) -> None:
        if work.task_id in self.jobs:
            return
        if work.session and work.session not in self.sessions:
            self.say(Done([Ended(work.task_id, "cancelled", error=ErrorInfo("RefLost", "its session ended"))]))
            return
        self.jobs[work.task_id] = Job(work)

    def go(self, message: Go) -> None:
        for task_id in self.tickets.pop(message.ticket, ()):
            job = self.jobs[task_id]
            if task_id not in message.tasks:
                del self.jobs[task_id]
            elif job.cancel:
                self.end(job, "cancelled")
            else:
                job.state = "handed"

    def cancel(self, task_id: str) -> None:
        job = self.jobs.get(task_id)
        if job is None:
            return
        job.cancel = True
        if job.state == "waiting":
            self.end(job, "cancelled")

    def end(self, job: Job, outcome: str, error: ErrorInfo | None = None) -> None:
        del self.jobs[job.work.task_id]
        ran = job.state == "running"
        t = self.world.wall
        ended = Ended(job.work.task_id, outcome, b"", t if ran else 0.0, t, error=error)
        if outcome == "ok":
            ended.payload = b"r%d" % self.world.rng.randrange(1 << 30)
            if self.world.rng.random() < 0.05:
                ended.payload, ended.path, ended.size = b"", f"/spill/{job.work.task_id}", 1 << 20
        if job.work.kind == Kind.MAP and ran:
            ended.usage = {"items": job.said, "failed": 0}
        self.say(Done([ended]))

    def give_home(self, tasks: list[str]) -> None:
        for task_id in tasks:
            del self.jobs[task_id]
        if tasks:
            self.say(Back(tasks, home=True, reason="walltime"))

    # What happens by itself.

    def step(self) -> None:
        rng = self.world.rng
        if self.sessions and rng.random() < 0.2:
            self.session_step(rng.choice(sorted(self.sessions)))
        jobs = list(self.jobs.values())
        if not jobs:
            return
        job = rng.choice(jobs)
        task_id = job.work.task_id
        if job.state == "waiting" and not self.draining:
            self.ask(job)
        elif job.state == "handed":
            roll = rng.random()
            if job.work.session and not self.first_of_session(job):
                return
            if roll < 0.1 and not job.work.session:
                job.state = "waiting"
                self.say(Back([task_id]))
            elif roll < 0.15 or self.draining:
                if not job.work.session:
                    self.give_home([task_id])
            else:
                job.state = "running"
                self.world.started(job.work, self.agent.endpoint_id, self.sessions.get(job.work.session, (0, True))[0])
        elif job.state == "running":
            self.go_on(job)

    def ask(self, job: Job) -> None:
        rng = self.world.rng
        if job.work.session:
            busy = any(j.work.session == job.work.session and j.state != "waiting" for j in self.jobs.values())
            if busy or not self.sessions[job.work.session][1] or not self.first_of_session(job):
                return
            batch = [job]
        else:
            others = [j for j in self.jobs.values() if j.state == "waiting" and not j.work.session and j is not job]
            batch = [job, *others[: rng.choice([0, 0, 0, 2])]]
        for one in batch:
            one.state = "asked"
        self.ticket += 1
        self.tickets[self.ticket] = [one.work.task_id for one in batch]
        self.say(Want(self.ticket, self.tickets[self.ticket]))

    def first_of_session(self, job: Job) -> bool:
        return next(j for j in self.jobs.values() if j.work.session == job.work.session) is job

    def go_on(self, job: Job) -> None:
        rng = self.world.rng
        if job.cancel and rng.random() < 0.7:
            self.end(job, "cancelled")
        elif rng.random() < 0.4:
            pieces = []
            for _ in range(rng.randrange(1, 3)):
                pieces.append((job.work.task_id, int(EventKind.STDOUT), self.world.wall, b"%d\n" % job.said, job.said))
                job.said += 1
            self.say(Said(pieces))
        else:
            roll = rng.random()
            if roll < 0.15 and not job.work.session:
                self.end(job, "lost", ErrorInfo("WorkerLost", "SIGKILL"))
            elif roll < 0.2:
                self.end(job, "timeout")
            else:
                self.end(job, *(("ok",) if roll < 0.85 else ("error", ErrorInfo("ValueError", "no"))))

    def session_step(self, session: str) -> None:
        worker, up = self.sessions[session]
        if session in self.closing:
            reason = self.closing.pop(session)
            self.end_session(session, SessionGone(session, reason, lost=False))
        elif not up:
            self.sessions[session] = (worker, True)
            self.say(SessionUp(session, {"pid": worker}))
        elif self.world.rng.random() < 0.01:
            self.end_session(session, SessionGone(session, "SIGSEGV", lost=True))

    def end_session(self, session: str, told: SessionGone) -> None:
        del self.sessions[session]
        for job in [j for j in self.jobs.values() if j.work.session == session]:
            if job.state == "asked":
                # Its worker is gone when its START is told: nothing of it runs.
                self.tickets = {t: [i for i in ids if i != job.work.task_id] for t, ids in self.tickets.items()}
            if job.state == "running":
                self.end(job, "cancelled" if job.cancel else "lost", ErrorInfo("WorkerLost", "SIGSEGV"))
            else:
                self.end(job, "cancelled", ErrorInfo("RefLost", "its session ended"))
        self.say(told)


class Agent:
    """Carries out what the agent's state says, until it dies. `outlived`: whether its manager goes on without it."""

    def __init__(self, world: Any, endpoint_id: str, *, outlived: bool) -> None:
        self.world, self.endpoint_id, self.outlived = world, endpoint_id, outlived
        self.out, self.back = Wire(), Wire()
        self.connection = self.process = 0
        self.boot = "boot"
        self.journal = bytearray()
        self.known_functions: set[str] = set()
        self.fetching: list[Any] = []
        self.countdown = -1
        """Instructions until the process is killed; -1: it lives."""
        self.expected = False
        self.manager = Manager(world, self)
        self.start(adopting=False)

    def start(self, *, adopting: bool) -> None:
        """A new process."""
        self.process += 1
        self.out, self.back = Wire(), Wire()
        self.fetching = []
        fresh = f"g{self.endpoint_id[:1]}{self.process}"
        found = judged(bytes(self.journal), self.boot, expected=self.expected)
        self.expected = True
        if found.generation:
            del self.journal[found.good :]
        else:
            found.generation = fresh
            self.journal = bytearray(b"".join(map(encoded, begun(found, fresh, self.boot))))
        self.generation = found.generation
        self.state = AgentState(
            endpoint_id=self.endpoint_id,
            slots=4,
            worker_cores=1,
            max_sessions=3,
            wall=self.world.EPOCH,
            generation=found.generation,
            boot_id=self.boot,
            sure=not found.why,
            why=found.why,
            functions=set(self.known_functions),
        )
        self.handle(Replayed(found.records, adopting))

    def crash(self, *, torn: int = -1, rebooted: bool = False) -> None:
        """kill -9. `torn`: bytes of the journal that are left (-1: all of them); `rebooted`: the machine as well."""
        self.world.broken |= self.state.tasks.keys()
        self.countdown = -1
        if torn >= 0:
            whole = self.journal[torn:]
            del self.journal[torn:]
            if torn and whole and not rebooted and not judged(bytes(self.journal), self.boot, expected=True).why:
                # Cut off between two records while the machine goes on: nothing does that (docs/decisions/0007).
                self.journal += whole[:1]
        survives = self.outlived and not rebooted and not self.state.draining
        if rebooted:
            self.boot += "+"
        if survives:
            self.manager.reconnect()
        else:
            self.manager = Manager(self.world, self)
        self.start(adopting=survives)

    def manager_dies(self) -> None:
        """Only the manager."""
        self.manager = Manager(self.world, self)
        self.world.broken |= self.state.tasks.keys()
        self.handle(Capacity(4, False, {}))
        self.handle(Report([], [], gone=True))

    # Events and instructions.

    def handle(self, event: Any) -> None:
        self.perform(self.state.handle(event, self.world.now))
        self.state.validate()

    def opened(self) -> None:
        self.handle(Opened("u"))

    def closed(self) -> None:
        self.state.closed()

    def receive(self, message: Any) -> None:
        self.handle(message)

    def acked(self, number: int) -> None:
        self.out.acked(number)
        self.handle(Acked(number))
        if self.world.rng.random() < 0.02:
            records = [Record(kinds.HEAD, [self.generation, self.boot]), *self.state.records()]
            self.journal = bytearray(b"".join(map(encoded, records)))

    def perform(self, instructions: list[Any]) -> None:
        for one in instructions:
            if self.countdown == 0:
                raise Died
            self.countdown -= self.countdown > 0
            match one:
                case Send():
                    number = self.out.send(copied(one.message), keep=one.keep)
                    if one.marks:
                        self.state.sent(number, one.marks)
                case Tell():
                    self.manager.down.append(copied(one.message))
                case Write():
                    self.write(one)
                case Fetch() | FindRef() | Upload() | KeepRef() | LoadFunction() | Assemble():
                    self.fetching.append(one)
                case _:
                    if hasattr(one, "payload"):
                        self.known_functions.add(one.digest)

    def write(self, one: Write) -> None:
        if self.world.rng.random() < 0.003:
            self.handle(WriteFailed(one.record, "no space", one.then))
            return
        self.journal += encoded(one.record)
        self.perform(one.then)

    def step(self) -> None:
        """One thing that happens at this endpoint."""
        rng, manager = self.world.rng, self.manager
        due = self.state.next_timer()
        roll = rng.random()
        if due <= self.world.now:
            self.perform(self.state.handle_timer(self.world.now))
        elif roll < 0.3 and manager.up:
            message = manager.up.popleft()
            manager.past.append(message)
            if not isinstance(message, Report) or message.to == str(self.process):
                self.handle(copied(message))
        elif roll < 0.6 and manager.down:
            manager.receive(manager.down.popleft())
        elif roll < 0.65 and self.fetching:
            self.bytes_came(self.fetching.pop(rng.randrange(len(self.fetching))))
        elif roll < 0.67 and self.state.disk_full:
            self.handle(DiskState(""))
        else:
            manager.step()

    def bytes_came(self, one: Any) -> None:
        failed = self.world.rng.random() < 0.2
        match one:
            case Fetch():
                error = ErrorInfo("StorageFull", "no room") if failed else None
                self.handle(Fetched(one.key, f"/inputs/{one.blob.digest[:8]}", error))
            case FindRef():
                error = ErrorInfo("RefLost", "its value is gone") if failed else None
                self.handle(Fetched(f"ref:{one.ref.ref_id}", f"/refs/{one.ref.ref_id[:8]}", error))
            case Upload():
                error = ErrorInfo("HubUnavailable", "gone") if failed else None
                blob = None if failed else BlobRef("b" * 64, 1 << 20)
                self.handle(Uploaded(one.key, blob, error))
            case KeepRef():
                self.handle(RefKept(one.ref_id))
            case Assemble():
                self.manager.down.append(Place([one.work]))

    def drain(self) -> None:
        """It is told to stop."""
        self.handle(Draining("it is being stopped"))

    @property
    def quiet(self) -> bool:
        """Whether nothing is on its way between agent and manager."""
        return not (self.manager.up or self.manager.down or self.fetching)


__all__ = ["Agent", "Died", "Wire"]
