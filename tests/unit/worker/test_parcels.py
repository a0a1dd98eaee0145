"""Parcels: tasks that run in a worker that is not ours."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_fx_worker import envelope, frames, parcels, usermodules


def pack(value: Any, kind: str, **extra: Any) -> bytes:
    return b"".join(bytes(piece) for piece in envelope.dumps(value, kind, **extra))


@pytest.fixture(autouse=True)
def _streams() -> Iterator[None]:
    before = sys.stdout, sys.stderr
    yield
    sys.stdout, sys.stderr = before
    parcels._functions.clear()


def parcel(folder: Path, function: Any, *payloads: bytes, verb: str = "call", name: str = "p") -> dict[str, Any]:
    (folder / "fence").mkdir(exist_ok=True)
    (folder / "spill").mkdir(exist_ok=True)
    tasks = [{"id": str(at), "verb": verb, "fn": "f", "payload": one} for at, one in enumerate(payloads)]
    return {
        "fence": str(folder / "fence"),
        "name": name,
        "functions": {"f": pack(function, "fn")},
        "tasks": tasks,
        "spill": str(folder / "spill"),
        "max_inline": 1000,
    }


def args(*values: Any) -> bytes:
    return pack((values, {}), "args")


def read(answer: dict[str, Any]) -> list[tuple[dict[str, Any], bytes]]:
    return [(header, bytes(body)) for header, body in frames.Reader().feed(answer["log"])]


def test_each_task_of_a_parcel_is_told_and_written_down(tmp_path: Path) -> None:
    def work(x: int) -> int:
        print("said", x)
        print("warned", file=sys.stderr)
        return 10 // x

    answer = parcels.run(parcel(tmp_path, work, args(1), args(0), args(5)))
    found = read(answer)
    assert [(header["op"], header.get("no")) for header, _ in found] == [
        ("parcel", None),
        *[(op, no) for no in range(3) for op in ("start", "text", "text", "done")],
    ]
    done = [(header, body) for header, body in found if header["op"] == "done"]
    assert [header["outcome"] for header, _ in done] == ["ok", "error", "ok"]
    assert envelope.loads(bytearray(done[0][1]))[1] == 10
    assert envelope.peek(done[1][1])[0]["etype"] == "ZeroDivisionError"
    assert [(h["stream"], body) for h, body in found if h["op"] == "text"][:2] == [(1, b"said 1\n"), (2, b"warned\n")]
    assert (tmp_path / "fence" / "p").read_bytes() == answer["log"]


def test_a_parcel_that_somebody_has_never_runs(tmp_path: Path) -> None:
    ran: list[int] = []
    told = parcel(tmp_path, ran.append, args(1))
    (tmp_path / "fence" / "p").touch()
    assert parcels.run(told)["refused"] == "taken"
    (tmp_path / "fence" / "p").unlink()
    (tmp_path / "fence").rename(tmp_path / "over")
    assert parcels.run(told)["refused"] == "unseen"
    assert not ran


def test_a_map_tells_its_items_and_what_is_large_goes_to_a_file(tmp_path: Path) -> None:
    items = pack(list(range(50)), "items", n=50)
    found = read(parcels.run(parcel(tmp_path, lambda x: x, items, verb="map")))
    values = [one for header, body in found if header["op"] == "items" for one in envelope.loads(bytearray(body))[1]]
    assert values == list(range(50))
    assert found[-1][0]["n"] == 50
    parcels._functions.clear()
    found = read(parcels.run(parcel(tmp_path, lambda n: b"x" * n, args(5000), name="q")))
    assert len(envelope.loads(bytearray(Path(found[-1][0]["path"]).read_bytes()))[1]) == 5000


def test_threads_of_one_process_keep_their_texts_apart(tmp_path: Path) -> None:
    both = threading.Barrier(2)

    def work(word: str) -> None:
        for _ in range(3):
            both.wait(10)
            print(word)

    # By reference: both threads must meet at the same barrier.
    parcels._functions["f"] = (work, None)
    answers: dict[str, Any] = {}

    def run(word: str) -> None:
        answers[word] = parcels.run(parcel(tmp_path, len, args(word), name=word))

    threads = [threading.Thread(target=run, args=(word,)) for word in ("a", "b")]
    for one in threads:
        one.start()
    for one in threads:
        one.join(20)
    for word in ("a", "b"):
        assert [body for header, body in read(answers[word]) if header["op"] == "text"] == [f"{word}\n".encode() * 3]


def test_what_prints_without_end_is_cut(tmp_path: Path) -> None:
    def work() -> None:
        for _ in range(40):
            print("x" * (1 << 16))

    found = read(parcels.run(parcel(tmp_path, work, args())))
    text = b"".join(body for header, body in found if header["op"] == "text")
    assert len(text) < (1 << 20) + 100
    assert text.endswith(b"is not kept]\n")


class Leaves:
    """As a module of the user's does that exits when it is imported there."""

    def __reduce__(self) -> tuple[Any, ...]:
        return sys.exit, ("no data here",)


def test_a_function_whose_module_exits_fails_its_task_and_no_more(tmp_path: Path) -> None:
    found = read(parcels.run(parcel(tmp_path, Leaves(), args(), args())))
    assert [header["outcome"] for header, _ in found if header["op"] == "done"] == ["error", "error"]
    assert usermodules.active() is None
