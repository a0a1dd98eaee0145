from __future__ import annotations

from jupyter_fx_hub.store.merge import grouped
from jupyter_fx_hub.store.ops import AddEvents, DeleteTasks, EventRow
from tests.unit.hub.conftest import Harness

insert, move, finish = Harness.insert, Harness.move, Harness.finish
A, B = "a" * 32, "b" * 32


def output(task):
    return AddEvents(task, [EventRow(1, 1, 0, 1, 1.0, b"x")])


def sizes(*ops):
    return [len(group.tasks) + len(group.events) + len(group.others) for group in grouped(list(ops))]


def test_insert_moves_and_finish_of_one_task_are_one_row():
    (group,) = grouped([insert(A), move(A, 3, started=4.0), move(A, 5, attempt=2), finish(A)])
    entry = group.tasks[A]
    assert entry.insert is not None
    assert entry.finish is not None
    assert (entry.state, entry.attempt, entry.started, entry.names) == (
        10,
        1,
        4.0,
        ("MoveTask", "MoveTask", "FinishTask"),
    )


def test_moves_of_one_task_are_one_update():
    (group,) = grouped([move(A, 3), move(A, 4), move(B), move(A, 5)])
    assert (group.tasks[A].insert, group.tasks[A].state) == (None, 5)
    assert len(group.tasks) == 2


def test_what_does_not_merge_begins_another_group():
    assert sizes(finish(A), finish(A)) == [1, 1]
    assert sizes(finish(A), move(A)) == [1, 1]
    assert sizes(insert(A), insert(A)) == [1, 1]
    assert sizes(move(A), insert(A)) == [1, 1]
    assert sizes(output(A), insert(A)) == [1, 1]
    assert sizes(insert(A), move(A, owner="bob")) == [1, 1]
    assert sizes(DeleteTasks("ann", [A]), insert(A)) == [1, 1]
    assert sizes(insert(A), output(A), finish(A), insert(B)) == [3]
