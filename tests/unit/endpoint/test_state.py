"""Stories of the agent's state: a hub and a manager that are written down here, and a crash between any two steps."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

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
    Opened,
    Record,
    RefKept,
    Remove,
    Upload,
    Uploaded,
)
from jupyter_fx.endpoint.placing import Placing
from jupyter_fx.endpoint.talk import (
    Back,
    CancelWork,
    Done,
    Ended,
    OpenWorker,
    Place,
    Said,
)
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import (
    AgentStatus,
    BlobRef,
    CancelTasks,
    Credit,
    Demand,
    DemandItem,
    Dispatch,
    ErrorInfo,
    EventKind,
    Function,
    Functions,
    Input,
    Inventory,
    Nack,
    Outputs,
    RefInfo,
    Resources,
    SessionLease,
    Updates,
)
from tests.unit.endpoint.agent_shell import ONE, SESSION, SPEC, TWO, Shell, ok, task


def test_accept_is_journaled_before_the_task_is_placed_and_start_before_it_goes() -> None:
    shell = Shell()
    shell.handle(Dispatch([task()]))
    assert [record.kind for record in shell.journal] == [kinds.ACCEPT]
    assert [one.task_id for one in shell.of(Place)[0].work] == [ONE]
    assert shell.start(ONE) == [ONE]
    assert [record.kind for record in shell.journal] == [kinds.ACCEPT, kinds.START]


def test_a_result_is_journaled_sent_and_forgotten_with_its_ack() -> None:
    shell = Shell()
    shell.handle(Dispatch([task()]))
    shell.start(ONE)
    shell.handle(ok())
    (result,) = shell.results()
    assert (result.state, result.payload, result.fence) == (TaskState.SUCCEEDED, b"value", (1, 1))
    assert result.times == [1100.0, 1100.5, 1101.0]
    assert shell.journal[-1].kind == kinds.RESULT
    shell.handle(Acked(shell.number))
    assert shell.journal[-1] == Record(kinds.FORGET, [ONE])
    assert not shell.state.tasks


def test_steps_wait_and_are_needless_when_the_result_is_quick() -> None:
    shell = Shell()
    shell.handle(Dispatch([task()]))
    shell.start(ONE)
    shell.now += 0.005
    shell.handle(ok())
    shell.pass_time(1.0)
    assert not shell.of(Updates)


def test_steps_are_told_after_20_ms() -> None:
    shell = Shell()
    shell.handle(Dispatch([task()]))
    shell.pass_time(0.021)
    shell.start(ONE)
    shell.pass_time(0.021)
    assert [[u.phase for u in message.updates] for message in shell.of(Updates)] == [["accepted"], ["started"]]


def test_the_same_lease_twice_has_no_effect() -> None:
    shell = Shell()
    shell.handle(Dispatch([task()]))
    shell.handle(Dispatch([task()]))
    assert len(shell.of(Place)) == 1
    shell.start(ONE)
    shell.handle(ok())
    shell.handle(Acked(shell.number))
    shell.handle(Dispatch([task()]))
    assert len(shell.of(Place)) == 1


def test_a_finished_task_that_is_leased_anew_is_answered_under_the_new_lease_and_not_run() -> None:
    shell = Shell()
    shell.handle(Dispatch([task()]))
    shell.start(ONE)
    shell.handle(ok())
    shell.handle(Dispatch([task(attempt=2, fence=9)]))
    assert len(shell.of(Place)) == 1
    last = shell.results()[-1]
    assert (last.attempt, last.fence, last.payload) == (2, (1, 9), b"value")


def test_a_running_task_that_is_leased_anew_goes_on_under_the_new_lease() -> None:
    shell = Shell()
    shell.handle(Dispatch([task()]))
    shell.start(ONE)
    shell.handle(Dispatch([task(attempt=2, fence=9)]))
    shell.handle(ok())
    assert len(shell.of(Place)) == 1
    assert (shell.results()[0].attempt, shell.results()[0].fence) == (2, (1, 9))


def test_a_loss_that_is_leased_anew_runs_again() -> None:
    shell = Shell()
    shell.handle(Dispatch([task()]))
    shell.start(ONE)
    shell.handle(Done([Ended(ONE, "lost")]))
    assert shell.results()[0].lost
    shell.handle(Dispatch([task(attempt=2, fence=9)]))
    assert len(shell.of(Place)) == 2


def test_after_a_crash_what_had_not_started_runs_what_had_is_lost_and_what_was_done_is_sent() -> None:
    before = Shell()
    before.handle(Dispatch([task(1), task(2), task(3), task(4)]))
    before.start(ONE, TWO)
    before.handle(ok(TWO))
    before.start(f"{4:032x}")
    before.handle(Back([f"{4:032x}"]))
    after = Shell(before.journal)
    assert [one.task_id for one in after.of(Place)[0].work] == [f"{3:032x}", f"{4:032x}"]
    found = {result.task_id: result for result in after.results()}
    assert found[ONE].lost
    assert found[ONE].error.etype == "TaskLost"
    assert found[TWO].payload == b"value"
    (inventory,) = after.of(Inventory)
    assert {one.task_id: one.phase for one in inventory.held} == {
        ONE: "finished",
        TWO: "finished",
        f"{3:032x}": "accepted",
        f"{4:032x}": "accepted",
    }


def test_what_comes_first_on_a_connection_is_the_inventory() -> None:
    shell = Shell()
    assert [type(one) for one in shell.sent[:3]] == [Inventory, AgentStatus, Credit]


@pytest.mark.parametrize("owner", ["somebody", ""])
def test_the_owners_work_only(owner: str) -> None:
    shell = Shell()
    shell.handle(Dispatch([task(owner=owner)]))
    (nack,) = shell.of(Nack)
    assert nack.final
    assert not shell.of(Place)
    shell.handle(Demand([DemandItem("s:" + SESSION, 1, Resources(), SPEC, owner)]))
    shell.handle(SessionLease(SPEC, owner))
    assert not shell.of(OpenWorker)


def test_an_id_that_is_a_path_names_no_file() -> None:
    shell = Shell()
    stray = task()
    stray.task_id = "../../../.ssh/authorized_keys"
    shell.handle(Dispatch([stray, task(2, session="../x")]))
    assert all(nack.final for nack in shell.of(Nack))
    assert not shell.of(Place)
    spec = msgspec.structs.replace(SPEC, session_id="../x")
    shell.handle(Demand([DemandItem("s:../x", 1, Resources(), spec, "me")]))
    assert not shell.of(OpenWorker)


def test_cancel_before_the_manager_has_it_is_answered_at_once() -> None:
    shell = Shell()
    missing = task()
    missing.function = "not-here"
    shell.handle(Dispatch([missing]))
    shell.handle(CancelTasks([(ONE, 1)]))
    assert shell.results()[0].state == TaskState.CANCELLED
    assert not shell.of(CancelWork)


def test_cancel_of_what_the_manager_has_is_the_managers() -> None:
    shell = Shell()
    shell.handle(Dispatch([task()]))
    shell.handle(CancelTasks([(ONE, 1)], 0))
    assert shell.of(CancelWork) == [CancelWork(ONE, 0)]
    shell.handle(Done([Ended(ONE, "cancelled")]))
    assert shell.results()[0].state == TaskState.CANCELLED


def test_a_task_waits_for_its_function_and_its_blobs() -> None:
    shell = Shell()
    waiting = task(blob=BlobRef("d" * 64, 5))
    waiting.function = "g"
    shell.handle(Dispatch([waiting]))
    (fetch,) = shell.of(Fetch)
    assert fetch.blob == BlobRef("d" * 64, 5)
    assert fetch.key.startswith("d" * 64 + "-")  # its owner's
    shell.handle(Fetched(fetch.key, "/file"))
    assert not shell.of(Place)
    shell.handle(Functions([Function("g", b"code")]))
    assert shell.of(Place)[0].work[0].path == "/file"


def test_a_task_that_takes_two_refs_asks_for_each_once_and_is_placed() -> None:
    shell = Shell()
    given = task()
    for ref_id in ("1" * 32, "2" * 32):
        given.inputs.append(Input(ref_id, b"", None, RefInfo(ref_id, "e" * 32, 9, {})))
    shell.handle(Dispatch([given]))
    assert [one.ref.ref_id for one in shell.others if isinstance(one, FindRef)] == ["1" * 32, "2" * 32]
    for number, ref_id in enumerate(("1" * 32, "2" * 32)):
        shell.handle(Fetched(f"ref:{ref_id}", f"/refs/{number}"))
    assert [one.ref.ref_id for one in shell.others if isinstance(one, FindRef)] == ["1" * 32, "2" * 32]
    (assembled,) = [one for one in shell.others if isinstance(one, Assemble)]
    assert assembled.parts[1:] == ["/refs/0", "/refs/1"]


def test_parts_are_fetched_once_and_stay_while_a_task_or_session_has_them() -> None:
    part = BlobRef("d" * 64, 5)
    shell = Shell()
    shell.handle(Dispatch([task(1, parts=[part]), task(2, parts=[part, part])]))
    (fetch,) = shell.of(Fetch)
    assert fetch.key in shell.state.files_in_use()
    shell.handle(Fetched(fetch.key, "/file"))
    assert [work.parts for place in shell.of(Place) for work in place.work] == [["/file"], ["/file", "/file"]]
    shell.state.files_gone([fetch.key])
    shell.handle(Dispatch([task(4, parts=[part])]))
    assert [one.key for one in shell.of(Fetch)].count(fetch.key) == 2


def test_what_one_sent_is_not_handed_to_another_who_names_its_digest() -> None:
    part = BlobRef("d" * 64, 5)
    (mine,), (theirs,) = (Placing._sources(task(parts=[part], owner=owner)) for owner in ("me", "another"))
    assert mine[0] != theirs[0]


def test_input_that_cannot_be_fetched_fails_the_task_with_the_reason() -> None:

    shell = Shell()
    shell.handle(Dispatch([task(blob=BlobRef("d" * 64, 5))]))
    shell.handle(Fetched(shell.of(Fetch)[0].key, error=ErrorInfo("StorageFull", "no room")))
    assert shell.results()[0].error.message == "no room"


def test_outputs_are_numbered_and_go_after_the_step_that_they_belong_to() -> None:
    shell = Shell()
    shell.handle(Dispatch([task()]))
    shell.start(ONE)
    shell.handle(Said([(ONE, 1, 1.0, b"a", 0), (ONE, 2, 1.0, b"b", 1)]))
    shell.handle(Said([(ONE, 1, 1.0, b"c", 2)]))
    kinds_sent = [type(one) for one in shell.sent if isinstance(one, Updates | Outputs)]
    assert kinds_sent == [Updates, Outputs, Outputs]
    assert [(o.k, o.data) for message in shell.of(Outputs) for o in message.outputs] == [
        (0, b"a"),
        (1, b"b"),
        (2, b"c"),
    ]


def test_a_congested_link_drops_text_and_keeps_displays() -> None:
    shell = Shell()
    shell.handle(Dispatch([task()]))
    shell.state.congested = True
    shell.handle(
        Said([(ONE, EventKind.STDOUT, 1.0, b"a\n", 0), (ONE, EventKind.DISPLAY, 1.0, {"kind": "display_data"}, 1)])
    )
    assert [o.kind for message in shell.of(Outputs) for o in message.outputs] == [EventKind.DISPLAY]


def test_a_large_result_is_uploaded_before_it_is_told() -> None:
    shell = Shell()
    shell.handle(Dispatch([task()]))
    shell.start(ONE)
    shell.handle(Done([Ended(ONE, "ok", b"", 1.0, 2.0, "/spilled", 500_000)]))
    assert shell.of(Upload) == [Upload(ONE, "/spilled")]
    assert not shell.results()
    again = Shell(shell.journal)
    assert again.of(Upload) == [Upload(ONE, "/spilled")]
    shell.handle(Uploaded(ONE, BlobRef("d", 500_000)))
    assert shell.results()[0].blob == BlobRef("d", 500_000)


def test_a_result_over_its_limit_stays_as_a_ref() -> None:
    shell = Shell()
    shell.handle(Dispatch([task(result_max=1000)]))
    shell.start(ONE)
    shell.handle(Done([Ended(ONE, "ok", b"", 1.0, 2.0, "/spilled", 500_000)]))
    assert shell.of(KeepRef) == [KeepRef(ONE, "/spilled")]
    # Not before it is there; the hub's coming back does not change that.
    shell.handle(Opened("me"))
    assert not shell.results()
    shell.handle(RefKept(ONE))
    assert shell.results()[0].ref.size == 500_000
    assert not shell.of(Upload)
    shell.handle(RefKept(ONE))
    assert len(shell.results()) == 1


@pytest.mark.parametrize("outcome", ["ok", "error"])
def test_a_result_that_cannot_be_kept_anywhere_ends_its_task_with_the_reason(outcome: str) -> None:
    shell = Shell()
    shell.handle(Dispatch([task(result_max=1000)]))
    shell.start(ONE)
    own = ErrorInfo("ValueError", "its own") if outcome == "error" else None
    shell.handle(Done([Ended(ONE, outcome, b"", 1.0, 2.0, "/spilled", 500_000, error=own)]))
    shell.handle(RefKept(ONE, ErrorInfo("StorageFull", "No space left on device")))
    (result,) = shell.results()
    assert (result.state, result.ref) == (TaskState.FAILED, None)
    if own is not None:
        assert result.error == own
    else:
        assert result.error.etype == "StorageFull"
        assert "its result of 500,000 bytes cannot be kept at the endpoint: No space left" in result.error.message
    assert shell.of(Remove) == [Remove("/spilled")]


def test_a_full_disk_refuses_tasks_and_starts_but_lets_results_go() -> None:
    shell = Shell()
    shell.handle(Dispatch([task(1), task(2)]))
    shell.start(ONE)
    shell.full = lambda _record: True
    shell.handle(Dispatch([task(3)]))
    assert shell.of(Nack)[0].error.etype == "StorageFull"
    assert shell.start(ONE, TWO) == [ONE]
    assert [u.phase for u in shell.of(Updates)[-1].updates] == ["requeue"]
    shell.handle(ok())
    assert shell.results()[0].payload == b"value"
    assert all(count == 0 for _, count in shell.of(Credit)[-1].shapes)
    assert "full" in shell.of(AgentStatus)[-1].info["why"]
    shell.full = lambda _record: False
    shell.handle(DiskState(""))
    assert any(count for _, count in shell.of(Credit)[-1].shapes)


def test_draining_gives_back_what_has_not_started_and_takes_nothing() -> None:
    shell = Shell()
    shell.handle(Dispatch([task(1), task(2)]))
    shell.start(ONE)
    shell.handle(Draining("it is being stopped"))
    shell.handle(Back([TWO], home=True, reason="it is being stopped"))
    assert [(u.task_id, u.phase) for u in shell.of(Updates)[-1].updates] == [(TWO, "requeue")]
    shell.handle(Dispatch([task(3)]))
    assert not shell.of(Nack)[-1].final
    # What went home may come again, and be new.
    assert TWO not in shell.state.tasks


def test_draining_while_the_hub_is_away_keeps_what_has_not_started_for_the_next_agent() -> None:
    shell = Shell()
    shell.handle(Dispatch([task(1), task(2)]))
    shell.start(TWO)
    shell.state.closed()
    shell.handle(Draining("it is being stopped"))
    shell.handle(Back([ONE, TWO], home=True, reason="it is being stopped"))
    assert not [u for message in shell.of(Updates) for u in message.updates if u.phase == "requeue"]
    after = Shell(shell.journal)
    assert [work.task_id for place in after.of(Place) for work in place.work] == [ONE, TWO]
    assert {held.phase for held in after.of(Inventory)[0].held} == {"accepted"}


def test_a_task_whose_function_did_not_come_before_the_agent_ended_is_leased_again() -> None:
    shell = Shell()
    waiting = task()
    waiting.function = "g"
    shell.handle(Dispatch([waiting]))
    after = Shell(shell.journal)
    assert [u.phase for message in after.of(Updates) for u in message.updates] == ["requeue"]
    assert not after.of(Inventory)[0].held
    waiting.attempt, waiting.fence = 2, (2, 1)
    after.handle(Functions([Function("g", b"code")]))
    after.handle(Dispatch([waiting]))
    assert [work.task_id for work in after.of(Place)[0].work] == [ONE]


def test_the_journal_that_would_be_written_anew_says_the_same() -> None:
    shell = Shell()
    shell.handle(Dispatch([task(1), task(2), task(3)]))
    shell.start(ONE, TWO)
    shell.handle(ok(TWO))
    again, anew = Shell(shell.journal), Shell(list(shell.state.records()))
    assert {k: e.phase for k, e in again.state.tasks.items()} == {k: e.phase for k, e in anew.state.tasks.items()}


class AgentStory(RuleBasedStateMachine):
    """Leases, starts, ends, acks, crashes in any order: no task starts twice, no accepted one is forgotten untold."""

    @initialize()
    def begin(self) -> None:
        self.shell = Shell()
        self.fence = 0
        self.attempts: dict[str, int] = {}
        self.started: dict[str, int] = {}
        self.acked: set[str] = set()
        self.home: set[str] = set()
        self.running: set[str] = set()
        self.told_at = 0

    def placed(self) -> list[str]:
        found = [one.task_id for message in self.shell.of(Place) for one in message.work]
        return [
            one for one in found if one in self.shell.state.tasks and self.shell.state.tasks[one].phase == "accepted"
        ]

    @rule(n=st.integers(1, 12), again=st.booleans())
    def lease(self, n: int, again: bool) -> None:
        one = task(n)
        if one.task_id in self.acked:
            return
        if not again or one.task_id not in self.attempts:
            self.fence += 1
            one.fence = (1, self.fence)
            self.attempts[one.task_id] = self.fence
        else:
            one.fence = (1, self.attempts[one.task_id])
        self.home.discard(one.task_id)
        self.shell.handle(Dispatch([one]))

    @precondition(lambda self: self.placed())
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        some = data.draw(st.lists(st.sampled_from(self.placed()), min_size=1, max_size=3, unique=True))
        for one in self.shell.start(*some):
            self.started[one] = self.started.get(one, 0) + 1
            self.running.add(one)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), outcome=st.sampled_from(["ok", "error", "cancelled"]))
    def end(self, data: st.DataObject, outcome: str) -> None:
        one = data.draw(st.sampled_from(sorted(self.running)))
        self.running.discard(one)
        self.shell.handle(Done([Ended(one, outcome, b"", 1.0, 2.0)]))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def back(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(sorted(self.running)))
        self.running.discard(one)
        self.started[one] -= 1
        self.shell.handle(Back([one]))

    @rule(share=st.floats(0, 1))
    def ack(self, share: float) -> None:
        before = set(self.shell.state.tasks)
        self.shell.handle(Acked(int(self.shell.number * share)))
        self.acked |= before - set(self.shell.state.tasks)

    @rule()
    def crash(self) -> None:
        lost = set(self.running)
        self.running.clear()
        self.shell = Shell(self.shell.journal)
        told = {result.task_id for result in self.shell.results() if result.lost}
        assert lost <= told

    @invariant()
    def at_most_once(self) -> None:
        if hasattr(self, "started"):
            assert all(count <= 1 for count in self.started.values()), self.started

    @invariant()
    def nothing_forgotten(self) -> None:
        if hasattr(self, "attempts"):
            held = set(self.shell.state.tasks)
            assert set(self.attempts) <= held | self.acked | self.home


TestAgentStory = AgentStory.TestCase
TestAgentStory.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("outcome", ["ok", "error", "timeout", "cancelled", "lost"])
def test_every_outcome_has_its_state(outcome: str) -> None:
    shell = Shell()
    shell.handle(Dispatch([task(timeout=3.0)]))
    shell.start(ONE)
    shell.handle(Done([Ended(ONE, outcome)]))
    (result,) = shell.results()
    expected = {"ok": "SUCCEEDED", "error": "FAILED", "timeout": "FAILED", "cancelled": "CANCELLED", "lost": "LOST"}
    assert TaskState(result.state).name == expected[outcome]
    assert result.lost == (outcome == "lost")
