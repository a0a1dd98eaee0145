"""Leases that stand in rows of their own."""

from __future__ import annotations

from jupyter_fx.ids import new_id
from jupyter_fx_hub.store.ops import LeaseTasks


def lease(one, *task_ids, attempt=1, counter=5, boot=1):
    return LeaseTasks(
        one.endpoint, boot, 7.0, [(task_id, attempt, counter + i, 1) for i, task_id in enumerate(task_ids)]
    )


def rows_of_leases(one):
    return one.store._raw.execute("SELECT count(*) FROM leases").fetchone()[0]


def unfinished(one):
    return {item.row.task_id: item.row for item in one.ask("unfinished", one.endpoint)}


def test_a_lease_survives_the_hub_in_one_row_for_many_tasks(harness):
    one = harness()
    tasks = [new_id() for _ in range(50)]
    one.write(*(one.insert(task) for task in tasks))
    one.settle()
    one.write(lease(one, *tasks))
    assert one.settle() == []
    assert rows_of_leases(one) == 1
    one.reopen()
    found = unfinished(one)
    assert [(found[t].state, found[t].attempt, found[t].fence) for t in tasks[:2]] == [(3, 1, (1, 5)), (3, 1, (1, 6))]
    assert found[tasks[0]].history[-1] == (1, 3, 7.0, "")


def test_what_is_written_of_the_task_itself_counts_more_than_its_lease(harness):
    one = harness()
    moved, ended, given_back = (new_id() for _ in range(3))
    one.write(*(one.insert(task) for task in (moved, ended, given_back)))
    one.settle()
    one.write(lease(one, moved, ended, given_back))
    one.settle()
    one.write(one.move(moved, 5), one.finish(ended), one.move(given_back, 2))
    assert one.settle() == []
    one.reopen()
    found = unfinished(one)
    assert {t: found[t].state for t in found} == {moved: 5, given_back: 2}
    assert one.ask("outcome", "ann", ended).payload == b"result"


def test_the_row_goes_when_it_is_worth_nothing_any_more(harness):
    one = harness()
    tasks = [new_id() for _ in range(3)]
    one.write(*(one.insert(task) for task in tasks))
    one.settle()
    one.write(lease(one, *tasks))
    one.settle()
    one.write(*(one.finish(task) for task in tasks[:2]))
    one.settle()
    assert rows_of_leases(one) == 1
    one.reopen()
    one.write(one.finish(tasks[2]))
    one.settle()
    assert rows_of_leases(one) == 0


def test_a_lease_after_one_that_was_given_back_replaces_it(harness):
    one = harness()
    task = new_id()
    one.write(one.insert(task), lease(one, task))
    one.settle()
    one.write(one.move(task, 2), lease(one, task, attempt=2, counter=9))
    one.settle()
    assert rows_of_leases(one) == 1
    one.reopen()
    assert (unfinished(one)[task].attempt, unfinished(one)[task].fence) == (2, (1, 9))


def test_a_task_that_ends_within_its_commit_leaves_no_lease(harness):
    one = harness(hold=5.0)
    task = new_id()
    one.write(one.insert(task), lease(one, task), one.finish(task))
    assert one.settle() == []
    assert one.store._writer.commits == 1
    assert rows_of_leases(one) == 0


def test_leases_of_tasks_that_are_gone_go_at_the_next_start(harness):
    one = harness()
    task = new_id()
    one.write(one.insert(task), lease(one, task))
    one.settle()
    one.store._raw.execute("DELETE FROM tasks")
    one.reopen()
    one.write(one.insert(new_id()))
    one.settle()
    assert rows_of_leases(one) == 0
