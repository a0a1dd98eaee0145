"""How long sessions live: while cells run, while somebody is here for them, and a time beyond."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_fx.ids import new_id
from jupyter_fx.protocol.lifecycle import SessionState
from jupyter_fx.protocol.messages import (
    AgentStatus,
    CloseSession,
    Credit,
    Function,
    Functions,
    Inventory,
    OpenSession,
    Resources,
    Result,
    Results,
    SessionEvent,
    SessionSpec,
    Submit,
    TaskSpec,
    Update,
    Updates,
)
from jupyter_fx_hub import infos
from jupyter_fx_hub.state import io
from jupyter_fx_hub.state.machine import HubState
from jupyter_fx_hub.state.records import Lifespans
from jupyter_fx_hub.state.why import why_task

HOUR = 3600.0


class Story:
    """A hub with one endpoint and a clock that jumps from one timer to the next."""

    def __init__(self, **limits: float) -> None:
        self.state = HubState(1, offset=1_000_000.0, limits=Lifespans(**limits))
        self.now = 0.0
        self.sent: list[Any] = []
        self.tell(io.EndpointKnown("e" * 32, "u", "one", 1.0, new=True))
        self.tell(io.AgentUp("e" * 32))
        self.agent(Inventory("g", "b", True, []))
        self.agent(Credit(0, [("", 10)]))
        self.client(Functions([Function("f" * 64, b"f")]))

    def tell(self, event: Any) -> None:
        for said in self.state.handle(event, self.now):
            if hasattr(said, "message"):
                self.sent.append(said.message)
        self.state.validate()

    def agent(self, message: Any) -> None:
        self.tell(io.FromAgent("e" * 32, message))

    def client(self, message: Any, link: int = 1, *, local: bool = True) -> None:
        self.tell(io.FromClient(link, "u", message, True, local=local))

    def open(self, link: int = 1, *, local: bool = True, **more: Any) -> str:
        spec = SessionSpec(new_id(), "one", "kernel", "epoch", **more)
        self.client(OpenSession(spec), link, local=local)
        self.agent(SessionEvent(spec.session_id, SessionState.OPENING))
        self.agent(SessionEvent(spec.session_id, SessionState.OPEN, "", {"pid": 7}))
        return spec.session_id

    def again(self, session_id: str, link: int) -> None:
        self.client(OpenSession(SessionSpec(session_id, "one", "kernel", "epoch"), again=True), link)

    def cell(self, session_id: str) -> str:
        task_id = new_id()
        self.client(Submit([TaskSpec(task_id, 2, "", b"p", "", session_id)]))
        self.agent(Credit(10, [(f"s:{session_id}", 2)]))
        return task_id

    def begin(self, task_id: str) -> None:
        task = self.state.core.tasks[task_id]
        for phase in ("accepted", "started"):
            self.agent(Updates([Update(task_id, task.attempt, task.fence, phase, self.now)]))

    def held(self) -> int:
        """How many workers sessions hold for nothing, as people are told."""
        (found,) = infos.of_endpoints(self.state.core, self.state.core.endpoints.values())
        return int(found["held"])

    def end(self, task_id: str) -> None:
        task = self.state.core.tasks[task_id]
        self.agent(Results([Result(task_id, task.attempt, task.fence, 10, b"r", times=[1.0, 2.0, 3.0])]))

    def after(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        until = self.now + seconds
        while (due := self.state.next_timer()) is not None and due <= until:
            self.now = max(self.now, due)
            self.tell(io.Tick())
        self.now = until

    def state_of(self, session_id: str) -> SessionState:
        return SessionState(self.state.core.sessions[session_id].state)

    def reason(self, session_id: str) -> str:
        return str(self.state.core.sessions[session_id].reason)

    def announced(self) -> list[float]:
        return [m.info["ends_at"] for m in self.sent if isinstance(m, SessionEvent) and "ends_at" in m.info]


def test_a_session_holds_its_worker_for_nothing_while_no_cell_runs_in_it() -> None:
    story = Story()
    assert story.held() == 0
    session, _other = story.open(), story.open(name="second")
    assert story.held() == 2
    cell = story.cell(session)
    assert story.held() == 2
    story.begin(cell)
    assert story.held() == 1
    story.end(cell)
    assert story.held() == 2


def test_an_idle_session_is_announced_to_end_and_ends() -> None:
    story = Story(idle=8 * HOUR, warning=600)
    session = story.open()
    story.after(8 * HOUR - 601)
    assert not story.announced()
    story.after(2)
    assert story.announced() == [1_000_000 + 8 * HOUR]
    assert story.state_of(session) is SessionState.OPEN
    story.after(600)
    assert story.state_of(session) is SessionState.CLOSING
    assert story.reason(session) == "it was idle for 8 h"


def test_a_cell_begins_the_time_anew_when_it_ends_and_takes_the_announcement_back() -> None:
    story = Story(idle=8 * HOUR, warning=600)
    session = story.open()
    story.after(8 * HOUR - 300)
    cell = story.cell(session)
    assert story.announced()[-1] == 0.0
    story.after(20 * HOUR)
    assert story.state_of(session) is SessionState.OPEN
    story.end(cell)
    story.after(8 * HOUR - 1)
    assert story.state_of(session) is SessionState.OPEN
    story.after(2)
    assert story.state_of(session) is SessionState.CLOSING


@pytest.mark.parametrize(
    ("resources", "why"), [(Resources(gpus=2), "2 GPUs"), (Resources(exclusive=True), "a whole node")]
)
def test_an_idle_session_that_holds_gpus_or_a_node_is_announced_and_given_back_sooner(
    resources: Resources, why: str
) -> None:
    story = Story(idle=8 * HOUR, idle_gpu=HOUR, warning=600)
    session, usual = story.open(resources=resources), story.open(2, resources=Resources(cores=4), name="other")
    story.after(HOUR - 599)
    assert story.announced() == [1_000_000 + HOUR]
    story.after(600)
    assert story.state_of(session) is SessionState.CLOSING
    assert story.reason(session) == f"it was idle for 60 min with {why}"
    assert story.state_of(usual) is SessionState.OPEN


def test_renewing_begins_the_time_anew() -> None:
    story = Story(idle=8 * HOUR)
    session = story.open()
    story.after(7 * HOUR)
    story.tell(io.RenewSession(session))
    story.after(7 * HOUR)
    assert story.state_of(session) is SessionState.OPEN
    story.after(1.1 * HOUR)
    assert story.state_of(session) is SessionState.CLOSING


def test_a_kernel_here_that_is_gone_leaves_its_session_for_two_minutes() -> None:
    story = Story(lease_local=120)
    session = story.open(link=5)
    other = story.open(link=6)
    story.tell(io.LinkGone(5))
    story.after(119)
    assert story.state_of(session) is SessionState.OPEN
    story.after(2)
    assert story.state_of(session) is SessionState.CLOSING
    assert "its notebook's kernel is gone" in story.reason(session)
    assert story.state_of(other) is SessionState.OPEN


def test_a_kernel_that_comes_back_finds_its_session() -> None:
    story = Story(lease_local=120)
    session = story.open(link=5)
    story.tell(io.LinkGone(5))
    story.after(100)
    story.again(session, 6)
    assert [m.state for m in story.sent if isinstance(m, SessionEvent)][-1] == SessionState.OPEN
    story.after(HOUR)
    assert story.state_of(session) is SessionState.OPEN


def test_one_that_ended_meanwhile_is_told_to_be_lost_and_not_opened_again() -> None:
    story = Story()
    session = new_id()
    story.again(session, 6)
    told = [m for m in story.sent if isinstance(m, SessionEvent)]
    assert [(m.session_id, m.state) for m in told] == [(session, SessionState.LOST)]
    assert session not in story.state.core.sessions


def test_a_kernel_elsewhere_may_be_asleep() -> None:
    story = Story(lease_local=120, lease=0.0, idle=8 * HOUR)
    session = story.open(link=5, local=False)
    story.tell(io.LinkGone(5))
    story.after(7.9 * HOUR)
    assert story.state_of(session) is SessionState.OPEN
    story.after(HOUR)
    assert story.state_of(session) is SessionState.CLOSING


def test_a_kernel_that_is_silent_is_not_taken_for_dead() -> None:
    story = Story(lease_local=120, idle=8 * HOUR)
    session = story.open(link=5)
    story.tell(io.LinkGone(5, silent=True))
    story.after(HOUR)
    assert story.state_of(session) is SessionState.OPEN
    story.again(session, 6)
    story.tell(io.LinkGone(6))
    story.after(121)
    assert story.state_of(session) is SessionState.CLOSING


def test_a_cell_of_a_dead_kernel_runs_to_its_end() -> None:
    story = Story(lease_local=120)
    session = story.open(link=5)
    cell = story.cell(session)
    story.tell(io.LinkGone(5))
    story.after(HOUR)
    assert story.state_of(session) is SessionState.OPEN
    story.end(cell)
    story.after(119)
    assert story.state_of(session) is SessionState.OPEN
    story.after(2)
    assert story.state_of(session) is SessionState.CLOSING


def test_closing_when_idle_waits_for_the_last_cell() -> None:
    story = Story()
    session = story.open()
    first, second = story.cell(session), story.cell(session)
    story.client(CloseSession(session, "its kernel was restarted", when_idle=True))
    story.after(60)
    story.end(first)
    story.after(60)
    assert story.state_of(session) is SessionState.OPEN
    story.end(second)
    story.after(0)
    assert story.state_of(session) is SessionState.CLOSING
    assert story.reason(session) == "its kernel was restarted"
    idle = story.open()
    story.client(CloseSession(idle, when_idle=True))
    assert story.state_of(idle) is SessionState.CLOSING


def test_after_a_start_of_the_hub_both_clocks_begin_anew() -> None:
    story = Story(lease_local=120)
    spec = SessionSpec(new_id(), "one", "kernel", "epoch")
    story.after(HOUR)
    story.tell(io.SessionKnown(spec, "u", "e" * 32, SessionState.OPEN, 1.0))
    story.after(100)
    assert story.state_of(spec.session_id) is SessionState.OPEN
    story.after(30)
    assert story.state_of(spec.session_id) is SessionState.CLOSING


def test_nothing_ends_where_nothing_is_limited() -> None:
    story = Story(idle=0.0, lease_local=0.0, lease=0.0)
    session = story.open(link=5)
    story.tell(io.LinkGone(5))
    story.after(1000 * HOUR)
    assert story.state_of(session) is SessionState.OPEN


def test_many_cells_set_few_timers() -> None:
    story = Story()
    session = story.open()
    before = len(story.state.core._timers)
    for _ in range(200):
        story.end(story.cell(session))
        story.after(0.01)
    assert len(story.state.core._timers) - before <= 1


def test_infos_tell_how_long_it_has() -> None:
    story = Story(idle=8 * HOUR)
    session = story.open()
    story.after(HOUR)
    story.tell(io.Tick())
    core = story.state.core
    told = infos.of_session(core, core.sessions[session])
    assert (told["idle"], told["ends_at"], told["busy"], told["attended"]) == (HOUR, 1_000_000 + 8 * HOUR, False, True)
    story.cell(session)
    assert infos.of_session(core, core.sessions[session])["busy"]


def test_a_cell_that_waits_for_a_slot_says_who_has_them() -> None:
    story = Story()
    story.open(notebook="work/first.ipynb")
    story.after(3 * HOUR)
    story.open(notebook="second.ipynb")
    story.agent(AgentStatus({"max_sessions": 2, "sessions": 2}))
    spec = SessionSpec(new_id(), "one", "kernel3", "epoch")
    story.client(OpenSession(spec))
    task_id = new_id()
    story.client(Submit([TaskSpec(task_id, 2, "", b"p", "", spec.session_id)]))
    why = why_task(story.state.core, story.state.core.tasks[task_id])
    assert why.startswith("all 2 session slots of one are taken (first.ipynb idle 3 h, second.ipynb idle 0 s)")
    assert "--all-idle" in why
