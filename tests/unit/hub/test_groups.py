"""Maps as one sum: whatever their workers said, and whether or not their endpoint can stop them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from jupyter_fx.errors import UsageError
from jupyter_fx.ids import new_id
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import Cancel, ErrorInfo
from jupyter_fx_hub.operations import Operations

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.hub.conftest import Harness

WHY = "Parsl cannot stop a running task"
CALLER: Any = SimpleNamespace(user="ann")


class Shell:
    """What operations ask of the service: a store, and those tasks that run."""

    def __init__(self, store: Any) -> None:
        endpoints = {"stops": SimpleNamespace(info={}), "stays": SimpleNamespace(info={"cannot_stop": WHY})}
        self.store, self.cancelled = store, list[str]()
        self.state = SimpleNamespace(core=SimpleNamespace(tasks={}, endpoints=endpoints))

    def run(self, task_id: str, endpoint: str) -> str:
        self.state.core.tasks[task_id] = SimpleNamespace(state=TaskState.RUNNING, endpoint_id=endpoint, spec=None)
        return task_id

    async def flushed(self) -> None:
        pass

    def handle(self, event: Any) -> None:
        assert isinstance(event.message, Cancel)
        self.cancelled += event.message.tasks


def made(harness: Harness) -> tuple[Operations, Shell]:
    shell: Any = Shell(harness.store)
    return Operations(shell, user="ann", stop=lambda: None), shell


def test_a_map_that_cannot_be_stopped_says_so(harness: Callable[..., Harness]) -> None:
    h = harness()
    operations, shell = made(h)
    stays, other = new_id(), new_id()
    h.write(h.insert(stays, group="a", state=5), h.insert(other, group="b", state=5))
    h.settle()
    shell.run(stays, "stays")
    with pytest.raises(UsageError, match=WHY):
        h.run(operations.groups_cancel(CALLER, {"group": "a"}))
    shell.run(other, "stops")
    assert h.run(operations.groups_cancel(CALLER, {"group": "b"})) == {"cancelled": 1}
    assert shell.cancelled == [other]


def test_of_one_that_can_be_stopped_in_part_the_rest_is_told(harness: Callable[..., Harness]) -> None:
    h = harness()
    operations, shell = made(h)
    tasks = [shell.run(new_id(), "stays"), shell.run(new_id(), "stops"), new_id()]
    h.write(*(h.insert(task, group="g", state=5) for task in tasks))
    h.write(h.finish(tasks[2]))
    h.settle()
    assert h.run(operations.groups_cancel(CALLER, {"group": "g"})) == {"cancelled": 1, "refused": {tasks[0]: WHY}}
    assert h.run(operations.tasks_cancel(CALLER, {"task_ids": tasks})) == {"cancelled": 1, "refused": {tasks[0]: WHY}}


@pytest.mark.parametrize("said", ["many", -3, 1e300, [], None, {"a": 1}])
def test_a_worker_that_counts_wrong_spoils_no_sum(harness: Callable[..., Harness], said: Any) -> None:
    h = harness()
    operations, _ = made(h)
    well, odd = new_id(), new_id()
    h.write(h.insert(well, group="g"), h.insert(odd, group="g"))
    h.write(h.finish(well, usage={"items": 5, "failed": 1, "failures": [[0, "x", "boom"]]}))
    lost = ErrorInfo("WorkerLost", "SIGKILL", {"finished": said})
    h.write(h.finish(odd, 11, error=lost, usage={"items": said, "failed": said, "failures": [[said, said, said]]}))
    h.settle()
    operations._sizes[odd] = 4
    told = h.run(operations.groups_get(CALLER, {"group": "g"}))
    assert (told["items"], told["done"], told["failed"]) == (9, 9, 5)
    assert told["failures"][0] == {"index": 0, "input": "x", "error": "boom"}
