from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jupyter_fx import errors
from jupyter_fx.client import HubClient, as_completed, blobs, wait
from jupyter_fx.client import core as core_module
from jupyter_fx.errors import RemoteProtocolError
from jupyter_fx.ids import new_id
from jupyter_fx.protocol.lifecycle import SessionState, TaskState
from jupyter_fx.protocol.limits import INLINE_MAX
from jupyter_fx.protocol.messages import (
    Attach,
    Cancel,
    Event,
    EventKind,
    Functions,
    Kind,
    OpenSession,
    Outcome,
    SessionEvent,
    SessionSpec,
    Submit,
    TaskOptions,
    Watch,
)
from jupyter_fx.testing.fake_hub import FakeHub


def square(x: Any) -> Any:
    return x * x


def fail(text: str) -> None:
    raise ValueError(text)


def test_a_call_and_its_value(client: HubClient) -> None:
    future = client.submit(square, 4)
    assert future.result(60) == 16
    assert future.state is TaskState.SUCCEEDED
    assert client.user == "tester"


def test_an_error_is_the_original_one(client: HubClient) -> None:
    future = client.submit(fail, "no good")
    with pytest.raises(ValueError, match="no good") as caught:
        future.result(60)
    assert isinstance(caught.value.__cause__, errors.RemoteError)
    assert "in fail" in future.remote_traceback


def test_a_function_is_sent_once_per_link(client: HubClient, hub: FakeHub) -> None:
    assert [client.submit(square, n).result(60) for n in range(5)] == [0, 1, 4, 9, 16]
    assert sum(isinstance(message, Functions) for message in hub.messages) == 1


def test_many_submissions_travel_in_few_messages(client: HubClient, hub: FakeHub) -> None:
    futures = [client.submit(square, n) for n in range(2000)]
    assert [future.result(60) for future in futures] == [n * n for n in range(2000)]
    assert sum(isinstance(message, Submit) for message in hub.messages) < 1000


def test_large_arguments_and_results_go_as_blobs(client: HubClient, hub: FakeHub) -> None:
    array = np.arange(500_000)
    result = client.submit(square, array).result(60)
    assert (result == array * array).all()
    assert result.flags.writeable
    spec = hub.submitted[0]
    assert len(spec.payload) < 1000
    assert spec.options is not None
    assert [part.size for part in spec.options.parts] == [array.nbytes]
    text = "x" * 400_000
    assert client.submit(len, text).result(60) == len(text)
    spec = hub.submitted[1]
    assert spec.payload == b""
    assert spec.options is not None
    assert spec.options.blob is not None
    assert spec.options.blob.size > INLINE_MAX


def test_an_array_that_comes_again_is_not_sent_again(client: HubClient, hub: FakeHub) -> None:
    array = np.arange(500_000)
    client.submit(square, array).result(60)
    digest, size = hub.submitted[0].options.parts[0].digest, hub.submitted[0].options.parts[0].size
    took = hub.took
    assert took >= size
    client.submit(np.add, array, 1).result(60)
    assert hub.submitted[1].options.parts[0].digest == digest
    assert hub.took == took


def test_a_download_to_a_file_is_checked_and_leaves_nothing_when_it_is_wrong(
    client: HubClient, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs, "RANGE", 600_000)
    data = bytes(range(256)) * 8000
    blob = client.upload([data])
    core = client._live()
    core.call(core.blobs.get_file(blob, tmp_path / "good"))
    assert (tmp_path / "good").read_bytes() == data
    hub.blobs[blob.digest][700_000] ^= 1
    with pytest.raises(RemoteProtocolError, match="other content"):
        core.call(core.blobs.get_file(blob, tmp_path / "bad"))
    assert [path.name for path in tmp_path.iterdir()] == ["good"]


def test_a_future_may_stand_in_the_arguments(client: HubClient, hub: FakeHub) -> None:
    first = client.submit(square, 3)
    assert client.submit(square, first).result(60) == 81
    assert hub.submitted[1].options is not None
    assert hub.submitted[1].options.inputs == [first.task_id]


def test_after_a_cut_what_is_waited_for_is_attached_again(client: HubClient, hub: FakeHub) -> None:
    hub.held = True
    told: list[Event] = []
    future = client.submit_call(square, (5,), watch=Watch.ALL, on_event=told.append)
    client.drain(5)
    hub.tell(future.task_id, EventKind.STDOUT, b"one")
    client.request("whoami")
    hub.cut()
    hub.tell(future.task_id, EventKind.STDOUT, b"two")
    hub.release()
    assert future.result(60) == 25
    assert [event.data for event in told if event.kind == EventKind.STDOUT] == [b"one", b"two"]
    assert [event.n for event in told] == sorted({event.n for event in told})
    attached = next(message for message in hub.messages if isinstance(message, Attach))
    assert attached.tasks == [(future.task_id, 1, int(Watch.ALL))]


def test_a_hub_that_is_gone_is_started_again_when_something_is_wanted_of_it(hub: FakeHub) -> None:
    asked = threading.Event()
    client = HubClient(hub.address, revive=asked.set)
    try:
        hub.refuse = errors.HubUnavailable("stopping", retry=True)
        hub.cut()
        deadline = time.monotonic() + 60
        while client.connected and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        assert not asked.wait(0.1)
        future = client.submit(abs, -4)
        assert asked.wait(5)
        hub.refuse = None
        assert future.result(60) == 4
    finally:
        client.close(timeout=1.0)


def test_what_is_too_large_for_a_message_brings_the_hub_back_before_it_waits_for_it(hub: FakeHub) -> None:
    def revive() -> None:
        hub.refuse = None

    client = HubClient(hub.address, revive=revive)
    try:
        assert client.submit(abs, -1).result(60) == 1
        hub.refuse = errors.HubUnavailable("stopping", retry=True)
        hub.cut()
        deadline = time.monotonic() + 60
        while client.connected and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        assert client.submit(len, bytes(1 << 20)).result(60) == 1 << 20
    finally:
        client.close(timeout=1.0)


def test_what_was_not_acknowledged_is_sent_again_under_the_same_id(client: HubClient, hub: FakeHub) -> None:
    hub.acknowledges = False
    hub.held = True
    future = client.submit(square, 6)
    client.flush()
    client.request("whoami")
    hub.cut()
    client.request("whoami")  # on the new link, after what was sent again
    hub.acknowledges = True  # not before: the welcome would say that all had come
    hub.release()
    assert future.result(60) == 36
    sent = [task.task_id for message in hub.messages if isinstance(message, Submit) for task in message.tasks]
    assert sent == [future.task_id, future.task_id]


def test_a_rejected_task_fails_with_the_hubs_reason(client: HubClient, hub: FakeHub) -> None:
    hub.reject = errors.StorageFull("full")
    with pytest.raises(errors.StorageFull, match="full"):
        client.submit(square, 1).result(60)


def test_cancel_of_what_waits_is_at_once(client: HubClient, hub: FakeHub) -> None:
    hub.held = True
    future = client.submit(square, 1)
    client.drain(5)
    assert future.cancel() is True
    assert future.cancelled()
    assert future.cancel() is True
    with pytest.raises(concurrent.futures.CancelledError):
        future.result(1)
    client.drain(5)
    assert [m.tasks for m in hub.messages if isinstance(m, Cancel)] == [[future.task_id]]


def test_a_task_known_to_run_is_asked_to_stop(client: HubClient, hub: FakeHub) -> None:
    hub.held = True
    future = client.submit_call(square, (1,), watch=Watch.STATES)
    client.drain(5)
    hub.tell(future.task_id, EventKind.STATE, {"state": int(TaskState.RUNNING)})
    client.request("whoami")
    assert future.running()
    assert future.cancel() is False
    with pytest.raises(concurrent.futures.CancelledError):
        future.result(60)
    assert future.cancelled()


def test_whether_an_unwatched_task_runs_is_asked_for_all_at_once(client: HubClient, hub: FakeHub) -> None:
    hub.held = True
    futures = [client.submit(square, n) for n in range(50)]
    client.drain(5)
    asked: list[Any] = []

    def running(_args: Any) -> Any:
        asked.append(time.monotonic())
        return {"tasks": [futures[3].task_id]}

    hub.answers["tasks.running"] = running
    begun = time.monotonic()
    assert [n for n, future in enumerate(futures) if future.running()] == [3]
    assert len(asked) <= 1 + (time.monotonic() - begun) / 0.05
    # What was seen to run is not waiting again, and its end is its end.
    hub.answers["tasks.running"] = lambda _args: {"tasks": []}
    assert futures[3].running()
    assert futures[3].cancel() is False
    with pytest.raises(concurrent.futures.CancelledError):
        futures[3].result(60)
    assert not futures[3].running()


def test_which_tasks_run_is_read_to_the_last_page(client: HubClient, hub: FakeHub) -> None:
    hub.held = True
    futures = [client.submit(square, n) for n in range(3)]
    client.drain(5)
    pages = {
        None: {"tasks": ["0" * 32], "next": "0" * 32},
        "0" * 32: {"tasks": [futures[1].task_id], "next": "1" * 32},
        "1" * 32: {"tasks": [futures[2].task_id], "next": ""},
    }
    hub.answers["tasks.running"] = lambda args: pages[args.get("after")]
    assert [n for n, future in enumerate(futures) if future.running()] == [1, 2]


def test_whether_it_runs_is_not_known_of_an_older_hub_nor_asked_on_the_clients_thread(
    client: HubClient, hub: FakeHub
) -> None:
    hub.held = True
    waits = client.submit(square, 1)
    client.drain(5)
    assert waits.running() is False
    hub.held = False
    seen: concurrent.futures.Future[bool] = concurrent.futures.Future()
    client.submit(square, 2).add_done_callback(lambda _done: seen.set_result(waits.running()))
    assert seen.result(60) is False


def test_a_future_can_be_awaited(client: HubClient) -> None:
    async def both() -> list[Any]:
        return await asyncio.gather(client.submit(square, 2), client.submit(square, 3))

    assert asyncio.run(both()) == [4, 9]


def test_wait_and_as_completed(client: HubClient) -> None:
    futures = [client.submit(square, n) for n in range(4)]
    done, left = wait(futures, 5)
    assert not left
    assert {f.result() for f in as_completed(done, 5)} == {0, 1, 4, 9}


def test_events_and_logs(client: HubClient) -> None:
    def talk() -> None:
        print("spoken")

    future = client.submit(talk)
    assert future.result(60) is None
    kinds = [event.kind for event in future.events()]
    assert kinds == [EventKind.STATE, EventKind.STDOUT]
    assert future.logs() == "spoken\n"


def test_attach_by_the_end_of_an_id(client: HubClient, hub: FakeHub) -> None:
    future = client.submit(square, 7)
    future.result(60)
    again = client.attach(future.task_id[-8:])
    assert again.task_id == future.task_id
    assert again.result(60) == 49
    with pytest.raises(errors.UsageError, match="no task"):
        client.attach("ffffffff")


def test_a_cell_brings_its_raw_outcome(client: HubClient, hub: FakeHub) -> None:
    hub.run = lambda spec: Outcome(spec.task_id, TaskState.SUCCEEDED, b"names of " + spec.session.encode())
    told: list[SessionEvent] = []
    session = client.open_session(SessionSpec("5" * 32, "local", "k", "e"), on_event=told.append)
    future = client.submit_cell(session, [b"FXE1", b"..."])
    outcome = future.result(60)
    assert outcome.payload == b"names of " + b"5" * 32
    assert future.outcome is outcome
    assert hub.submitted[0].kind == Kind.CELL
    assert hub.submitted[0].payload == b"FXE1..."
    assert any(isinstance(message, OpenSession) for message in hub.messages)
    hub.do(lambda: hub._send(SessionEvent(session.session_id, SessionState.LOST, "gone")))
    client.request("whoami")
    assert session.lost
    assert session.ended
    assert told[0].reason == "gone"


def test_a_hub_that_refuses_is_told_at_once(hub: FakeHub) -> None:
    hub.refuse = errors.AuthError("this token is not known")
    with pytest.raises(errors.AuthError, match="not known"):
        HubClient(hub.address, timeout=5)


def test_no_hub_is_a_sentence_and_leaves_no_thread(tmp_path: Any) -> None:
    before = threading.active_count()
    with pytest.raises(errors.HubUnavailable, match="nobody serves"):
        HubClient(f"unix:{tmp_path}/none.sock", timeout=0.2)
    assert threading.active_count() == before


def test_a_closed_client_fails_its_futures_and_says_so(hub: FakeHub) -> None:
    client = HubClient(hub.address)
    hub.held = True
    future = client.submit(square, 1)
    client.close()
    with pytest.raises(errors.HubUnavailable, match="the task goes on"):
        future.result(1)
    with pytest.raises(errors.HubUnavailable, match="closed"):
        client.submit(square, 1)


def test_callbacks_must_not_wait_for_the_hub(client: HubClient) -> None:
    caught: list[BaseException] = []
    done = threading.Event()

    def ask(_future: Any) -> None:
        try:
            client.request("whoami")
        except errors.UsageError as error:
            caught.append(error)
        done.set()

    client.submit(square, 1).add_done_callback(ask)
    assert done.wait(5)
    assert caught == [] or "must not wait" in str(caught[0])


def test_submitting_waits_while_too_much_is_on_its_way(
    client: HubClient, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_module, "UNACKED_MAX", 10_000)
    hub.acknowledges = False
    passed = threading.Event()

    def submit() -> None:
        client.submit(len, b"x" * 20_000)
        passed.set()

    thread = threading.Thread(target=submit, daemon=True)
    thread.start()
    assert not passed.wait(0.2)
    hub.acknowledges = True
    hub.cut()
    assert passed.wait(10)
    thread.join(5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_gets_a_link_of_its_own(client: HubClient, hub: FakeHub) -> None:
    assert client.submit(square, 2).result(60) == 4
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, b"%d" % client.submit(square, 9).result(60))
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        said = file.read()
    os.waitpid(pid, 0)
    assert said == b"81"
    assert client.submit(square, 3).result(60) == 9


def test_options_travel(client: HubClient, hub: FakeHub) -> None:
    client.submit_call(square, (2,), endpoint="polaris", options=TaskOptions(name="two", timeout=5.0)).result(60)
    spec = hub.submitted[0]
    assert spec.endpoint == "polaris"
    assert spec.options is not None
    assert (spec.options.name, spec.options.timeout) == ("two", 5.0)
    assert len(spec.task_id) == len(new_id())
