"""The life of blocks, and what an agent that was killed makes of what it finds."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_fx.endpoint.block_records import BlockRecord, Cancel, Complete, Drain, Ended, JobInfo, Save, Submit
from jupyter_fx.endpoint.blocks import BlockBook
from jupyter_fx.protocol.lifecycle import BlockState


def book(**how: Any) -> BlockBook:
    return BlockBook(label="Slurm", wall=1000.0, **how)


def names(out: list[Any]) -> list[str]:
    return [type(one).__name__ for one in out]


def running(one: BlockBook, now: float = 0.0, **info: Any) -> BlockRecord:
    one.ask([("b1", "fx1")], now)
    one.submitted("b1", "7", now)
    one.looked({"7": JobInfo("7", "fx1.123", "running", **info)}, now)
    one.came("b1", "m1", now)
    (record,) = one.records()
    return record


def test_a_block_is_on_disk_before_its_job_is_asked_for_and_after() -> None:
    one = book()
    out = one.ask([("b1", "fx1")], 0.0)
    assert names(out) == ["Save", "Submit"]
    assert isinstance(out[0], Save)
    assert isinstance(out[1], Submit)
    assert (out[0].record.job, out[0].record.name) == ("", "fx1")
    (saved,) = one.submitted("b1", "7", 1.0)
    assert (saved.record.job, saved.record.state) == ("7", BlockState.PENDING)


def test_an_unfinished_submission_is_looked_for_by_its_name_and_adopted() -> None:
    one = book()
    one.restore([BlockRecord("b1", "fx1", state=BlockState.SUBMITTING)], 0.0)
    assert one.looked({}, 1.0) == []
    out = one.looked({"9": JobInfo("9", "parsl.fx1.1795", "pending", "Priority")}, 5.0)
    assert out[0].record.job == "9"
    assert one.why(5.0) == "Slurm job 9 pending (Priority)"


def part_of_a_job(nodes: int, state: str = "running") -> dict[str, JobInfo]:
    return {"fx1": JobInfo("fx1", "fx1", state, nodes=nodes)}


def test_the_rest_of_a_job_that_was_asked_for_in_part_is_asked_for_until_it_is_there() -> None:
    one = book()
    one.restore([BlockRecord("b1", "fx1", nodes=3, state=BlockState.SUBMITTING)], 0.0)
    out = one.looked(part_of_a_job(1), 1.0)
    assert [type(out[0]), out[0].record.cut, out[0].record.job] == [Save, True, "fx1"]
    (rest,) = [each for each in one.looked(part_of_a_job(1), 2.0) if isinstance(each, Complete)]
    assert not [each for each in one.looked(part_of_a_job(1), 3.0) if isinstance(each, Complete)], "it is under way"
    one.came("b1", "m1", 3.0)
    one.completed("b1", "quota", 4.0)
    assert one.describe(4.0)[0]["reason"] == "Slurm refuses the rest of its 3 nodes: quota" == one.why(4.0)
    assert one.looked(part_of_a_job(1), 5.0) == []
    assert one.looked(part_of_a_job(2), 9.0) == [rest]
    one.completed("b1", "", 10.0)
    (saved,) = one.looked(part_of_a_job(3), 11.0)
    assert (saved.record.cut, one.describe(11.0)[0]["reason"]) == (False, "")
    assert one.looked(part_of_a_job(2), 30.0) == [], "what is lost later is no part of a submission"


def test_an_agent_that_is_killed_again_goes_on_making_the_block_whole() -> None:
    one = book()
    one.restore([BlockRecord("b1", "fx1", nodes=2, state=BlockState.RUNNING, job="fx1", began=1.0, cut=True)], 0.0)
    assert names(one.looked(part_of_a_job(1), 1.0)) == ["Complete"]


@pytest.mark.parametrize("state", ["ended", "failed"])
def test_a_part_of_a_job_that_is_over_is_not_made_whole(state: str) -> None:
    one = book()
    one.restore([BlockRecord("b1", "fx1", nodes=2, state=BlockState.PENDING, job="fx1", cut=True)], 0.0)
    assert names(one.looked(part_of_a_job(1, state), 1.0)) == ["Save", "Ended"]


def test_a_part_of_a_job_that_nobody_needs_any_more_is_not_made_whole() -> None:
    one = book()
    one.restore([BlockRecord("b1", "fx1", nodes=2, state=BlockState.PENDING, job="fx1", cut=True)], 0.0)
    one.leave("b1", "nothing needs it", 1.0)
    assert not [each for each in one.looked(part_of_a_job(1, "pending"), 2.0) if isinstance(each, Complete)]


def test_a_job_whose_nodes_come_together_is_whole() -> None:
    one = book()
    one.restore([BlockRecord("b1", "fx1", nodes=2, state=BlockState.SUBMITTING)], 0.0)
    one.looked({"9": JobInfo("9", "fx1", "running")}, 1.0)
    assert not one.records()[0].cut
    assert one.looked({"9": JobInfo("9", "fx1", "running")}, 2.0) == []


def test_an_unfinished_submission_that_nobody_knows_of_is_given_up() -> None:
    one = book()
    one.restore([BlockRecord("b1", "fx1", state=BlockState.SUBMITTING)], 0.0)
    assert one.looked({}, 19.0) == []
    assert names(one.looked({}, 21.0)) == ["Save", "Ended"]
    assert one.records() == []


def test_a_submission_that_is_under_way_in_this_agent_is_not_given_up() -> None:
    one = book()
    one.ask([("b1", "fx1")], 0.0)
    one.submitting("b1")
    assert one.looked({}, 500.0) == []


def test_one_look_that_does_not_list_a_job_is_not_believed_two_are() -> None:
    one = book()
    running(one)
    assert one.looked({}, 1.0) == []
    one.looked({"7": JobInfo("7", "fx1", "running")}, 2.0)
    assert one.looked({}, 3.0) == []
    assert names(one.looked({}, 4.0)) == ["Save", "Ended"]


def test_a_scheduler_that_cannot_be_asked_ends_nothing() -> None:
    one = book()
    running(one)
    for _ in range(5):
        one.cannot_look("Slurm cannot be asked: squeue did not answer within 20 s")
    assert len(one.records()) == 1
    assert "did not answer" in one.why(0.0)
    assert one.ask([("b2", "fx2")], 10.0) == []


def test_refusals_are_tried_again_later_and_later_and_said() -> None:
    one = book()
    for at, pause in ((0.0, 4.0), (4.0, 8.0), (12.0, 16.0)):
        assert names(one.ask([("b", "fx")], at)) == ["Save", "Submit"]
        assert names(one.refused("b", "invalid account", at)) == ["Save", "Ended"]
        assert one.why(at) == f"Slurm refuses the job: invalid account; next try in {pause:.0f} s"
        assert one.ask([("c", "fx")], at + pause - 0.1) == []
    one.ask([("b1", "fx1")], 28.0)
    one.submitted("b1", "7", 28.0)
    one.came("b1", "m", 29.0)
    assert one.why(29.0) == ""


def test_a_job_that_ends_before_a_manager_came_is_a_failure_too() -> None:
    one = book()
    one.ask([("b1", "fx1")], 0.0)
    one.submitted("b1", "7", 0.0)
    one.looked({"7": JobInfo("7", "fx1", "running")}, 1.0)
    out = one.looked({"7": JobInfo("7", "fx1", "failed", "it failed (NonZeroExitCode)")}, 2.0)
    assert names(out) == ["Save", "Ended"]
    assert "ended before a manager of it came (it failed" in one.why(2.0)
    assert one.ask([("b2", "fx2")], 3.0) == []


def test_a_block_that_runs_is_drained_before_its_job_is_ended() -> None:
    one = book()
    running(one)
    assert names(one.leave("b1", "nothing needs it", 10.0)) == ["Save", "Drain"]
    assert one.tick({"b1"}, 30.0) == []
    assert names(one.tick(set(), 31.0)) == ["Cancel"]
    assert one.tick(set(), 32.0) == []
    assert names(one.tick(set(), 42.0)) == ["Cancel"]


def test_a_block_that_waits_in_the_queue_is_cancelled_at_once() -> None:
    one = book()
    one.ask([("b1", "fx1")], 0.0)
    one.submitted("b1", "7", 0.0)
    assert names(one.leave("b1", "nothing needs it", 1.0)) == ["Save", "Cancel"]
    one.looked({"7": JobInfo("7", "fx1", "ended", "it was cancelled")}, 2.0)
    assert one.why(2.0) == ""
    assert names(one.ask([("b2", "fx2")], 2.0)) == ["Save", "Submit"]


def test_a_block_takes_nothing_more_shortly_before_its_time_is_up() -> None:
    one = book(walltime=600.0, lead=60.0)
    record = running(one, left=590.0)
    assert one.ends("b1", 90.0) == pytest.approx(500.0)
    assert one.tick(set(), 529.0) == []
    out = one.tick({"b1"}, 531.0)
    assert names(out) == ["Save", "Drain"]
    assert isinstance(out[1], Drain)
    assert out[1].back
    assert record.leaving == "its time is nearly up"


def test_a_job_that_was_requeued_is_another_block_if_one_is_wanted() -> None:
    one = book()
    running(one)
    out = one.looked({"7": JobInfo("7", "fx1", "pending", "BeginTime")}, 5.0)
    assert names(out) == ["Save", "Ended", "Cancel"]
    assert isinstance(out[1], Ended)
    assert isinstance(out[2], Cancel)
    assert one.records() == []


def test_a_block_that_was_draining_when_its_agent_died_is_drained_on() -> None:
    one = book()
    record = running(one)
    one.leave("b1", "nothing needs it", 10.0)
    again = book()
    again.restore([record], 0.0)
    assert names(again.tick(set(), 1.0)) == ["Drain"]
    again.came("b1", "m1", 2.0)
    assert names(again.tick(set(), 20.0)) == ["Cancel"]


def test_hours_of_nodes_are_counted_while_and_after_a_block_runs() -> None:
    one = book(nodes=2)
    running(one)
    assert one.hours(1800.0) == pytest.approx(1.0)
    one.looked({"7": JobInfo("7", "fx1", "ended", "it ended")}, 3600.0)
    assert one.hours(9999.0) == pytest.approx(2.0)


def test_a_clock_that_was_set_between_two_agents_ends_no_block_that_the_scheduler_lists() -> None:
    one = book(walltime=600.0)
    record = running(one)
    later = BlockBook(label="Slurm", wall=1000.0 + 7200.0, walltime=600.0)
    later.restore([record], 0.0)
    assert later.ends("b1", 0.0) < -60
    assert not later.overdue("b1", 1.0)
    later.looked({"7": JobInfo("7", "fx1", "running", left=300.0)}, 2.0)
    assert not later.overdue("b1", 3.0)
    assert later.ends("b1", 2.0) == pytest.approx(300.0)


def test_a_block_whose_time_is_long_over_is_ended_although_nobody_can_be_asked() -> None:
    one = book(walltime=600.0)
    again = book(walltime=600.0)
    again.restore([running(one)], 500.0)
    again.cannot_look("Slurm cannot be asked: squeue did not answer within 20 s")
    assert not again.overdue("b1", 655.0)
    assert again.overdue("b1", 661.0)


def test_a_block_whose_manager_cannot_be_understood_is_ended_and_not_asked_for_again_at_once() -> None:
    one = book()
    one.ask([("b1", "fx1")], 0.0)
    one.submitted("b1", "7", 0.0)
    one.looked({"7": JobInfo("7", "fx1.1", "running")}, 1.0)
    out = one.unfit("b1", "the manager on n1 speaks version 99", 2.0)
    assert names(out) == ["Save", "Cancel"]
    assert one.unfit("b1", "again", 2.5) == []
    one.looked({"7": JobInfo("7", "fx1.1", "ended")}, 3.0)
    assert "version 99" in one.why(3.0)
    assert one.ask([("b2", "fx2")], 3.0) == []
    assert names(one.ask([("b2", "fx2")], 100.0)) == ["Save", "Submit"]


def test_a_manager_that_an_upgrade_left_behind_keeps_what_it_runs_and_is_named() -> None:
    one = book()
    running(one)
    assert names(one.unfit("b1", "the manager on n1 speaks version 9", 2.0)) == ["Save"]
    assert one.why(2.0) == "the manager on n1 speaks version 9; what it runs ends with its job, 7"
    assert len(one.records()) == 1


def test_what_a_node_said_before_its_manager_came_is_why_its_job_failed() -> None:
    one = book()
    one.ask([("b1", "fx1")], 0.0)
    one.submitted("b1", "7", 0.0)
    one.complained("b1", "n1: No space left on device (/scratch)")
    one.looked({"7": JobInfo("7", "fx1.1", "failed", "it failed")}, 1.0)
    assert "(n1: No space left on device (/scratch)); next try" in one.why(1.0)
