"""Stories of the hub's state: what agents say that they hold, and what they do not say."""

from __future__ import annotations

from jupyter_fx.ids import new_id
from jupyter_fx.protocol.lifecycle import EndpointState, TaskState
from jupyter_fx.protocol.messages import (
    Credit,
    Dispatch,
    Held,
    Inventory,
    Keep,
    Result,
    Results,
)
from jupyter_fx_hub.state import io
from jupyter_fx_hub.state.why import why_task
from tests.unit.hub.hub_story import LOST, ONE, Story


def test_credit_counts_what_went_out_after_the_agent_spoke() -> None:
    story = Story()
    story.agent(Credit(0, [("", 3)]))
    tasks = [story.submit() for _ in range(5)]
    assert [story.is_(t) for t in tasks].count(TaskState.LEASED) == 3
    story.agent(Credit(0, [("", 3)]))
    assert not story.sent(Dispatch)
    story.agent(Credit(2, [("", 2)]))
    assert [story.is_(t) for t in tasks].count(TaskState.LEASED) == 4


def test_silence_requeues_nothing_and_a_sure_inventory_decides() -> None:
    story = Story()
    leased, accepted, running, retried, kept = (story.submit(retries=1 if n == 3 else 0) for n in range(5))
    story.step(accepted, "accepted")
    for task in (running, retried, kept):
        story.step(task, "started")
    story.tell(io.AgentDown(ONE))
    story.later(3600.0)
    assert story.state.core.endpoints[ONE].state is EndpointState.UNREACHABLE
    assert story.is_(leased) is TaskState.LEASED
    assert "does not answer since" in why_task(story.state.core, story.task(running))
    t = story.task(kept)
    story.up(held=[Held(kept, "u", t.attempt, t.fence, "started")], credit=0)
    assert [story.is_(x).name for x in (leased, accepted, running, retried, kept)] == [
        "QUEUED",
        "LOST",
        "LOST",
        "QUEUED",
        "RUNNING",
    ]


def test_an_unsure_inventory_decides_nothing_until_it_is_settled() -> None:
    story = Story()
    plain, retried = story.submit(), story.submit(retries=1)
    story.tell(io.AgentDown(ONE))
    story.up(credit=0, sure=False, generation="h", why="torn")
    assert story.is_(plain) is TaskState.LEASED
    story.agent(Inventory("h", "b", False, [], settled=True))
    assert (story.is_(plain), story.is_(retried)) == (TaskState.LOST, TaskState.QUEUED)
    assert story.task(retried).starts == 1


def test_an_unsure_inventory_that_turns_sure_requeues_what_never_started() -> None:
    story = Story()
    task = story.submit()
    story.tell(io.AgentDown(ONE))
    story.up(credit=0, sure=False, generation="h")
    story.agent(Inventory("h", "b", True, []))
    assert story.is_(task) is TaskState.QUEUED


def test_a_sure_inventory_of_another_journal_proves_nothing_about_the_old_one() -> None:
    story = Story()
    task = story.submit()
    story.tell(io.AgentDown(ONE))
    story.up(credit=0, generation="h")
    assert story.is_(task) is TaskState.LOST


def test_leases_that_are_not_accepted_in_time_make_the_agent_come_again() -> None:
    story = Story()
    task = story.submit()
    story.later(61.0)
    (close,) = [i for i in story.said if isinstance(i, io.CloseAgent)]
    assert close.retry
    story.tell(io.AgentDown(ONE))
    story.up(credit=0)
    assert story.is_(task) is TaskState.QUEUED


def test_results_of_tasks_that_nobody_submitted_stay_with_the_agent() -> None:
    story = Story(boot=2)
    ghost = new_id()
    story.agent(Results([Result(ghost, 1, (1, 7), 10, b"r")]))
    (need,) = [i for i in story.said if isinstance(i, io.Need)]
    story.tell(io.Found())
    story.agent(need.event.message, looked=True)
    assert story.sent(Keep)[0].tasks == [(ghost, 1)]


def test_a_loss_that_was_told_before_its_task_was_known_is_not_run_again() -> None:
    story = Story(boot=2)
    ghost = new_id()
    lost = Results([Result(ghost, 1, (1, 7), 11, error=LOST, times=[1.0, 2.0, 3.0], lost=True)])
    story.agent(lost, looked=True)
    story.submit(task_id=ghost, fresh=False)
    story.tell(io.Confirmed([ghost]))
    assert not story.sent(Dispatch)
    assert story.is_(ghost) is TaskState.FAILED


def test_a_lease_that_a_dead_hub_could_not_write_down_is_taken_for_true() -> None:
    story = Story(boot=2)
    story.agent(Credit(0, [("", 0)]))
    task = story.submit()
    story.agent(Results([Result(task, 1, (1, 7), 10, b"r", times=[1.0, 2.0, 3.0])]))
    assert story.is_(task) is TaskState.SUCCEEDED
    assert story.task(task).fence == (1, 7)
