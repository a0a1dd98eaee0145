"""A hub and a manager that are written down, around the agent's state: what stories of it are told with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jupyter_fx.endpoint.events import (
    Opened,
    Record,
    Replayed,
    Send,
    Tell,
    Write,
    WriteFailed,
)
from jupyter_fx.endpoint.state import AgentState
from jupyter_fx.endpoint.talk import (
    Done,
    Ended,
    Go,
    Want,
)
from jupyter_fx.protocol.messages import (
    Demand,
    DemandItem,
    LeasedTask,
    Resources,
    Results,
    SessionSpec,
    TaskOptions,
)


class Shell:
    """Carries out instructions on lists; `full` makes the journal refuse."""

    def __init__(self, records: list[Record] | None = None, **how: Any) -> None:
        self.journal: list[Record] = list(records or [])
        self.sent: list[Any] = []
        self.told: list[Any] = []
        self.others: list[Any] = []
        self.full: Callable[[Record], bool] = lambda _record: False
        self.number = 0
        self.now = 100.0
        self.state = AgentState(
            endpoint_id="e" * 32,
            slots=2,
            worker_cores=1,
            max_sessions=1,
            wall=1000.0,
            generation="g",
            boot_id="b",
            functions={"f"},
            **how,
        )
        self.handle(Replayed(list(self.journal)))
        self.handle(Opened("me"))

    def handle(self, event: Any) -> None:
        self.do(self.state.handle(event, self.now))
        self.state.validate()

    def do(self, instructions: list[Any]) -> None:
        for one in instructions:
            match one:
                case Send():
                    self.sent.append(one.message)
                    self.number += one.keep
                    if one.marks:
                        self.state.sent(self.number, one.marks)
                case Tell():
                    self.told.append(one.message)
                case Write():
                    if self.full(one.record):
                        self.handle(WriteFailed(one.record, "No space left", one.then))
                    else:
                        self.journal.append(one.record)
                        self.do(one.then)
                case _:
                    self.others.append(one)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.do(self.state.handle_timer(self.now))

    def of(self, kind: type, since: int = 0) -> list[Any]:
        return [one for one in (self.sent + self.told + self.others)[since:] if isinstance(one, kind)]

    def start(self, *task_ids: str) -> list[str]:
        self.handle(Want(1, list(task_ids)))
        go: Go = self.of(Go)[-1]
        return go.tasks

    def results(self) -> list[Any]:
        return [result for message in self.of(Results) for result in message.results]


def task(
    n: int = 1, attempt: int = 1, fence: int = 0, session: str = "", owner: str = "me", **options: Any
) -> LeasedTask:
    return LeasedTask(
        f"{n:032x}",
        owner,
        attempt,
        (1, fence or n),
        2 if session else 0,
        "" if session else "f",
        b"payload",
        session,
        TaskOptions(**options) if options else None,
    )


ONE = f"{1:032x}"
TWO = f"{2:032x}"


def ok(task_id: str = ONE, **how: Any) -> Done:
    return Done([Ended(task_id, "ok", b"value", 1100.5, 1101.0, **how)])


SESSION = "5" * 32
SPEC = SessionSpec(SESSION, "local", "kernel", "epoch", cwd="/home/ada")
WAITS = Demand([DemandItem("s:" + SESSION, 1, Resources(), SPEC, "me")])
