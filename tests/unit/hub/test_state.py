"""Stories of PROMISES §1, told to the pure state: one test per promise."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from jupyter_fx.ids import new_id
from jupyter_fx.protocol.lifecycle import EndpointState, InvalidTransition, SessionState, TaskState
from jupyter_fx.protocol.messages import (
    AgentStatus,
    Attach,
    Cancel,
    CancelTasks,
    CloseSession,
    Credit,
    Demand,
    Dispatch,
    ErrorInfo,
    Event,
    Events,
    Function,
    Functions,
    Held,
    Inventory,
    Keep,
    Nack,
    OpenSession,
    Outcomes,
    Output,
    Outputs,
    Rejected,
    Resources,
    Result,
    Results,
    SessionClosed,
    SessionEvent,
    SessionLease,
    SessionSpec,
    Submit,
    TaskOptions,
    TaskSpec,
    Update,
    Updates,
)
from jupyter_fx_hub.state import io
from jupyter_fx_hub.state.machine import HubState
from jupyter_fx_hub.state.why import why_task
from jupyter_fx_hub.store.ops import AddEvents, FinishTask, InsertTask

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


def spec(session_id: str) -> SessionSpec:
    return SessionSpec(session_id, "one", "kernel", "1")


def cell(story: Story, session_id: str) -> str:
    task = new_id()
    story.client(Submit([TaskSpec(task, 2, "", b"x = 1", session=session_id)]))
    return task


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
