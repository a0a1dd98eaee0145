"""Stories of what a hub can and cannot know after a crash, told to the pure state (found by the simulation)."""

from __future__ import annotations

from typing import Any

from jupyter_fx.ids import new_id
from jupyter_fx.protocol.lifecycle import SessionState, TaskState
from jupyter_fx.protocol.messages import (
    CancelTasks,
    Credit,
    Dispatch,
    ErrorInfo,
    Events,
    Held,
    Inventory,
    Keep,
    OpenSession,
    Output,
    Outputs,
    Rejected,
    Result,
    Results,
    SessionClosed,
    SessionEvent,
    SessionLease,
    Submit,
    TaskSpec,
    Update,
    Updates,
)
from jupyter_fx_hub.state import io
from tests.unit.hub.hub_story import ONE, Story, cell, spec


def opened(story: Any) -> str:
    session_id = new_id()
    story.client(OpenSession(spec(session_id)))
    story.agent(SessionEvent(session_id, SessionState.OPEN))
    story.agent(Credit(0, [("", 9), (f"s:{session_id}", 2)]))
    return session_id


def test_an_inventory_that_is_told_again_says_nothing_of_leases_that_were_on_their_way() -> None:
    story = Story()
    story.tell(io.AgentDown(ONE))
    story.up(sure=False, generation="h", why="torn")
    task = story.submit()
    story.agent(Inventory("h", "b", False, [], settled=True))
    assert story.is_(task) is TaskState.LEASED


def test_a_result_of_a_lease_that_was_never_written_waits_at_its_agent_for_the_next_one() -> None:
    for lost in (False, True):
        story = Story(boot=2)
        task = story.submit()
        story.agent(Results([Result(task, 1, (1, 7), 11 if lost else 10, times=[1.0, 2.0, 3.0], lost=lost)]))
        assert story.sent(Keep)[0].tasks == [(task, 1)]
        assert story.is_(task) is TaskState.LEASED
        story.tell(io.AgentDown(ONE))
        story.up(held=[Held(task, "u", 1, (1, 7), "started")])
        assert not story.sent(CancelTasks)
        assert story.sent(Dispatch)[0].tasks[0].attempt == 2


def test_a_redelivery_is_refused_only_when_the_store_does_not_know_it() -> None:
    story = Story()
    late = TaskSpec(new_id(), 2, "", b"x = 1", session=new_id())
    story.client(Submit([late]), fresh=False)
    assert not story.sent(Rejected)
    (need,) = [i for i in story.said if isinstance(i, io.Need)]
    assert need.task_ids == [late.task_id]
    story.client(need.event.message, fresh=False, looked=True)
    assert story.sent(Rejected)[0].tasks == [late.task_id]


def test_a_fresh_cell_does_not_overtake_one_that_the_store_has_yet_to_confirm() -> None:
    story = Story()
    session_id = opened(story)
    first, second = (TaskSpec(new_id(), 2, "", b"x = 1", session=session_id) for _ in range(2))
    story.client(Submit([first]), fresh=False)
    story.client(Submit([second]))
    assert not story.sent(Dispatch)
    story.tell(io.Confirmed([first.task_id, second.task_id]))
    leased = [task.task_id for message in story.sent(Dispatch) for task in message.tasks]
    assert leased == [first.task_id, second.task_id]


def test_a_cell_that_comes_back_to_a_session_that_is_over_is_cancelled() -> None:
    story = Story()
    session_id = opened(story)
    task = cell(story, session_id)
    story.tell(io.AgentDown(ONE))
    story.agent(SessionClosed(session_id, "its worker died", lost=True))
    story.task(task).cancelling = None  # what a hub that restarts would not know
    story.up()
    assert story.is_(task) is TaskState.CANCELLED
    assert "its worker died" in story.outcomes()[task].error.message


def test_a_lease_of_a_session_says_whether_it_was_open() -> None:
    story = Story()
    opened(story)
    story.tell(io.AgentDown(ONE))
    story.up()
    assert [lease.opened for lease in story.sent(SessionLease)] == [True]


def test_what_is_told_of_a_task_before_it_is_confirmed_comes_after_its_beginning() -> None:
    story = Story(boot=2)
    task = story.submit(fresh=False, watch=2)
    story.agent(Outputs([Output(task, 1, 0, 1, 1.0, b"text")]))
    assert not story.said
    story.tell(io.Confirmed([task]))
    assert [event.n for message in story.sent(Events) for event in message.events][:2] == [0, 1]


def test_a_task_that_expired_before_it_was_begun_ends_as_expired_although_its_start_was_told() -> None:
    story = Story()
    task = story.submit(expires=1.0)
    story.later(2.0)
    lease = story.task(task)
    story.agent(Updates([Update(task, lease.attempt, lease.fence, "started", 3.0)]))
    story.agent(Results([Result(task, lease.attempt, lease.fence, 12, times=[1.0, 0.0, 3.0])]))
    assert story.is_(task) is TaskState.EXPIRED
    assert isinstance(story.outcomes()[task].error, ErrorInfo)
