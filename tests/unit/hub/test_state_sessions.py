"""Stories of the hub's state: sessions and their cells."""

from __future__ import annotations

from jupyter_fx.ids import new_id
from jupyter_fx.protocol.lifecycle import SessionState, TaskState
from jupyter_fx.protocol.messages import (
    CancelTasks,
    CloseSession,
    Credit,
    Demand,
    Dispatch,
    ErrorInfo,
    OpenSession,
    Rejected,
    SessionClosed,
    SessionEvent,
    SessionLease,
    Submit,
    TaskOptions,
    TaskSpec,
)
from jupyter_fx_hub.state import io
from jupyter_fx_hub.state.why import why_task
from tests.unit.hub.hub_story import LOST, ONE, Story, cell, spec


def test_cells_wait_for_their_session_run_in_order_and_go_with_it() -> None:
    story, session_id = Story(), new_id()
    story.client(OpenSession(spec(session_id)))
    assert story.sent(SessionLease)
    cells = [cell(story, session_id) for _ in range(4)]
    story.later(0.2)
    assert story.sent(Demand)[0].items[0].session == spec(session_id)
    assert "its session is requested" in why_task(story.state.core, story.task(cells[0]))
    story.agent(SessionEvent(session_id, SessionState.OPEN))
    story.agent(Credit(0, [("", 9), (f"s:{session_id}", 2)]))
    assert [t.task_id for t in story.sent(Dispatch)[0].tasks] == cells[:2]
    story.step(cells[0], "accepted")
    story.step(cells[0], "started")
    story.end(cells[0], 11, lost=True, error=LOST)
    assert story.is_(cells[0]) is TaskState.FAILED, "a cell is never run again"
    story.agent(SessionClosed(session_id, "its worker died", lost=True))
    assert [story.is_(t) for t in cells[2:]] == [TaskState.CANCELLED] * 2
    assert "its worker died" in story.outcomes()[cells[3]].error.message
    assert story.sent(CancelTasks)[0].tasks == [(cells[1], 1)]
    late = cell(story, session_id)
    assert "is lost (its worker died): open a new one" in story.sent(Rejected)[0].error.message
    assert late not in story.state.core.tasks


def test_cells_of_a_session_that_cannot_be_had_fail_with_the_reason() -> None:
    story, session_id, first = Story(), new_id(), new_id()
    story.client(OpenSession(spec(session_id)))
    cells = [cell(story, session_id) for _ in range(2)]
    story.client(Submit([TaskSpec(first, 2, "", b"", session=session_id, options=TaskOptions(inputs=[cells[1]]))]))
    assert story.is_(first) is TaskState.WAITING
    why = ErrorInfo("UsageError", "this endpoint has no GPUs, 3 were asked for")
    story.agent(SessionClosed(session_id, why.message, lost=True, error=why))
    for one in [*cells, first]:
        assert story.is_(one) is TaskState.FAILED
    for one in cells:
        error = story.outcomes()[one].error
        assert (error.etype, error.message) == ("UsageError", why.message)
    told = story.sent(SessionEvent)[-1]
    assert (told.state, told.error) == (SessionState.LOST, why)
    cell(story, session_id)
    assert story.sent(Rejected)[0].error == why
    # Of one that was open it is no excuse.
    other = new_id()
    story.client(OpenSession(spec(other)))
    story.agent(SessionEvent(other, SessionState.OPEN))
    waits = cell(story, other)
    story.agent(SessionClosed(other, "its worker died", lost=True, error=why))
    assert story.is_(waits) is TaskState.CANCELLED


def test_closing_a_session_tells_its_agent_also_when_that_comes_back_later() -> None:
    story, session_id = Story(), new_id()
    story.client(OpenSession(spec(session_id)))
    story.agent(SessionEvent(session_id, SessionState.OPEN))
    story.tell(io.AgentDown(ONE))
    story.client(CloseSession(session_id, "kernel ended"))
    assert not story.sent(CloseSession)
    story.up()
    assert story.sent(CloseSession)[0].reason == "kernel ended"
    story.agent(SessionClosed(session_id, "done", lost=False))
    assert story.state.core.sessions[session_id].state is SessionState.CLOSED
