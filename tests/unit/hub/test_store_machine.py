"""The store beside a dict: whatever is written, in whatever batches, across restarts, both say the same."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from jupyter_fx_hub.store.ops import AddEvents, DeleteTasks, EventRow
from tests.unit.hub.conftest import Harness

IDS = [f"{n:032x}" for n in range(1, 7)]
ids = st.sampled_from(IDS)
owners = st.sampled_from(["ann", "bob"])
sizes = st.sampled_from([3, 700, 3000])


class Task:
    def __init__(self, owner, mark):
        self.owner, self.mark = owner, mark
        self.state, self.attempt, self.payload, self.text, self.next = 2, 0, None, b"", 1


class StoreBesideDict(RuleBasedStateMachine):
    """Ops are applied to the dict one after another; the store merges them as it likes."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="fxs"))
        self.one = Harness(self.folder, hold=0.02, batch=4)
        self.tasks: dict[str, Task] = {}
        self.expected: list[tuple[str, str, str]] = []
        self.boots = 1

    def expect(self, task, kind, op):
        self.expected.append((task, kind, op))

    @rule(task=ids, owner=owners, mark=st.sampled_from([b"1", b"2"]), large=st.booleans())
    def insert(self, task, owner, mark, large):
        self.one.write(self.one.insert(task, owner, hash=mark, spec=mark * (9000 if large else 10)))
        there = self.tasks.get(task)
        if there is None:
            self.tasks[task] = Task(owner, mark)
        elif (there.owner, there.mark) == (owner, mark):
            self.expect(task, "exists", "InsertTask")
        else:
            self.expect(task, "conflict", "InsertTask")
            # What follows in the same batch would be refused with it, in a later one it would not: both are right.
            self.check()

    @rule(
        task=ids,
        who=st.sampled_from(["", "ann", "bob"]),
        attempt=st.integers(1, 3),
        end=st.sampled_from([0, 10, 11, 12]),
    )
    def move_or_finish(self, task, who, attempt, end):
        make = self.one.finish if end else self.one.move
        name = "FinishTask" if end else "MoveTask"
        more = {"payload": b"%d" % attempt} if end else {}
        self.one.write(make(task, end or 5, owner=who, attempt=attempt, **more))
        there = self.tasks.get(task)
        if there is None or (who and who != there.owner):
            self.expect(task, "missing", name)
        elif there.state >= 10:
            self.expect(task, "terminal", name)
        else:
            there.state, there.attempt = end or 5, attempt
            there.payload = more.get("payload")

    @rule(task=ids, sizes=st.lists(sizes, min_size=1, max_size=3))
    def print_something(self, task, sizes):
        there = self.tasks.get(task)
        start = there.next if there else 1
        texts = [b"%c" % (97 + n) * size for n, size in enumerate(sizes)]
        self.one.write(AddEvents(task, [EventRow(start + n, 1, n, 1, 1.0, text) for n, text in enumerate(texts)]))
        if there is None:
            self.expect(task, "missing", "AddEvents")
        else:
            there.text += b"".join(texts)
            there.next += len(texts)

    @rule(task=ids, owner=owners)
    def delete(self, task, owner):
        self.one.write(DeleteTasks(owner, [task]))
        there = self.tasks.get(task)
        if there is None or there.owner != owner:
            self.expect(task, "missing", "DeleteTasks")
        elif there.state < 10:
            self.expect(task, "unfinished", "DeleteTasks")
        else:
            del self.tasks[task]

    @rule()
    def check(self):
        assert sorted(self.one.settle()) == sorted(self.expected)
        self.expected.clear()
        for task in IDS:
            there = self.tasks.get(task)
            for owner in ("ann", "bob"):
                row = self.one.ask("task", owner, task)
                if there is None or there.owner != owner:
                    assert row is None
                    continue
                assert (row.state, row.attempt) == (there.state, there.attempt)
                assert self.one.ask("task_hash", owner, task) == there.mark
                assert self.one.ask("task_spec", owner, task)[:1] == there.mark
                outcome = self.one.ask("outcome", owner, task)
                assert (outcome.payload if outcome else None) == there.payload
                assert self.one.ask("log_text", owner, task)["text"] == there.text
                assert self.one.ask("event_numbers", task)[0] >= there.next - 1
        open_ones = {row.row.task_id for row in self.one.ask("unfinished", Harness.endpoint)}
        assert open_ones == {task for task, there in self.tasks.items() if there.state < 10}

    @precondition(lambda self: self.boots < 4)
    @rule()
    def reopen(self):
        self.one.reopen()
        self.boots += 1
        assert self.one.store.hub_boot == self.boots
        # Closing told what was still to be told.
        assert sorted((p.task_id, p.kind, p.op) for p in self.one.problems) == sorted(self.expected)
        self.one.problems.clear()
        self.expected.clear()

    @invariant()
    def committed_never_runs_ahead(self):
        assert self.one.store.queued >= 0

    def teardown(self):
        try:
            self.check()
        finally:
            self.one.close()
            shutil.rmtree(self.folder)


TestStoreBesideDict = StoreBesideDict.TestCase
TestStoreBesideDict.settings = settings(
    max_examples=12, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
