"""What callers ask of the hub."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from jupyter_fx.ids import new_id
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx_hub.operations import RUNNING_MAX, Operations
from jupyter_fx_hub.store.ops import AddEvents, EventRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.hub.conftest import Harness

CALLER: Any = SimpleNamespace(user="ann")


def test_no_character_of_a_log_is_lost_between_two_pages(harness: Callable[..., Harness]) -> None:
    async def flushed() -> None:
        pass

    h, task = harness(), new_id()
    service: Any = SimpleNamespace(store=h.store, flushed=flushed)
    operations = Operations(service, user="ann", stop=lambda: None)
    # Of one, two, three and four bytes: some page ends within one.
    text = "aé€𝄞" * 60_000
    rows = [
        EventRow(n, 1, n, 1, 1.0, text[at : at + 4000].encode()) for n, at in enumerate(range(0, len(text), 4000), 1)
    ]
    h.write(h.insert(task))
    for at in range(0, len(rows), 10):
        h.write(AddEvents(task, rows[at : at + 10]))
    h.settle()
    said, offset, pages = "", 0, 0
    while offset is not None:
        page = h.run(operations.tasks_log(CALLER, {"task_id": task, "offset": offset}))
        said, offset, pages = said + page["text"], page["next"], pages + 1
    assert pages > 2
    assert said == text


def test_a_hundred_thousand_tasks_that_run_are_told_page_by_page() -> None:
    ids = [f"{n:032x}" for n in range(100_001)]
    state = dict.fromkeys(range(0, 100001, 1000), TaskState.QUEUED)
    tasks = [SimpleNamespace(task_id=one, state=state.get(at, TaskState.RUNNING)) for at, one in enumerate(ids)]
    endpoints = [SimpleNamespace(leases={t.task_id: t for t in tasks[part::2]}) for part in (0, 1)]
    core = SimpleNamespace(owned={"ann": endpoints})
    service: Any = SimpleNamespace(state=SimpleNamespace(core=core))
    operations = Operations(service, user="ann", stop=lambda: None)
    found: list[str] = []
    after, pages = "", 0
    while after or not pages:
        page = operations.tasks_running(CALLER, {"after": after} if after else {})
        assert len(page["tasks"]) <= RUNNING_MAX
        found, after, pages = found + page["tasks"], page["next"], pages + 1
    assert pages == 10
    assert found == [one for at, one in enumerate(ids) if at not in state]
    assert operations.tasks_running(SimpleNamespace(user="bob"), {}) == {"tasks": [], "next": ""}  # type: ignore[arg-type]
