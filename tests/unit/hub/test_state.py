"""Stories of PROMISES §1, told to the pure state: one test per promise."""

from __future__ import annotations

import msgspec
import pytest

from jupyter_fx.protocol.lifecycle import InvalidTransition, TaskState
from jupyter_fx.protocol.messages import (
    AgentStatus,
    Attach,
    Cancel,
    CancelTasks,
    Credit,
    Demand,
    Dispatch,
    ErrorInfo,
    Event,
    Events,
    Functions,
    Nack,
    Output,
    Outputs,
    Rejected,
    Resources,
    Results,
    Submit,
    TaskOptions,
    TaskSpec,
)
from jupyter_fx_hub.state import io
from jupyter_fx_hub.state.why import why_task
from jupyter_fx_hub.store.ops import AddEvents, FinishTask, InsertTask
from tests.unit.hub.hub_story import FN, LOST, ONE, Story


def test_a_call_is_written_leased_and_answered_after_its_commit() -> None:
    story = Story()
    task = story.submit()
    assert [type(op).__name__ for op in story.ops(object)] == ["InsertTask", "LeaseTasks"]
    (dispatch,) = [i for i in story.said if isinstance(i.message if hasattr(i, "message") else None, Dispatch)]
    assert not dispatch.after
    assert dispatch.message.tasks[0].fence == (1, 1)
    story.end(task)
    (told,) = [i for i in story.said if isinstance(i, io.ToClient)]
    assert told.after
    assert story.outcomes()[task].payload == b"r"
    (written,) = story.ops(FinishTask)
    assert [TaskState(h[1]).name for h in msgspec.msgpack.decode(written.history)] == [
        "QUEUED",
        "LEASED",
        "ACCEPTED",
        "RUNNING",
        "SUCCEEDED",
    ]


def test_functions_go_before_the_first_task_that_names_them_and_once() -> None:
    story = Story()
    story.submit()
    kinds = [type(i.message) for i in story.said if isinstance(i, io.ToAgent)]
    assert kinds.index(Functions) < kinds.index(Dispatch)
    story.submit()
    assert not story.sent(Functions)


def test_what_more_than_one_endpoint_could_get_is_committed_with_its_lease_first() -> None:
    story = Story("one", "two")
    story.submit("")
    (dispatch,) = [i for i in story.said if isinstance(i, io.ToAgent) and isinstance(i.message, Dispatch)]
    assert dispatch.after


def test_a_task_that_may_be_a_redelivery_waits_for_the_store_to_know_it_is_new() -> None:
    story = Story()
    task = story.submit(fresh=False)
    assert not story.sent(Dispatch)
    assert [i.confirm for i in story.said if isinstance(i, io.Writes)] == [[task]]
    story.tell(io.Confirmed([task]))
    assert story.sent(Dispatch)


def test_a_redelivery_of_a_task_that_ended_under_an_earlier_hub_starts_nothing() -> None:
    story = Story()
    task = story.submit(fresh=False)
    story.client(Cancel([task]))
    assert not story.ops(FinishTask), "the store may know another outcome"
    story.tell(io.Refused(task, "exists"))
    assert task not in story.state.core.tasks
    assert [i.task_ids for i in story.said if isinstance(i, io.Need)] == [[task]]


def test_the_same_id_again_has_no_effect_and_another_task_under_it_is_a_conflict() -> None:
    story = Story()
    task = story.submit()
    story.submit(task_id=task)
    assert not story.ops(InsertTask)
    assert not story.sent(Rejected)
    story.submit(task_id=task, retries=1)
    assert "used for another task" in story.sent(Rejected)[0].error.message
    story.client(Submit([TaskSpec(task, 0, FN, b"p", "one")]), owner="stranger", looked=True)
    assert story.sent(Rejected)[0].tasks == [task]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (TaskSpec("x", 0, FN, b"", "one"), "is no task id"),
        (TaskSpec("a" * 32, 0, FN, b"", "oen"), "no endpoint 'oen' (nearest: one)"),
        (TaskSpec("a" * 32, 0, "b" * 64, b"", "one"), "is not known: send it before"),
        (TaskSpec("a" * 32, 9, FN, b"", "one"), "is no kind of task"),
        (TaskSpec("a" * 32, 0, FN, bytes(300_000), "one"), "must be sent as a blob"),
        (TaskSpec("a" * 32, 2, "", b"", "", "s" * 32), "no session"),
        (TaskSpec("a" * 32, 0, FN, b"", "one", options=TaskOptions(retries=101)), "out of bounds"),
        (TaskSpec("a" * 32, 0, FN, b"", "one", options=TaskOptions(inputs=["c" * 32])), "submit it first"),
        (TaskSpec("a" * 32, 0, FN, b"", "one", options=TaskOptions(expires=-1)), "not negative"),
    ],
)
def test_what_is_not_taken_says_why(spec: TaskSpec, says: str) -> None:
    story = Story()
    story.client(Submit([spec]), looked=True)
    assert says in story.sent(Rejected)[0].error.message
    assert not story.ops(InsertTask)


def test_a_task_waits_for_its_inputs_and_takes_their_results() -> None:
    story = Story()
    first = story.submit()
    second = story.submit(inputs=[first])
    assert story.is_(second) is TaskState.WAITING
    assert first[-8:] in why_task(story.state.core, story.task(second))
    story.end(first)
    (leased,) = story.sent(Dispatch)[0].tasks
    assert [(i.task_id, i.payload) for i in leased.inputs] == [(first, b"r")]


def test_a_failed_input_fails_all_that_wait_naming_the_root() -> None:
    story = Story()
    root = story.submit()
    middle = story.submit(inputs=[root])
    last = story.submit(inputs=[middle])
    story.end(root, 11, error=ErrorInfo("ValueError", "no"))
    told = story.outcomes()
    for task in (middle, last):
        assert told[task].error.etype == "DependencyFailed"
        assert told[task].error.details["root"] == root
        assert "ValueError: no" in told[task].error.message


def test_inputs_that_no_message_could_carry_fail_with_cause_and_cure() -> None:
    story = Story()
    inputs = [story.submit() for _ in range(3)]
    task = story.submit(inputs=inputs)
    for one in inputs:
        result = story.result(one)
        result.payload = bytes(250 * 1024)
        story.agent(Results([result]))
    assert "gather them in steps" in story.outcomes()[task].error.message


def test_expires_ends_what_waits_and_asks_for_what_is_held() -> None:
    story = Story()
    held = story.submit(expires=10.0)
    story.agent(Credit(1, [("", 0)]))
    queued = story.submit(expires=10.0)
    assert "(expires in 10 s)" in why_task(story.state.core, story.task(queued))
    story.later(10.1)
    assert story.is_(queued) is TaskState.EXPIRED
    assert story.sent(CancelTasks)[0].tasks == [(held, 1)]
    story.end(held, 12, started=0.0)
    assert story.is_(held) is TaskState.EXPIRED


def test_a_step_of_the_clock_expires_nothing() -> None:
    story = Story()
    story.agent(Credit(0, [("", 0)]))
    task = story.submit(expires=10.0)
    story.now = -7200.0
    story.tell(io.Tick())
    assert story.is_(task) is TaskState.QUEUED


def test_cancel_is_at_once_in_the_queue_and_by_the_endpoints_word_elsewhere() -> None:
    story = Story()
    held = story.submit()
    story.agent(Credit(1, [("", 0)]))
    queued = story.submit()
    story.client(Cancel([held, queued], 0, "enough"))
    assert story.is_(queued) is TaskState.CANCELLED
    assert story.is_(held) is TaskState.LEASED
    assert story.sent(CancelTasks)[0].tasks == [(held, 1)]
    story.end(held, 12)
    assert story.is_(held) is TaskState.CANCELLED
    assert story.outcomes()[held].error.message == "enough"


def test_what_its_endpoint_cannot_stop_goes_on_and_says_why() -> None:
    story = Story()
    task = story.submit()
    story.agent(Credit(1, [("", 0)]))
    story.agent(AgentStatus({"cannot_stop": "Parsl cannot stop a running task"}))
    story.step(task, "accepted")
    story.step(task, "started")
    story.client(Cancel([task]))
    assert not story.sent(CancelTasks)
    assert story.task(task).cancelling is None
    assert why_task(story.state.core, story.task(task)) == "Parsl cannot stop a running task"
    story.end(task)
    assert story.is_(task) is TaskState.SUCCEEDED


def test_gauges_that_are_told_in_other_words_count_as_none() -> None:
    story = Story()
    story.agent(AgentStatus({"session_memory": {"s": 5}}))
    assert story.state.core.endpoints[ONE].session_memory == {"s": 5}
    story.agent(AgentStatus({"session_memory": ["s", 5]}))
    assert story.state.core.endpoints[ONE].session_memory == {}


def test_a_result_that_was_faster_than_cancel_counts_and_the_late_one_does_not() -> None:
    story = Story()
    task = story.submit()
    late = story.result(task, 12)
    story.client(Cancel([task]))
    story.end(task)
    assert story.is_(task) is TaskState.SUCCEEDED
    story.agent(Results([late]))
    assert not story.said
    assert story.state.core.counts["late_results"] == 1


def test_a_stranger_cancels_nothing() -> None:
    story = Story()
    task = story.submit()
    story.client(Cancel([task]), owner="stranger")
    assert not story.said
    assert story.is_(task) is TaskState.LEASED


def test_retries_wait_one_second_then_twice_as_long_and_three_kills_poison() -> None:
    story = Story()
    task = story.submit(retries=5)
    for wait in (1.0, 2.0):
        story.end(task, 11, lost=True, error=LOST)
        assert story.is_(task) is TaskState.QUEUED
        assert "begins in" in why_task(story.state.core, story.task(task))
        story.later(wait - 0.1)
        assert story.is_(task) is TaskState.QUEUED
        story.later(0.2)
        assert story.is_(task) is TaskState.LEASED
    story.end(task, 11, lost=True, error=LOST)
    assert story.is_(task) is TaskState.POISONED
    assert "3 times" in story.outcomes()[task].error.message


@pytest.mark.parametrize(("state", "ends"), [(11, TaskState.FAILED), (14, TaskState.LOST)])
def test_an_attested_loss_without_retries_is_recorded_as_what_it_is(state: int, ends: TaskState) -> None:
    story = Story()
    task = story.submit()
    story.end(task, state, lost=True, error=LOST)
    assert story.is_(task) is ends


def test_a_nack_queues_again_in_front_and_a_final_one_fails() -> None:
    story = Story()
    first = story.submit()
    story.agent(Credit(1, [("", 0)]))
    second = story.submit()
    story.agent(Nack([(first, 1)], ErrorInfo("StorageFull", "no room")))
    assert story.is_(first) is TaskState.QUEUED
    story.agent(Credit(1, [("", 1)]))
    assert (story.is_(first), story.is_(second)) == (TaskState.LEASED, TaskState.QUEUED)
    assert story.task(first).attempt == 2
    story.agent(Nack([(first, 1)], ErrorInfo("StorageFull", "late")))
    assert story.is_(first) is TaskState.LEASED
    story.agent(Nack([(first, 2)], ErrorInfo("PayloadError", "Python 3.9 here, 3.13 there"), final=True))
    assert story.is_(first) is TaskState.FAILED


def test_steps_and_results_of_another_lease_have_no_effect() -> None:
    story = Story()
    task = story.submit()
    old = story.result(task)
    story.step(task, "requeue")
    assert story.task(task).attempt == 2
    story.agent(Results([old]))
    assert story.is_(task) is TaskState.LEASED
    wrong = story.result(task)
    wrong.fence = (1, 99)
    story.agent(Results([wrong]))
    assert story.is_(task) is TaskState.LEASED
    story.end(task)
    assert story.is_(task) is TaskState.SUCCEEDED


def test_what_had_its_start_written_ahead_and_was_not_begun_is_queued_again() -> None:
    story = Story()
    task, cancelled, expired = story.submit(retries=1), story.submit(), story.submit(expires=5.0)
    for one in (task, cancelled, expired):
        story.step(one, "started")
    story.client(Cancel([cancelled]))
    story.task(expired).expiring = True
    for one in (task, cancelled, expired):
        story.step(one, "requeue")
    assert story.is_(cancelled) is TaskState.CANCELLED
    assert story.is_(expired) is TaskState.EXPIRED
    # It did not use up the one retry that its author declared.
    assert (story.task(task).attempt, story.task(task).starts) == (2, 0)
    story.step(task, "started")
    story.end(task, TaskState.FAILED, lost=True, error=LOST)
    assert not story.is_(task).terminal


def test_a_deleted_endpoint_cancels_what_waits_and_loses_what_nobody_can_ask_about() -> None:
    story = Story()
    held = story.submit()
    story.agent(Credit(1, [("", 0)]))
    queued = story.submit()
    story.tell(io.AgentDown(ONE))
    story.tell(io.DeleteEndpoint(ONE))
    assert (story.is_(held), story.is_(queued)) == (TaskState.LOST, TaskState.CANCELLED)
    assert story.outcomes()[queued].error.message == "endpoint one was deleted"


def test_demand_is_told_when_it_changes_and_at_most_ten_times_a_second() -> None:
    story = Story()
    story.agent(Credit(0, [("", 0)]))
    story.submit()
    assert story.sent(Demand)[0].items[0].tasks == 1
    story.submit(resources=Resources(cores=4))
    assert not story.sent(Demand)
    story.later(0.11)
    assert {(i.shape, i.tasks) for i in story.sent(Demand)[0].items} == {("", 1), ("c4", 1)}
    story.later(1.0)
    assert not story.sent(Demand)


def test_outputs_are_numbered_once_and_told_in_order() -> None:
    story = Story()
    task = story.submit(watch=2)
    story.agent(Outputs([Output(task, 1, 0, 1, 5.0, b"a\n"), Output(task, 1, 1, 1, 5.0, b"b\n")]))
    assert [e.n for e in story.ops(AddEvents)[0].events] == [2, 3]
    story.agent(Outputs([Output(task, 1, 1, 1, 5.0, b"b\n"), Output(task, 1, 2, 7, 5.0, {"first": 0})]))
    events: list[Event] = [e for m in story.sent(Events) for e in m.events]
    assert [(e.n, e.kind) for e in events] == [(4, 7)]


def test_attach_replays_up_to_now_and_goes_on_live() -> None:
    story = Story()
    task = story.submit()
    story.client(Attach([(task, 0, 2)]))
    (replay,) = [i for i in story.said if isinstance(i, io.Replay)]
    assert (replay.start, replay.upto) == (0, 2)
    story.step(task, "accepted")
    assert [e.n for m in story.sent(Events) for e in m.events] == [2]


def test_why_names_the_endpoint_and_the_time() -> None:
    story = Story()
    story.tell(io.AgentDown(ONE, goodbye=True))
    task = story.submit(expires=7200.0)
    assert (
        why_task(story.state.core, story.task(task))
        == "endpoint one is offline since 13:46 UTC; the task waits (expires in 2 h)"
    )
    story.up(credit=1)
    other = story.submit()
    assert why_task(story.state.core, story.task(other)).startswith("1 task before it, 0 workers busy at endpoint one")


def test_an_endpoint_that_has_just_enrolled_is_on_its_way_and_not_forgotten() -> None:
    story = Story()
    story.tell(io.EndpointKnown("e" * 32, "u", "young", 1_000_000.0, new=True))
    task = story.submit("young")
    waits = (
        "endpoint young has just enrolled: it is online when its agent has started, usually within 10 s; the task waits"
    )
    assert why_task(story.state.core, story.task(task)) == waits
    story.now = 61.0
    other = story.submit("young")
    told = why_task(story.state.core, story.task(other))
    assert told == "endpoint young has never connected: start its agent; the task waits"


def test_no_transition_is_made_that_the_table_does_not_have() -> None:
    story = Story()
    task = story.submit()
    story.end(task)
    with pytest.raises(InvalidTransition, match="story"):
        story.state.core.step(story.task(task), TaskState.QUEUED, 0.0)
    assert story.is_(task) is TaskState.SUCCEEDED


def test_a_restart_takes_up_what_was_written() -> None:
    before = Story()
    waiting, running = before.submit(retries=2), before.submit(retries=2)
    before.step(running, "accepted")
    before.step(running, "started")
    rows = []
    for task_id in (waiting, running):
        t = before.task(task_id)
        rows.append(
            io.LoadedTask(
                "u", t.spec, t.hash, int(t.state), t.attempt, t.fence, t.endpoint_id, t.submitted_at, t.hist, t.n
            )
        )
    after = Story(boot=2)
    after.tell(io.Found(rows))
    assert (after.is_(waiting), after.is_(running)) == (TaskState.LEASED, TaskState.RUNNING)
    assert after.task(running).starts == 1
    after.tell(io.AgentDown(ONE))
    after.up(credit=0)
    assert (after.is_(waiting), after.is_(running)) == (TaskState.QUEUED, TaskState.QUEUED)
    assert after.task(running).not_before
