"""A hub's state with a client, an agent and a disk around it that are written down: what stories are told with."""

from __future__ import annotations

from typing import Any

from jupyter_fx.ids import new_id
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import (
    Credit,
    ErrorInfo,
    Function,
    Functions,
    Held,
    Inventory,
    Outcomes,
    Result,
    Results,
    SessionSpec,
    Submit,
    TaskOptions,
    TaskSpec,
    Update,
    Updates,
)
from jupyter_fx_hub.state import io
from jupyter_fx_hub.state.machine import HubState

ONE, TWO, FN = "1" * 32, "2" * 32, "a" * 64
LOST = ErrorInfo("WorkerLost", "SIGKILL")


class Story:
    """A state, a clock, and short words for what happens."""

    def __init__(self, *names: str, boot: int = 1) -> None:
        self.state = HubState(boot, offset=1_000_000.0)
        self.now = 0.0
        self.said: list[Any] = []
        for endpoint_id, name in zip((ONE, TWO), names or ("one",), strict=False):
            self.tell(io.EndpointKnown(endpoint_id, "u", name, 1.0, new=True))
            self.up(endpoint_id)
        self.client(Functions([Function(FN, b"f")]))

    def tell(self, event: Any) -> list[Any]:
        self.said = self.state.handle(event, self.now)
        self.state.validate()
        return self.said

    def client(self, message: Any, owner: str = "u", *, fresh: bool = True, looked: bool = False) -> list[Any]:
        return self.tell(io.FromClient(1, owner, message, fresh, looked))

    def agent(self, message: Any, endpoint_id: str = ONE, *, looked: bool = False) -> list[Any]:
        return self.tell(io.FromAgent(endpoint_id, message, looked))

    def up(
        self,
        endpoint_id: str = ONE,
        held: list[Held] | None = None,
        *,
        credit: int = 100,
        sure: bool = True,
        **more: Any,
    ) -> None:
        self.tell(io.AgentUp(endpoint_id, incarnation=more.pop("incarnation", "p")))
        self.agent(Inventory(more.pop("generation", "g"), "b", sure, held or [], **more), endpoint_id)
        inventory = self.said
        self.agent(Credit(0, [("", credit)]), endpoint_id)
        self.said = inventory + self.said

    def submit(self, endpoint: str = "one", *, fresh: bool = True, task_id: str = "", **options: Any) -> str:
        spec = TaskSpec(
            task_id or new_id(),
            0,
            FN,
            b"p",
            endpoint,
            "",
            options.pop("watch", 0),
            TaskOptions(**options) if options else None,
        )
        self.client(Submit([spec]), fresh=fresh)
        return spec.task_id

    def task(self, task_id: str) -> Any:
        return self.state.core.tasks[task_id]

    def is_(self, task_id: str) -> TaskState:
        return self.task(task_id).state  # type: ignore[no-any-return]

    def sent(self, kind: type) -> list[Any]:
        return [i.message for i in self.said if hasattr(i, "message") and isinstance(i.message, kind)]

    def ops(self, kind: type) -> list[Any]:
        return [op for i in self.said if isinstance(i, io.Writes) for op in i.ops if isinstance(op, kind)]

    def outcomes(self) -> dict[str, Any]:
        return {o.task_id: o for m in self.sent(Outcomes) for o in m.outcomes}

    def step(self, task_id: str, phase: str) -> None:
        t = self.task(task_id)
        self.agent(Updates([Update(task_id, t.attempt, t.fence, phase, self.now + 1e6)]), t.endpoint_id)

    def result(self, task_id: str, state: int = 10, *, started: float = 2.0, **more: Any) -> Result:
        t = self.task(task_id)
        return Result(task_id, t.attempt, t.fence, state, b"r", times=[1.0, started, 3.0], **more)

    def end(self, task_id: str, state: int = 10, **more: Any) -> None:
        self.agent(Results([self.result(task_id, state, **more)]), self.task(task_id).endpoint_id)

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.tell(io.Tick())


def spec(session_id: str) -> SessionSpec:
    return SessionSpec(session_id, "one", "kernel", "1")


def cell(story: Story, session_id: str) -> str:
    task = new_id()
    story.client(Submit([TaskSpec(task, 2, "", b"x = 1", session=session_id)]))
    return task
