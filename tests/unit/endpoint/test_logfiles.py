"""Where the logs of an endpoint are: of all of it, of a block that lives or is over, of a task; how they are shown."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from jupyter_fx.cli import endpoint_logs
from jupyter_fx.endpoint.logfiles import PLACED, logs_of, placed_line
from jupyter_fx.errors import UsageError

OLD, NEW = "0197f000" + "a" * 24, "0197f000" + "b" * 24
TASK = "0197f111" + "c" * 20 + "d00d"


def block(folder: Path, block_id: str, name: str, job: str, **files: str) -> None:
    folder.mkdir(parents=True)
    (folder / "block.json").write_text(json.dumps({"block_id": block_id, "name": name, "job": job}))
    for path, text in files.items():
        (folder / path.replace("__", ".")).write_text(text)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "task-logs").mkdir()
    (tmp_path / "agent.log").write_text(
        "linked\nblock fxab01 is Slurm job 4711\nblock fxab02 is Slurm job 4712\nmanager aaaa of block 0197f000 came\n"
    )
    block(tmp_path / "block-logs" / "fxab01", OLD, "fxab01", "4711", job__stderr="a traceback\n")
    block(tmp_path / "blocks" / NEW, NEW, "fxab02", "4712", job__stdout="hello\n")
    (tmp_path / "blocks" / NEW / "n1--zygote.log").write_text("imports\n")
    (tmp_path / "blocks" / NEW / "n2--container-7.log").write_text("torch\n")
    (tmp_path / "blocks" / NEW / "secret").write_bytes(b"the secret")
    (tmp_path / "blocks" / NEW / PLACED).write_bytes(placed_line("2026-01-01", "n1", ["0" * 32, TASK]))
    (tmp_path / "task-logs" / f"{TASK}.1.stdout").write_text("printed\n")
    return tmp_path


def test_all_that_lives_is_listed_and_no_secret(home: Path) -> None:
    found = logs_of(home)
    assert [one.source for one in found] == [
        "agent",
        "block fxab02 (job 4712): job stdout (keeper and manager)",
        "block fxab02 (job 4712): n1: container of the host's Python",
        "block fxab02 (job 4712): n2: container-7",
    ]


@pytest.mark.parametrize("word", ["4711", "fxab01", OLD, OLD[-6:]])
def test_a_block_that_is_over_is_found_by_job_name_and_id(home: Path, word: str) -> None:
    found = logs_of(home, block=word)
    assert [one.source for one in found] == ["agent", "block fxab01 (job 4711): job stderr (keeper and manager)"]
    assert "job 4711" in found[0].words


def test_a_task_leads_to_the_node_that_had_it(home: Path) -> None:
    for word in (TASK, TASK[-4:], TASK.upper()):
        assert [one.source for one in logs_of(home, task=word)] == [
            "task 1.stdout",
            "block fxab02 (job 4712): job stdout (keeper and manager)",
            "block fxab02 (job 4712): n1: container of the host's Python",
        ]


def test_what_is_not_there_is_said_with_what_is(home: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no block '4713': did you mean '471[12]'"):
        logs_of(home, block="4713")
    with pytest.raises(UsageError, match="knows nothing of a task 'beef'"):
        logs_of(home, task="beef")
    with pytest.raises(UsageError, match="is no task's id"):
        logs_of(home, task="../secret")
    (home / "task-logs" / f"{'e' * 28}d00d.1.stderr").write_text("x")
    with pytest.raises(UsageError, match="is the end of several tasks"):
        logs_of(home, task="d00d")


def test_an_agent_without_blocks_shows_its_own_containers(tmp_path: Path) -> None:
    for name in ("agent.log", "zygote.log", "container-3.log"):
        (tmp_path / name).write_text("x\n")
    assert [one.source for one in logs_of(tmp_path)] == ["agent", "container-3", "container of the host's Python"]


def test_they_are_shown_under_their_names_and_no_terminal_obeys_them(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "agent.log").write_text("1\n2\n\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b2J\n")
    endpoint_logs.show(lambda: logs_of(home), 1, follow=False)
    said = capsys.readouterr().out
    assert "==> agent: " in said
    assert "\x1b[31mred\x1b[0m \\x1b]0;title\\x07 \\x9b2J" in said
    assert "\n2\n" not in said
    assert "==> block fxab02 (job 4712): n1: container of the host's Python" in said


def test_what_comes_later_is_shown_too(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in files that were not there at first; half a line waits for its other half."""
    monkeypatch.setattr(endpoint_logs, "POLL", 0.01)
    monkeypatch.setattr(endpoint_logs, "LOOK_EVERY", 0.02)
    stop = threading.Event()

    def files() -> list[object]:
        if stop.is_set():
            raise KeyboardInterrupt
        return list(logs_of(home))

    shower = threading.Thread(target=endpoint_logs.show, args=(files, 1), kwargs={"follow": True})
    shower.start()
    said = ""

    def until(words: str) -> None:
        nonlocal said
        end = time.monotonic() + 30
        while words not in said:
            assert time.monotonic() < end, said
            said += capsys.readouterr().out
            time.sleep(0.005)

    try:
        until("manager aaaa")
        with (home / "agent.log").open("a") as log:
            log.write("half a li")
            log.flush()
            (home / "blocks" / NEW / "n3--zygote.log").write_text("a new node\n")
            until("a new node")
            assert "half" not in said
            log.write("ne\n")
        until("half a line\n")
    finally:
        stop.set()
        shower.join(10)
    assert not shower.is_alive()
