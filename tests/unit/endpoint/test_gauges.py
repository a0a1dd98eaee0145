"""What people look at and nothing depends on: counts of workers, and the memory of sessions."""

from __future__ import annotations

from types import SimpleNamespace as Thing
from typing import Any

from jupyter_fx.endpoint.gauges import coarse
from jupyter_fx.endpoint.tallies import Tallies, counts
from jupyter_fx.protocol.lifecycle import WorkerState

HOST, TORCH = Thing(environment="", up=True), Thing(environment="torch.sqfs", up=True)
STARTING = Thing(environment="r.sqfs", up=False)


def worker(state: WorkerState, container: Any, session: str = "") -> Any:
    return Thing(state=state, container=container, session=session)


def test_workers_are_counted_by_state_and_by_image() -> None:
    workers = [worker(WorkerState.BUSY, TORCH), worker(WorkerState.IDLE, HOST), worker(WorkerState.IDLE, HOST)]
    found = counts([HOST, TORCH, STARTING], workers)  # type: ignore[arg-type,list-item]
    assert found == {
        "workers": {"busy": 1, "idle": 2},
        "images": {"host": {"warm": 1, "idle": 2}, "torch.sqfs": {"warm": 1, "busy": 1}},
    }
    of_all = Tallies()
    of_all.put("a", found)
    of_all.put("b", found | {"session_memory": {"s": 1 << 30}})
    of_all.put("c", {"why": "its manager is starting"})
    assert of_all.workers == {"busy": 2, "idle": 4}
    assert of_all.images["torch.sqfs"] == {"warm": 2, "busy": 2}
    assert of_all.memory == {"s": 1 << 30}
    of_all.put("b", {"workers": {"idle": 1}})
    of_all.drop("a")
    assert (of_all.workers, of_all.images, of_all.memory) == ({"idle": 1}, {}, {})


def test_the_worker_of_a_session_is_held_while_nothing_runs_in_it() -> None:
    workers = [worker(state, HOST, "s") for state in (WorkerState.STARTING, WorkerState.IDLE, WorkerState.BUSY)]
    found = counts([HOST], [*workers, worker(WorkerState.IDLE, HOST)])  # type: ignore[arg-type]
    assert found["workers"] == {"starting": 1, "held": 1, "busy": 1, "idle": 1}
    assert found["images"] == {"host": {"warm": 1, "starting": 1, "held": 1, "busy": 1, "idle": 1}}


def test_a_manager_of_another_version_spoils_no_count() -> None:
    of_all = Tallies()
    of_all.put("a", {"workers": 4, "images": ["host"], "session_memory": None})
    of_all.put("b", {"workers": {"idle": 1}})
    assert of_all.workers == {"idle": 1}


def test_memory_is_told_in_steps_so_that_what_trembles_is_no_news() -> None:
    assert coarse(0) == 0
    assert coarse(100 * 2**20 + 12345) == coarse(100 * 2**20 - 12345) == 100 * 2**20
    for size in (3 << 20, 77 << 20, 9 << 30, (9 << 30) + 12345):
        assert abs(coarse(size) - size) <= max(1 << 19, size / 16)
