"""Stories of an agent that cannot know everything: results that nobody knew, a journal without its end, a manager that
knows more than its agent.
"""

from __future__ import annotations

from typing import Any

from jupyter_fx.endpoint import journal_kinds as kinds
from jupyter_fx.endpoint.events import Acked, Fetch, Fetched, Opened, Record, Replayed, Send, Tell, Write, WriteFailed
from jupyter_fx.endpoint.state import AgentState
from jupyter_fx.endpoint.talk import (
    CancelWork,
    CloseWorker,
    Done,
    Ended,
    Go,
    OpenWorker,
    Place,
    Report,
    SessionUp,
    Want,
)
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import (
    BlobRef,
    CancelMode,
    CancelTasks,
    Credit,
    Demand,
    DemandItem,
    Dispatch,
    ErrorInfo,
    Function,
    Functions,
    Inventory,
    Keep,
    LeasedTask,
    Nack,
    Resources,
    Results,
    SessionClosed,
    SessionLease,
    SessionSpec,
    TaskOptions,
)

ONE, TWO = f"{1:032x}", f"{2:032x}"
S = "5" * 32


class Agent:
    """An agent's state whose journal and messages are lists."""

    def __init__(self, records: list[Record] | None = None, *, adopting: bool = False, **how: Any) -> None:
        self.journal = list(records or [])
        self.did: list[Any] = []
        self.number = 0
        self.full = False
        self.state = AgentState(
            endpoint_id="e", slots=2, worker_cores=1, max_sessions=2, wall=0.0, generation="g", boot_id="b",
            functions={"f"}, **how,
        )  # fmt: skip
        self.handle(Replayed(list(self.journal), adopting))
        self.handle(Opened("me"))

    def handle(self, event: Any) -> None:
        self.do(self.state.handle(event, 1.0))
        self.state.validate()

    def do(self, instructions: list[Any]) -> None:
        for one in instructions:
            if isinstance(one, Write) and self.full:
                self.handle(WriteFailed(one.record, "No space left", one.then))
            elif isinstance(one, Write):
                self.journal.append(one.record)
                self.do(one.then)
            else:
                self.did.append(one.message if isinstance(one, Send | Tell) else one)
                if isinstance(one, Send) and one.keep:
                    self.number += 1
                    if one.marks:
                        self.state.sent(self.number, one.marks)

    def of(self, kind: type) -> list[Any]:
        return [one for one in self.did if isinstance(one, kind)]

    def results(self) -> list[Any]:
        return [result for message in self.of(Results) for result in message.results]


def task(n: int = 1, attempt: int = 1, fence: int = 1, session: str = "", function: str = "f") -> LeasedTask:
    kind, function = (2, "") if session else (0, function)
    return LeasedTask(f"{n:032x}", "me", attempt, (1, fence), kind, function, b"p", session)


def lost_one() -> Agent:
    agent = Agent()
    agent.handle(Dispatch([task()]))
    agent.handle(Want(1, [ONE]))
    agent.handle(Done([Ended(ONE, "lost")]))
    agent.handle(Keep([(ONE, 1)]))
    agent.handle(Acked(agent.number))
    return agent


def with_session() -> Agent:
    agent = Agent()
    spec = SessionSpec(S, "one", "kernel", "epoch")
    agent.handle(Demand([DemandItem(f"s:{S}", 1, Resources(), spec, "me")]))
    agent.handle(SessionUp(S, {}))
    return agent


def test_a_loss_that_the_hub_did_not_know_outlasts_its_ack_and_answers_the_next_lease() -> None:
    agent = lost_one()
    assert ONE in agent.state.tasks
    agent.handle(Dispatch([task(attempt=2, fence=9)]))
    assert len(agent.of(Place)) == 1
    assert (agent.results()[-1].lost, agent.results()[-1].attempt) == (True, 2)
    agent.handle(Acked(agent.number))
    assert not agent.state.tasks
    agent.handle(Dispatch([task(attempt=3, fence=10)]))
    assert len(agent.of(Place)) == 2, "it was told and leased anew: its author declared retries"


def test_what_was_kept_is_kept_by_the_next_agent() -> None:
    for records in (lost_one().journal, list(lost_one().state.records())):
        agent = Agent(records)
        agent.handle(Dispatch([task(attempt=2, fence=9)]))
        assert not agent.of(Place)
        assert agent.results()[-1].attempt == 2


def test_a_result_that_was_told_twice_is_there_until_the_second_ack() -> None:
    agent = Agent()
    agent.handle(Dispatch([task()]))
    agent.handle(Want(1, [ONE]))
    agent.handle(Done([Ended(ONE, "ok", b"v", 1.0, 2.0)]))
    first = agent.number
    agent.handle(Dispatch([task(attempt=2, fence=9)]))
    agent.handle(Acked(first))
    assert ONE in agent.state.tasks
    agent.handle(Acked(agent.number))
    assert not agent.state.tasks


def test_what_an_unbelieved_journal_says_has_not_started_may_have() -> None:
    before = Agent()
    before.handle(Dispatch([task()]))
    agent = Agent([*before.journal, Record(kinds.DOUBT, "torn")], sure=False, why="torn")
    assert not agent.of(Place)
    assert agent.results()[0].lost
    (inventory,) = agent.of(Inventory)
    assert (inventory.sure, inventory.settled, inventory.why) == (False, True, "torn")


def test_an_unsure_inventory_is_settled_when_the_manager_has_ended_what_nobody_knows() -> None:
    agent = Agent([Record(kinds.DOUBT, "lost")], adopting=True, sure=False, why="lost")
    assert not agent.of(Inventory)[-1].settled
    agent.handle(Report([ONE, TWO], [S]))
    assert agent.of(CancelWork) == [CancelWork(ONE, CancelMode.KILL), CancelWork(TWO, CancelMode.KILL)]
    assert [one.session_id for one in agent.of(CloseWorker)] == [S]
    agent.handle(Dispatch([task(attempt=2)]))
    agent.handle(Want(7, [ONE, TWO]))
    assert agent.of(Go)[-1].tasks == [], "an earlier lease's run is not let go under a later one"
    assert agent.of(Inventory)[-1].settled
    assert [work.attempt for message in agent.of(Place) for work in message.work] == [2]


def test_tasks_that_are_refused_do_not_use_up_the_credit() -> None:
    agent = Agent()
    agent.handle(Dispatch([LeasedTask(f"{n:032x}", "somebody", 1, (1, n), 0, "f", b"") for n in (1, 2)]))
    assert len(agent.of(Nack)) == 1
    assert [(one.seen, one.shapes) for one in agent.of(Credit)] == [(0, [("", 2)]), (2, [("", 2)])]


def test_an_old_cancellation_does_not_stop_a_later_attempt() -> None:
    agent = Agent()
    agent.handle(Dispatch([task(attempt=2)]))
    agent.handle(CancelTasks([(ONE, 1)]))
    assert not agent.of(CancelWork)


def test_a_session_that_ended_is_not_opened_again_by_a_demand_that_was_on_its_way() -> None:
    agent = with_session()
    agent.handle(Report([], [], gone=True))
    assert agent.of(SessionClosed)[0].lost
    spec = SessionSpec(S, "one", "kernel", "epoch")
    agent.handle(Demand([DemandItem(f"s:{S}", 1, Resources(), spec, "me")]))
    assert len(agent.of(OpenWorker)) == 1


def test_a_session_that_was_open_and_is_not_known_here_is_lost() -> None:
    agent = Agent()
    spec = SessionSpec(S, "one", "kernel", "epoch")
    agent.handle(SessionLease(spec, "me", opened=True))
    agent.handle(Demand([DemandItem(f"s:{S}", 1, Resources(), spec, "me")]))
    assert [(one.session_id, one.lost) for one in agent.of(SessionClosed)] == [(S, True)]
    assert not agent.of(OpenWorker)


def test_a_full_disk_fails_a_cell_that_later_ones_would_overtake() -> None:
    agent = with_session()
    agent.handle(Dispatch([task(1, session=S)]))
    agent.full = True
    agent.handle(Want(1, [ONE]))
    assert agent.of(Go)[-1].tasks == []
    assert [(one.state, one.error.etype) for one in agent.results()] == [(TaskState.FAILED, "StorageFull")]
    agent.handle(Dispatch([task(2, session=S)]))
    assert [one.final for one in agent.of(Nack)] == [True]


def test_cells_wait_for_the_report_with_those_that_came_before_them() -> None:
    before = with_session()
    before.handle(Dispatch([task(1, session=S)]))
    agent = Agent(before.journal, adopting=True)
    agent.handle(Dispatch([task(2, session=S)]))
    assert not agent.of(Place)
    agent.handle(Report([], [S]))
    assert [work.task_id for message in agent.of(Place) for work in message.work] == [ONE, TWO]


def test_bytes_that_a_refused_task_asked_for_still_come_for_the_next_one() -> None:
    agent = Agent()
    blob = BlobRef("d" * 64, 9)
    asks = [LeasedTask(f"{n:032x}", "me", 1, (1, n), 0, "f", b"", options=TaskOptions(blob=blob)) for n in (1, 2)]
    agent.full = True
    agent.handle(Dispatch(asks[:1]))
    agent.full = False
    agent.handle(Dispatch(asks[1:]))
    assert [one.blob for one in agent.did if hasattr(one, "blob")] == [blob]


def test_a_function_whose_blob_could_not_be_fetched_is_asked_for_again() -> None:
    agent = Agent()
    blob = BlobRef("d" * 64, 9)
    agent.handle(Functions([Function("g", b"", blob=blob)]))
    agent.handle(Dispatch([task(1, function="g")]))
    agent.handle(Fetched(blob.digest, error=ErrorInfo("HubUnavailable", "cut")))
    assert [one.error.etype for one in agent.results()] == ["HubUnavailable"]
    agent.handle(Dispatch([task(2, fence=2, function="g")]))
    assert len(agent.of(Fetch)) == 2
