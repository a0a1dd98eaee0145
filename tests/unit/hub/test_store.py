from __future__ import annotations

import shutil

import pytest

from jupyter_fx.errors import HubUnavailable, UsageError
from jupyter_fx.ids import new_id
from jupyter_fx.protocol.messages import BlobRef, ErrorInfo, RefInfo, Resources
from jupyter_fx_hub.store import guard
from jupyter_fx_hub.store.ops import (
    AddEvents,
    DeleteTasks,
    EventRow,
    PutEndpoint,
    PutFunction,
    PutSession,
)
from jupyter_fx_hub.store.runway import Runway
from jupyter_fx_hub.store.space import Space
from jupyter_fx_hub.store.sqlite import connect
from jupyter_fx_hub.store.store import Store


def rows_of(one, table):
    return one.store._raw.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def test_a_task_that_ends_at_once_is_one_row_in_one_commit(harness):
    one = harness(hold=5.0)
    task = new_id()
    one.write(one.insert(task), one.move(task), one.finish(task))
    assert one.settle() == []
    assert one.store._writer.commits == 1
    found = one.ask("outcome", "ann", task)
    assert (found.state, found.payload, found.attempt, found.times) == (10, b"result", 1, [1.0, 2.0, 3.0, 4.0, 9.0])


def test_a_result_that_comes_later_ends_the_row_once(harness):
    one = harness()
    task = new_id()
    one.write(one.insert(task))
    assert one.settle() == []
    assert one.ask("outcome", "ann", task) is None
    one.write(one.finish(task))
    one.write(one.finish(task, 11, payload=b"late"))
    one.write(one.move(task))
    assert sorted(one.settle()) == [(task, "terminal", "FinishTask"), (task, "terminal", "MoveTask")]
    assert one.ask("outcome", "ann", task).payload == b"result"


def test_the_same_submission_again_exists_and_another_one_conflicts(harness):
    one = harness()
    task = new_id()
    one.write(one.insert(task))
    one.settle()
    one.write(one.insert(task), one.insert(task, hash=b"other"), one.insert(task, owner="bob"))
    assert [kind for _, kind, _ in one.settle()] == ["exists", "conflict", "conflict"]


def test_a_refused_submission_cannot_end_the_task_whose_id_it_took(harness):
    one = harness(hold=5.0)
    task = new_id()
    one.write(one.insert(task))
    one.settle()
    one.write(one.insert(task, owner="bob", hash=b"other"), one.finish(task, 11))
    assert one.settle() == [(task, "conflict", "InsertTask"), (task, "conflict", "FinishTask")]
    one.write(one.finish(task, 11, owner="bob"), one.move(task, owner="bob"))
    assert {kind for _, kind, _ in one.settle()} == {"missing"}
    assert one.ask("task", "ann", task).state == 2


def test_a_resubmission_with_its_old_result_leaves_the_first_one(harness):
    one = harness(hold=5.0)
    task = new_id()
    one.write(one.insert(task), one.finish(task))
    one.settle()
    one.write(one.insert(task), one.finish(task, 11, payload=b"second"))
    assert one.settle() == [(task, "exists", "InsertTask"), (task, "terminal", "FinishTask")]
    assert one.ask("outcome", "ann", task).payload == b"result"


def test_everything_of_an_outcome_comes_back(harness):
    one = harness()
    task = new_id()
    error, blob = ErrorInfo("WorkerLost", "gone", {"signal": 9}), BlobRef("d" * 64, 5)
    ref = RefInfo(new_id(), one.endpoint, 7, {"type": "ndarray"})
    one.write(one.insert(task), one.finish(task, 11, error=error, blob=blob, ref=ref, usage={"rss": 4}))
    found = one.ask("outcome", "ann", task)
    assert (found.error, found.blob, found.ref, found.usage) == (error, blob, ref, {"rss": 4})
    assert one.ask("task", "ann", task).error == error


def test_another_users_task_answers_like_a_missing_one(harness):
    one = harness()
    task = new_id()
    one.write(one.insert(task, name="fit"), one.finish(task))
    for name in ("task", "outcome", "task_hash", "task_spec", "log_text"):
        assert one.ask(name, "bob", task) is one.ask(name, "bob", new_id()) is None
    assert one.ask("events", "bob", task) == ([], None)
    assert one.ask("find_tasks", "bob", task[-8:]) == one.ask("find_tasks", "bob", "fit") == []
    assert one.ask("tasks", "bob") == ([], None)
    one.write(DeleteTasks("bob", [task]))
    assert one.settle() == [(task, "missing", "DeleteTasks")]


def test_people_find_tasks_by_the_end_of_the_id_or_by_name(harness):
    one = harness()
    ids = [new_id() for _ in range(3)]
    one.write(*(one.insert(task, name="fit") for task in ids))
    assert [row.task_id for row in one.ask("find_tasks", "ann", ids[1])] == [ids[1]]
    assert [row.task_id for row in one.ask("find_tasks", "ann", ids[1][-7:].upper())] == [ids[1]]
    assert [row.task_id for row in one.ask("find_tasks", "ann", "fit")] == ids[::-1]
    assert one.ask("find_tasks", "ann", "zz") == one.ask("find_tasks", "ann", "") == []


def test_listings_go_back_in_pages(harness):
    one = harness()
    ids = [new_id() for _ in range(7)]
    one.write(
        *(one.insert(task, group="g" if n % 2 else "", session_id="s" if n < 2 else "") for n, task in enumerate(ids))
    )
    one.write(one.finish(ids[0]))

    def page(**more):
        return one.run(one.store.read("tasks", "ann", **more))

    first, cursor = page(limit=3)
    second, cursor = page(limit=3, before=cursor)
    last, end = page(limit=3, before=cursor)
    assert [row.task_id for row in [*first, *second, *last]] == ids[::-1]
    assert end is None
    assert [row.task_id for row in page(states=[10])[0]] == [ids[0]]
    assert [row.task_id for row in page(group="g")[0]] == ids[5::-2]
    assert [row.task_id for row in page(session="s")[0]] == ids[1::-1]


def test_unfinished_tasks_come_in_windows_and_keep_large_specs(harness):
    one = harness()
    ids = [new_id() for _ in range(5)]
    one.write(*(one.insert(task, spec=b"s" * (10_000 if n == 2 else 10)) for n, task in enumerate(ids)))
    one.write(one.finish(ids[1]), one.insert(new_id(), endpoint_id="other"))
    first = one.ask("unfinished", one.endpoint, 0, 2)
    rest = one.ask("unfinished", one.endpoint, first[-1].row.number, 10)
    assert [task.row.task_id for task in first + rest] == [ids[0], *ids[2:]]
    assert [len(task.spec) for task in first] == [10, 10_000]
    assert one.ask("unfinished_counts") == {one.endpoint: 4, "other": 1}
    plan = one.store._raw.execute(
        "EXPLAIN QUERY PLAN SELECT pk FROM tasks WHERE endpoint_id=? AND state<10 AND pk>? ORDER BY pk LIMIT 5",
        ("e", 1),
    ).fetchall()
    assert "ix_tasks_unfinished" in plan[0][3]


def test_deleting_takes_ended_tasks_with_all_that_is_theirs(harness):
    one = harness()
    done, running = new_id(), new_id()
    one.write(one.insert(done, spec=b"s" * 10_000), one.insert(running))
    one.write(AddEvents(done, [EventRow(3, 1, 0, 1, 2.0, b"x" * 50_000)]), one.finish(done))
    one.write(DeleteTasks("ann", [done, running]))
    assert one.settle() == [(running, "unfinished", "DeleteTasks")]
    assert [rows_of(one, t) for t in ("tasks", "bodies", "events", "segments", "streams", "uses")] == [1, 0, 0, 0, 0, 0]
    assert not list((one.folder / "streams").glob("??/*"))
    one.write(one.insert(done))
    assert one.settle() == []


def test_old_results_expire_and_unfinished_tasks_do_not(harness):
    one = harness(retention=100.0)
    old, new, waiting = new_id(), new_id(), new_id()
    one.write(
        one.insert(old),
        one.finish(old, finished=10.0),
        one.insert(waiting),
        one.insert(new),
        one.finish(new, finished=60.0),
    )
    one.store.delete_expired(150.0)
    assert [one.ask("task", "ann", t) is None for t in (old, new, waiting)] == [True, False, False]


def test_a_read_sees_what_was_written_before_it(harness):
    one = harness(hold=5.0)
    for _ in range(20):
        task = new_id()
        one.write(one.insert(task))
        assert one.ask("task_hash", "ann", task) == b"h"


def test_an_op_that_cannot_be_stored_does_not_take_others_along(harness):
    one = harness()
    ids = [new_id() for _ in range(9)]
    for n, task in enumerate(ids):
        one.write(one.insert(task, kind=1 << 70 if n == 4 else 0))
    assert one.settle() == [(ids[4], "invalid", "InsertTask")]
    assert rows_of(one, "tasks") == 8
    assert one.store.committed == 9


def test_every_start_has_the_next_boot_number(harness):
    one = harness()
    assert one.store.hub_boot == 1
    one.reopen()
    one.reopen()
    assert one.store.hub_boot == 3


def test_closing_brings_everything_to_the_disk_and_tells_it(harness):
    one = harness(hold=5.0)
    ids = [new_id() for _ in range(50)]
    last = one.write(*map(one.insert, ids))
    one.store.close()
    assert one.store.committed == last
    with pytest.raises(HubUnavailable, match="closed"):
        one.write(one.insert(new_id()))
    with pytest.raises(HubUnavailable):
        one.ask("task", "ann", ids[0])
    one.open()
    assert len(one.ask("unfinished", one.endpoint)) == 50


def test_functions_endpoints_and_sessions_come_back(harness):
    one = harness()
    one.write(
        PutFunction("d" * 64, "ann", "fit", b"code", None, 1.0),
        PutFunction("b" * 64, "ann", "", b"", BlobRef("c" * 64, 9), 1.0),
    )
    assert one.ask("function", "ann", "d" * 64).payload == b"code"
    assert one.ask("function", "ann", "b" * 64).blob == BlobRef("c" * 64, 9)
    assert one.ask("function", "bob", "d" * 64) is None

    made = PutEndpoint("1" * 32, "ann", "polaris", 1, {"workers": 2}, 1.0, 1.0, b"credential")
    one.write(made, PutEndpoint("1" * 32, "ann", "polaris", 2, {"workers": 3}, 1.0, 5.0))
    found = one.ask("endpoint", "ann", "polaris")
    assert (found.state, found.info, found.seen) == (2, {"workers": 3}, 5.0)
    assert one.ask("endpoint_by_credential", b"credential").endpoint_id == "1" * 32
    assert one.ask("endpoint_by_credential", b"") is None
    assert one.ask("endpoint", "bob", "1" * 32) is None
    one.write(
        PutEndpoint("2" * 32, "ann", "polaris", 1, {}, 1.0, 1.0), PutEndpoint("1" * 32, "bob", "mine", 1, {}, 1.0, 1.0)
    )
    assert [kind for _, kind, _ in one.settle()] == ["conflict", "conflict"]
    one.write(
        PutEndpoint("1" * 32, "ann", "polaris", 10, {}, 1.0, 6.0),
        PutEndpoint("2" * 32, "ann", "polaris", 1, {}, 1.0, 1.0),
    )
    assert one.settle() == []
    assert [row.endpoint_id for row in one.ask("endpoints", "ann")] == ["2" * 32]

    session = PutSession("5" * 32, "ann", "1" * 32, 3, b"spec", "k", "1", Resources(cores=2), 1.0, 2.0, "", {"pid": 7})
    one.write(session)
    found = one.ask("session", "ann", "5" * 32)
    assert (found.resources, found.info, found.spec) == (Resources(cores=2), {"pid": 7}, b"spec")
    assert len(one.ask("sessions", "ann", "k")) == len(one.ask("live_sessions")) == 1
    assert one.ask("sessions", "ann", "other") == one.ask("sessions", "bob") == []


def test_a_second_hub_is_told_who_holds_the_database(harness):
    import os

    one = harness()
    with pytest.raises(UsageError, match=f"fx.db is held by another fx hub .pid {os.getpid()}.*stop it"):
        Store.open(one.folder / "fx.db", loop=one.loop, on_commit=lambda *_: None)


def test_sqlite_itself_lets_no_second_process_in(harness):
    import sqlite3

    one = harness()
    other = sqlite3.connect(one.folder / "fx.db", timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("SELECT * FROM meta")
    other.close()


def test_a_file_that_is_no_database_is_refused_in_words(tmp_path, harness):
    (tmp_path / "fx.db").write_bytes(b"hello, this is not a database at all" * 100)
    with pytest.raises(UsageError, match="cannot be opened as the fx hub's database"):
        harness()
    (tmp_path / "fx.db").unlink()
    harness()  # the lock was given back


MOUNTS = r"""/dev/vda / ext4 rw 0 0
fs:/h /home nfs4 rw 0 0
/dev/sdb /home/local xfs rw 0 0
u@h: /mnt/my\040disk fuse.sshfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/ann/fx.db", "nfs4"),
        ("/home/local/fx.db", "xfs"),
        ("/homes/fx.db", "ext4"),
        ("/mnt/my disk/fx.db", "fuse.sshfs"),
    ],
)
def test_the_file_system_of_a_path_is_the_deepest_mount(path, kind):
    from pathlib import Path

    assert guard.file_system_of(Path(path), MOUNTS) == kind


def test_a_database_on_a_network_file_system_is_refused_unless_allowed(tmp_path, monkeypatch, harness):
    monkeypatch.setattr(guard, "file_system_of", lambda *_: "lustre")
    with pytest.raises(UsageError, match=r"fx\.db would be on a network file system \(lustre\).*JUPYTER_FX_STATE_DIR"):
        harness()
    harness(allow_network_fs=True)


def test_room_is_low_below_the_limit_and_a_ballast_is_real(tmp_path):
    assert Space(tmp_path, min_free=1 << 60, ballast=0).full
    space = Space(tmp_path, min_free=0, fraction=0.0, ballast=1 << 20)
    assert not space.full
    assert space.restore()
    assert (tmp_path / "ballast").stat().st_blocks * 512 >= 1 << 20
    space.note_full()
    assert space.full
    assert space.release()
    assert not space.release()
    assert not Space(tmp_path, min_free=1 << 60, ballast=1 << 20).restore()


def test_thrown_ballast_is_taken_in_again_when_there_is_room(tmp_path, monkeypatch):
    space = Space(tmp_path, min_free=0, fraction=0.0, ballast=1 << 16)
    space.restore()
    space.release()
    space.tend()
    assert not (tmp_path / "ballast").exists()
    space._tended -= 60
    space.tend()
    assert (tmp_path / "ballast").exists()


@pytest.mark.parametrize(
    ("question", "index"),
    [
        (("find_tasks", "ann", "fit"), "ix_tasks_name"),
        (("tasks", "ann", {"group": "g"}), "ix_tasks_group"),
        (("tasks", "ann", {"session": "s"}), "ix_tasks_session"),
        (("find_tasks", "ann", "abcdef12"), "COVERING INDEX"),
        (("unfinished", "e"), "ix_tasks_unfinished"),
    ],
)
def test_questions_are_answered_from_their_index(harness, question, index):
    one = harness()
    seen = []
    one.store._raw.set_trace_callback(seen.append)
    name, *args = question
    more = args.pop() if isinstance(args[-1], dict) else {}
    one.run(one.store.read(name, *args, **more))
    one.store._raw.set_trace_callback(None)
    plans = [
        str(one.store._raw.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()) for sql in seen if sql.startswith("SELECT")
    ]
    assert any(index in plan for plan in plans), plans


def test_the_log_is_longer_than_it_is_yet_and_read_up_to_its_end(harness, tmp_path):
    one = harness()
    task = new_id()
    one.write(one.insert(task), one.finish(task))
    one.settle()
    log = one.store.path.with_name(one.store.path.name + "-wal")
    runway = Runway(one.store.path, length=log.stat().st_size + 1, step=1 << 16, room=0)
    assert runway.grow()
    assert not runway.grow()
    assert not Runway(one.store.path, room=1 << 62).grow()
    assert log.read_bytes()[-(1 << 16) :] == bytes(1 << 16)
    # What a power cut leaves: the files as they are.
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in (one.store.path, log):
        shutil.copy(file, copy / file.name)
    found = connect(copy / one.store.path.name)
    assert found.execute("SELECT count(*) FROM tasks WHERE state=10").fetchone() == (1,)
    assert found.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    found.close()
