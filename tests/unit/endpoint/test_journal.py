"""The journal: torn anywhere, it says so and gives what is whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jupyter_fx.endpoint import journal_kinds as kinds
from jupyter_fx.endpoint.events import Record
from jupyter_fx.endpoint.journal import Journal
from jupyter_fx.endpoint.journal_records import read_records
from jupyter_fx.protocol.messages import LeasedTask, Result


def task(n: int) -> LeasedTask:
    return LeasedTask(f"{n:032x}", "me", 1, (1, n), 0, "f", b"payload" * n)


STORY = [
    Record(kinds.ACCEPT, [task(1), task(2)]),
    Record(kinds.START, [task(1).task_id]),
    Record(kinds.RESULT, [(Result(task(1).task_id, 1, (1, 1), 10, b"value"), "")]),
    Record(kinds.FORGET, [task(1).task_id]),
]


def written(path: Path) -> bytes:
    journal = Journal(path, boot_id="boot", fresh_generation="one")
    for record in STORY:
        journal.append(record)
    journal.close()
    return path.read_bytes()


def test_what_was_written_is_read(tmp_path: Path) -> None:
    written(tmp_path / "j")
    journal = Journal(tmp_path / "j", boot_id="boot", fresh_generation="two")
    assert journal.sure
    assert journal.generation == "one"
    assert journal.records == STORY
    journal.append(STORY[0])
    journal.close()
    again = Journal(tmp_path / "j", boot_id="boot", fresh_generation="three")
    assert again.records == [*STORY, STORY[0]]
    again.close()


def test_a_tail_that_is_torn_at_any_byte_is_noticed_and_the_rest_kept(tmp_path: Path) -> None:
    data = written(tmp_path / "j")
    whole = {0}
    for count in range(len(STORY) + 1):
        path = tmp_path / f"w{count}"
        journal = Journal(path, boot_id="boot", fresh_generation="one")
        for record in STORY[:count]:
            journal.append(record)
        journal.close()
        whole.add(len(path.read_bytes()))
    for cut in range(len(data) + 1):
        records, good, wrong = read_records(data[:cut])
        assert good in whole
        assert good <= cut
        assert (wrong == "") == (cut in whole)
        assert records[1:] == STORY[: max(0, len(records) - 1)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.data())
def test_a_flipped_bit_never_gives_a_wrong_record(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "j"
    raw = bytearray(path.read_bytes() if path.exists() else written(path))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= 1 << data.draw(st.integers(0, 7))
    records, _, wrong = read_records(bytes(raw))
    assert wrong
    assert records[1:] == STORY[: max(0, len(records) - 1)]


@pytest.mark.parametrize(("boot", "sure"), [("boot", True), ("another", False)])
def test_a_restarted_machine_makes_the_journal_unsure(tmp_path: Path, boot: str, sure: bool) -> None:
    written(tmp_path / "j")
    journal = Journal(tmp_path / "j", boot_id=boot, fresh_generation="two")
    assert (journal.sure, journal.generation) == ((True, "one") if sure else (False, "two"))
    assert journal.records[:4] == STORY
    assert [record.kind for record in journal.records[4:]] == ([] if sure else [kinds.DOUBT])
    journal.close()


def test_a_lost_journal_is_a_new_generation_and_unsure(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", boot_id="boot", fresh_generation="two", expected=True)
    assert (journal.sure, journal.generation) == (False, "two")
    journal.close()
    fresh = Journal(tmp_path / "k", boot_id="boot", fresh_generation="three")
    assert fresh.sure
    fresh.close()


def test_after_a_torn_tail_it_goes_on_as_another_generation_that_remembers_the_doubt(tmp_path: Path) -> None:
    data = written(tmp_path / "j")
    (tmp_path / "j").write_bytes(data[:-3])
    journal = Journal(tmp_path / "j", boot_id="boot", fresh_generation="two")
    assert (journal.sure, journal.generation) == (False, "two")
    journal.append(STORY[3])
    journal.close()
    again = Journal(tmp_path / "j", boot_id="boot", fresh_generation="three")
    assert (again.sure, again.generation) == (True, "two")
    assert [record.kind for record in again.records] == [
        kinds.ACCEPT,
        kinds.START,
        kinds.RESULT,
        kinds.DOUBT,
        kinds.FORGET,
    ]
    again.close()


def test_compaction_keeps_only_what_lives(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", boot_id="boot", fresh_generation="one")
    for _ in range(50):
        journal.append(STORY[0])
    before = journal.size
    journal.compact(STORY[:1])
    assert journal.size < before / 10
    journal.append(STORY[1])
    journal.close()
    assert Journal(tmp_path / "j", boot_id="boot", fresh_generation="x").records == STORY[:2]


def test_a_full_disk_leaves_no_half_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    journal = Journal(tmp_path / "j", boot_id="boot", fresh_generation="one")
    real = os.write

    def short(fd: int, data: bytes) -> int:
        if len(data) > 20:
            return real(fd, data[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", short)
    with pytest.raises(OSError, match="No space"):
        journal.append(Record(kinds.START, ["x" * 15]))
    monkeypatch.undo()
    journal.append(STORY[1])
    journal.close()
    again = Journal(tmp_path / "j", boot_id="boot", fresh_generation="x")
    assert (again.sure, again.records) == (True, [STORY[1]])
    again.close()
