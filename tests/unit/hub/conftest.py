"""A store in a directory of its own, driven without waiting: `harness()` opens one (again)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from jupyter_fx_hub.store.ops import FinishTask, InsertTask, MoveTask, Op, Problem
from jupyter_fx_hub.store.space import Space
from jupyter_fx_hub.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENDPOINT = "e" * 32


def history(*states: int) -> bytes:
    """State events 0, 1, 2 … as the service encodes them."""
    return msgspec.msgpack.encode([[n, state, float(n), ""] for n, state in enumerate(states)])


class Harness:
    """A store with its event loop, and short ways to make ops."""

    endpoint = ENDPOINT
    history = staticmethod(history)

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.loop = asyncio.new_event_loop()
        self.problems: list[Problem] = []
        options.setdefault("space", Space(folder, min_free=0, fraction=0.0, ballast=0))
        self.options = options
        self.open()

    def open(self) -> None:
        self.store = Store.open(self.folder / "fx.db", loop=self.loop, on_commit=self._told, **self.options)

    def reopen(self) -> None:
        self.store.close()
        self.open()

    def _told(self, position: int, problems: list[Problem]) -> None:
        assert position == self.store.committed
        self.problems += problems

    def write(self, *ops: Op) -> int:
        return [self.store.write(op) for op in ops][-1]

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def ask(self, name: str, *args: Any) -> Any:
        return self.run(self.store.read(name, *args))

    def settle(self) -> list[tuple[str, str, str]]:
        """Wait until all is committed; the problems since the last time."""
        self.ask("unfinished_counts")
        assert self.store.queued == 0
        told, self.problems = self.problems, []
        return [(p.task_id, p.kind, p.op) for p in told]

    def close(self) -> None:
        self.store.close()
        self.loop.close()

    @staticmethod
    def insert(task_id: str, owner: str = "ann", **more: Any) -> InsertTask:
        given: dict[str, Any] = {
            "kind": 0,
            "function": "f" * 64,
            "endpoint_id": ENDPOINT,
            "session_id": "",
            "state": 2,
            "hash": b"h",
            "spec": b"spec",
            "submitted": 1.0,
            "history": history(2),
        }
        return InsertTask(task_id=task_id, owner=owner, **(given | more))

    @staticmethod
    def move(task_id: str, state: int = 3, **more: Any) -> MoveTask:
        given: dict[str, Any] = {"attempt": 1, "fence": (1, 1), "endpoint_id": ENDPOINT, "history": history(2, state)}
        return MoveTask(task_id=task_id, state=state, **(given | more))

    @staticmethod
    def finish(task_id: str, state: int = 10, **more: Any) -> FinishTask:
        given: dict[str, Any] = {
            "attempt": 1,
            "fence": (1, 1),
            "endpoint_id": ENDPOINT,
            "history": history(2, 3, state),
            "finished": 9.0,
            "payload": b"result",
            "times": [1.0, 2.0, 3.0, 4.0, 9.0],
        }
        return FinishTask(task_id=task_id, state=state, **(given | more))


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Callable[..., Harness]]:
    """Opens stores below `tmp_path` and closes them."""
    made: list[Harness] = []

    def make(folder: Path | None = None, **options: Any) -> Harness:
        made.append(Harness(folder or tmp_path, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
