"""Stories of the agent's state: sessions and their cells."""

from __future__ import annotations

from jupyter_fx.endpoint.events import (
    Fetch,
    Fetched,
)
from jupyter_fx.endpoint.talk import (
    CloseWorker,
    OpenWorker,
    Place,
    SessionGone,
    SessionUp,
)
from jupyter_fx.protocol.lifecycle import SessionState, TaskState
from jupyter_fx.protocol.messages import (
    AgentStatus,
    BlobRef,
    CancelTasks,
    CloseSession,
    Credit,
    Demand,
    DemandItem,
    Dispatch,
    ErrorInfo,
    LeasedTask,
    Nack,
    Resources,
    SessionClosed,
    SessionEvent,
    SessionLease,
    SessionSpec,
)
from tests.unit.endpoint.agent_shell import ONE, SESSION, SPEC, WAITS, Shell, task


def test_a_session_is_opened_when_its_demand_shows_and_its_cells_get_credit() -> None:
    shell = Shell()
    shell.handle(WAITS)
    shell.handle(WAITS)
    assert shell.of(OpenWorker) == [OpenWorker(SESSION, "", 1)]
    shell.handle(SessionUp(SESSION, {"pid": 1}))
    assert [one.state for one in shell.of(SessionEvent)] == [SessionState.OPENING, SessionState.OPEN]
    assert dict(shell.of(Credit)[-1].shapes)["s:" + SESSION] == 2
    shell.handle(Dispatch([task(session=SESSION)]))
    assert shell.of(Place)[0].work[0].session == SESSION


def test_a_local_session_starts_where_its_notebook_is() -> None:
    shell = Shell(use_cwd=True)
    shell.handle(WAITS)
    assert shell.of(OpenWorker) == [OpenWorker(SESSION, "/home/ada", 1)]


def test_too_many_sessions_wait_and_the_status_says_why() -> None:
    shell = Shell()
    shell.handle(WAITS)
    other = SessionSpec("6" * 32, "local", "kernel2", "epoch")
    shell.handle(Demand([DemandItem("s:" + other.session_id, 1, Resources(), other, "me")]))
    assert len(shell.of(OpenWorker)) == 1
    assert "max_sessions" in shell.of(AgentStatus)[-1].info["why"]
    shell.handle(CloseSession(SESSION, "done"))
    shell.handle(SessionGone(SESSION, "done", False))
    assert [one.session_id for one in shell.of(OpenWorker)] == [SESSION, other.session_id]


def test_a_session_is_closed_on_request_and_lost_when_its_worker_dies() -> None:
    shell = Shell()
    shell.handle(WAITS)
    shell.handle(SessionUp(SESSION, {}))
    shell.handle(CloseSession(SESSION, "idle"))
    assert shell.of(CloseWorker) == [CloseWorker(SESSION, "idle", False)]
    shell.handle(SessionGone(SESSION, "idle", False))
    assert not shell.of(SessionClosed)[0].lost
    shell.handle(WAITS)
    shell.handle(SessionGone(SESSION, "it was ended by SIGSEGV", True))
    assert shell.of(SessionClosed)[1].lost
    shell.handle(Dispatch([task(session=SESSION)]))
    assert shell.of(Nack)[0].error.etype == "RefLost"


def test_sessions_of_an_agent_that_died_are_lost() -> None:
    before = Shell()
    before.handle(WAITS)
    before.handle(SessionUp(SESSION, {}))
    before.handle(Dispatch([task(session=SESSION)]))
    after = Shell(before.journal)
    assert [one.lost for one in after.of(SessionClosed)] == [True]
    assert after.results()[0].state == TaskState.CANCELLED
    assert not after.of(Place)


def in_a_session(*cells: LeasedTask) -> Shell:
    shell = Shell()
    shell.handle(SessionLease(SPEC, "me"))
    shell.handle(WAITS)
    shell.handle(SessionUp(SESSION, {"pid": 1}))
    shell.handle(Dispatch(list(cells)))
    return shell


def placed(shell: Shell) -> list[str]:
    return [work.task_id[-1] for place in shell.of(Place) for work in place.work]


def test_a_cell_whose_bytes_are_on_their_way_is_not_overtaken_by_the_next() -> None:
    part = BlobRef("d" * 64, 5)
    shell = in_a_session(task(1, session=SESSION, parts=[part]), task(2, session=SESSION), task(3))
    shell.handle(Dispatch([task(4, session=SESSION, timeout=5.0)]))
    assert placed(shell) == ["3"]
    shell.handle(Fetched(shell.of(Fetch)[0].key, "/file"))
    assert placed(shell) == ["3", "1", "2", "4"]


def test_cells_behind_one_that_ended_without_its_bytes_go_on() -> None:
    part = BlobRef("d" * 64, 5)
    cells = [task(1, session=SESSION, parts=[part]), task(2, session=SESSION)]
    cancelled = in_a_session(*cells)
    cancelled.handle(CancelTasks([(ONE, 1)]))
    assert placed(cancelled) == ["2"]
    failed = in_a_session(*cells)
    failed.handle(Fetched(failed.of(Fetch)[0].key, error=ErrorInfo("StorageFull", "no room")))
    assert placed(failed) == ["2"]
