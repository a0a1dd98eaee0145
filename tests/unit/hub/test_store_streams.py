from __future__ import annotations

import itertools

import pytest

from jupyter_fx.ids import new_id
from jupyter_fx.protocol.messages import EventKind
from jupyter_fx_hub.store.ops import AddEvents, EventRow
from jupyter_fx_hub.store.streams import Streams


def text(n, data, kind=1):
    return EventRow(n, 1, n, kind, float(n), data)


@pytest.fixture
def told(harness):
    """A store with one running task."""
    one = harness()
    one.task = new_id()
    one.write(one.insert(one.task))
    return one


def test_short_text_needs_no_file(told):
    told.write(AddEvents(told.task, [text(1, b"a\n"), text(2, "é\n"), text(3, {"x": 1}, EventKind.DISPLAY)]))
    events, more = told.ask("events", "ann", told.task, 1)
    assert [(n, kind, data) for n, kind, _, data in events] == [
        (1, 1, b"a\n"),
        (2, 1, "é\n".encode()),
        (3, 3, {"x": 1}),
    ]
    assert more is None
    assert not list((told.folder / "streams").glob("??/*"))


def test_long_text_goes_to_a_file_and_comes_back_after_a_restart(told):
    pieces = [bytes([65 + n % 26]) * 3000 + b"\n" for n in range(20)]
    for n, piece in enumerate(pieces, 1):
        told.write(AddEvents(told.task, [text(n, piece, 1 + n % 2)]))
    told.settle()
    told.reopen()
    told.write(AddEvents(told.task, [text(21, b"after\n")]))
    found = told.ask("log_text", "ann", told.task)
    assert found["text"] == b"".join(pieces) + b"after\n"
    assert (found["dropped"], found["next"]) == (0, None)
    only = told.ask("log_text", "ann", told.task, int(EventKind.STDERR))
    assert only["text"] == b"".join(pieces[0::2])
    assert len(list((told.folder / "streams").glob("??/*"))) == 1


def test_a_log_is_read_in_parts(told):
    told.write(AddEvents(told.task, [text(n, b"%06d\n" % n) for n in range(1, 2001)]))
    parts, offset = b"", 0
    while offset is not None:
        found = told.ask("log_text", "ann", told.task, None, offset, 1000)
        parts += found["text"]
        offset = found["next"]
    assert parts == b"".join(b"%06d\n" % n for n in range(1, 2001))


def test_events_come_in_order_with_the_states_between_them(told):
    told.write(AddEvents(told.task, [text(n, b"x") for n in (2, 4, 5)]))
    import msgspec

    told.write(
        told.finish(
            told.task,
            history=msgspec.msgpack.encode([[0, 2, 0.0, ""], [1, 5, 1.0, "why"], [3, 5, 1.5, ""], [6, 10, 2.0, ""]]),
        )
    )
    events, _ = told.ask("events", "ann", told.task)
    assert [e[0] for e in events] == [0, 1, 2, 3, 4, 5, 6]
    assert events[1][3] == {"state": 5, "reason": "why"}
    seen, start = [], 0
    while start is not None:
        events, start = told.ask("events", "ann", told.task, start, 2)
        seen += [e[0] for e in events]
    assert seen == [0, 1, 2, 3, 4, 5, 6]
    assert told.ask("event_numbers", told.task) == (7, {1: 6})


def test_head_and_tail_are_kept_and_the_middle_is_counted(told, monkeypatch):
    streams = told.store.streams
    streams._inline, streams._head, streams._tail = 100, 1000, 4000
    for n in range(1, 1001):
        told.write(AddEvents(told.task, [text(n, b"%08d %s\n" % (n, b"x" * 40))]))
    told.write(AddEvents(told.task, [text(1001, {"png": 1}, EventKind.DISPLAY)]))
    found = told.ask("log_text", "ann", told.task)
    lines = found["text"].split(b"\n")
    numbers = [int(line[:8]) for line in lines if line[:8].isdigit()]
    assert numbers[0] == 1
    assert numbers[-1] == 1000
    kept_head = next(n for n, (a, b) in enumerate(itertools.pairwise(numbers), 1) if b != a + 1)
    assert 1000 <= kept_head * 50 <= 1200
    assert 4000 <= (len(numbers) - kept_head) * 50 <= 4700
    assert found["dropped"] + len(numbers) * 50 == 50_000
    assert found["lines"] + len(numbers) == 1000
    assert b"[%d lines, %d bytes dropped]" % (found["lines"], found["dropped"]) in found["text"]
    events, _ = told.ask("events", "ann", told.task, kept_head + 1)
    assert events[0][1] == EventKind.NOTE
    assert events[0][3]["through"] + 1 == events[1][0] == numbers[kept_head]
    assert events[-1][3] == {"png": 1}
    names = told.store._raw.execute("SELECT count(*) FROM segments").fetchone()[0]
    assert len(list((told.folder / "streams").glob("??/*"))) == names
    rows = told.store._raw.execute("SELECT count(*) FROM events").fetchone()[0]
    assert rows == len(numbers) + 1


def test_what_a_crash_left_beyond_the_commit_is_overwritten(told):
    told.write(AddEvents(told.task, [text(1, b"a" * 5000)]))
    told.settle()
    (file,) = (told.folder / "streams").glob("??/*")
    with file.open("ab") as torn:
        torn.write(b"never committed")
    told.reopen()
    told.write(AddEvents(told.task, [text(2, b"b" * 10)]))
    assert told.ask("log_text", "ann", told.task)["text"] == b"a" * 5000 + b"b" * 10


def test_files_that_no_row_names_are_swept_at_start(told):
    stray = told.folder / "streams" / "ab"
    stray.mkdir(parents=True)
    (stray / "abcd").write_bytes(b"x")
    told.reopen()
    assert not (stray / "abcd").exists()


def test_a_damaged_file_gives_less_text_and_no_error(told):
    told.write(AddEvents(told.task, [text(1, b"a" * 5000)]))
    told.settle()
    (file,) = (told.folder / "streams").glob("??/*")
    told.store.close()
    file.unlink()
    told.open()
    assert told.ask("log_text", "ann", told.task)["text"] == b""


def test_output_of_a_task_that_is_not_there_is_refused(told):
    told.write(AddEvents(new_id(), [text(1, b"a")]), AddEvents(told.task, [text(1, b"a")], owner="bob"))
    assert [kind for _, kind, _ in told.settle()] == ["missing", "missing"]


def test_many_chatty_tasks_keep_few_files_open(told):
    ids = [new_id() for _ in range(100)]
    for task in ids:
        told.write(told.insert(task), AddEvents(task, [text(1, b"a" * 5000)]))
    told.settle()
    assert isinstance(told.store.streams, Streams)
    assert len(told.store.streams._files) <= 64
    assert told.ask("log_text", "ann", ids[0])["size"] == 5000
