from __future__ import annotations

import os
from typing import Any

import pytest

from jupyter_fx import errors
from jupyter_fx.client import Executor, HubClient, maps, remote
from jupyter_fx.protocol.messages import Kind, Resources
from jupyter_fx.testing.fake_hub import FakeHub


def test_a_remote_function_runs_here_when_it_is_called(client: HubClient) -> None:
    @remote(client=client)
    def double(x: int) -> int:
        """Twice."""
        return 2 * x

    assert double(4) == 8
    assert double.__doc__ == "Twice."
    assert double.remote(4) == 8
    assert double.submit(5).result(60) == 10
    assert list(double.map([1, 2, 3])) == [2, 4, 6]


def test_what_a_remote_call_prints_is_printed_here(client: HubClient, capsys: pytest.CaptureFixture[str]) -> None:
    @remote(client=client)
    def talk(name: str) -> int:
        print("hello", name)
        return 1

    assert talk.remote("you") == 1
    assert capsys.readouterr().out == "hello you\n"


def test_options_reach_the_task(client: HubClient, hub: FakeHub) -> None:
    @remote(endpoint="polaris", client=client, timeout=9, retries=2, cores=4)
    def one() -> int:
        return 1

    one.remote()
    spec = hub.submitted[0]
    assert spec.endpoint == "polaris"
    assert spec.options is not None
    assert (spec.options.timeout, spec.options.retries, spec.options.resources) == (9, 2, Resources(cores=4))


def test_a_misspelt_option_is_refused_with_the_nearest() -> None:
    with pytest.raises(errors.UsageError, match="did you mean 'endpoint'"):
        remote(endpint="x")


def test_a_remote_function_calls_its_helper_plainly_over_there(client: HubClient) -> None:
    helper = remote(lambda x: x + 1, client=client)

    def work(x: int) -> int:
        return helper(x) * 10  # type: ignore[no-any-return]

    assert client.submit(work, 1).result(60) == 20


def test_a_map_is_cut_into_few_tasks_whose_size_grows(client: HubClient, hub: FakeHub) -> None:
    result = remote(lambda x: x + 1, client=client).map(range(20_000))
    assert list(result) == list(range(1, 20_001))
    assert len(result.task_ids) < 200
    assert {spec.kind for spec in hub.submitted} == {Kind.MAP}
    assert result.progress == (20_000, 0, 20_000)
    assert len(result) == 20_000
    assert result.done
    assert result[3] == 4


def test_a_map_over_several_iterables_and_an_endless_one(client: HubClient) -> None:
    import itertools

    assert list(remote(pow, client=client).map([2, 3, 4], itertools.count(), chunksize=2)) == [1, 3, 16]


def test_failures_of_a_map_are_listed(client: HubClient) -> None:
    result = remote(lambda x: 1 // x, client=client).map([1, 0, 1, 0], chunksize=2)
    values = result.results(errors=False)
    assert next(values) == 1
    with pytest.raises(ZeroDivisionError):
        next(values)
    assert sorted(result.wait().errors) == [1, 3]
    shown = list(result.results(errors=True))
    assert shown[0] == shown[2] == 1
    assert isinstance(shown[3], ZeroDivisionError)
    with pytest.raises(ZeroDivisionError) as caught:
        list(result)
    (told,) = [note for note in caught.value.__notes__ if note.startswith("map item ")]
    assert told.startswith(
        "map item 1 (given 0); 2 of the 4 items finished so far failed: 1, 3; `.results(errors=True)`"
    )
    with pytest.raises(ZeroDivisionError) as again:
        list(result)
    assert again.value.__notes__.count(told) == 1


def test_unordered_results_come_as_they_are_finished(client: HubClient) -> None:
    assert sorted(remote(lambda x: x, client=client).map(range(50), chunksize=5, ordered=False)) == list(range(50))


def test_a_cancelled_map_submits_no_more(client: HubClient, hub: FakeHub) -> None:
    hub.held = True

    def forever() -> Any:
        n = 0
        while True:
            yield n
            n += 1

    result = remote(lambda x: x, client=client).map(forever())
    assert result.cancel() >= 1
    assert all(future.cancelled() for future in result._futures)


def test_an_item_that_cannot_travel_is_told_at_once(client: HubClient) -> None:
    with pytest.raises(errors.PayloadError, match="item 1 of the chunk"):
        remote(lambda x: x, client=client).map([1, (i for i in ())], chunksize=5)


def test_an_iterator_that_raises_is_told_to_who_iterates(client: HubClient) -> None:
    def items() -> Any:
        yield from range(3000)
        raise RuntimeError("no more")

    result = remote(lambda x: x, client=client).map(items(), chunksize=1)
    with pytest.raises(RuntimeError, match="no more"):
        list(result)


def test_a_chunk_that_was_lost_keeps_what_was_finished(client: HubClient, hub: FakeHub) -> None:
    import jupyter_fx.protocol.messages as m
    from jupyter_fx.protocol.lifecycle import TaskState
    from jupyter_fx_worker import envelope

    def run(spec: m.TaskSpec) -> m.Outcome:
        data = b"".join(envelope.dumps([10, 20], "results"))
        hub._event(spec.task_id, m.EventKind.ITEMS, {"first": 0, "count": 2, "payload": data})
        return m.Outcome(spec.task_id, TaskState.FAILED, error=m.ErrorInfo("WorkerLost", "it died"))

    hub.run = run
    result = remote(lambda x: x, client=client).map([1, 2, 3], chunksize=3)
    shown = list(result.results(errors=True))
    assert shown[:2] == [10, 20]
    assert isinstance(shown[2], errors.WorkerLost)
    assert list(result.errors) == [2]


@pytest.mark.parametrize(
    ("size", "seconds", "left", "expected"),
    [
        (8, 0.0, None, 256),  # too fast to be timed: grow
        (8, 0.2, None, 4),  # over the target: shrink
        (1000, 0.1, None, 1000),
        (1000, 0.1, 800, 100),  # what is left is spread …
        (1000, 0.001, 80_000, 10_000),
        (1000, 0.001, 800, 800),  # … but not into chunks that run for less than two milliseconds
        (1000, 0.001, 8_000, 2_000),
        (10, 0.0, 3, 1),
    ],
)
def test_chunks_follow_the_time_that_items_take(size: int, seconds: float, left: int | None, expected: int) -> None:
    assert maps.next_size(maps.Pace(size, seconds / size), left) == expected


def test_chunks_of_many_small_items_stay_inside_of_messages() -> None:
    fits = int(maps.INLINE / 5.0)
    assert maps.next_size(maps.Pace(20_000, 1e-7, 5.0), None) == fits
    # Few large items are not worth a message of their own.
    assert maps.next_size(maps.Pace(500, 1e-6, 50_000.0), None) == maps.next_size(maps.Pace(500, 1e-6), None)


def test_the_next_map_of_a_function_begins_with_chunks_of_the_right_size(client: HubClient, hub: FakeHub) -> None:
    import jupyter_fx.protocol.messages as m
    from jupyter_fx.protocol.lifecycle import TaskState
    from jupyter_fx_worker import envelope

    sizes: list[int] = []

    def run(spec: m.TaskSpec) -> m.Outcome:
        sizes.append(spec.options.items if spec.options else 0)
        data = b"".join(envelope.dumps([0] * sizes[-1], "results"))
        hub._event(spec.task_id, m.EventKind.ITEMS, {"first": 0, "count": sizes[-1], "payload": data})
        return m.Outcome(spec.task_id, TaskState.SUCCEEDED, times=[1.0, 1.0, 1.0, 2.0, 2.0 + sizes[-1] * 1e-4])

    hub.run = run
    f = remote(lambda x: x, client=client)
    assert len(list(f.map(range(30_000)))) == 30_000
    assert sizes[0] == maps.FIRST_SIZE
    sizes.clear()
    assert len(list(f.map(range(30_000)))) == 30_000
    assert 900 < sizes[0] <= 1000  # what runs for a tenth of a second


def test_executor_map_is_lazy_with_a_buffer(client: HubClient, hub: FakeHub) -> None:
    read: list[int] = []

    def items() -> Any:
        for n in range(100):
            read.append(n)
            yield n

    executor = Executor(client=client)
    results = executor.map(lambda x: x, items(), buffersize=3)
    assert len(read) == 3
    assert next(results) == 0
    assert len(read) == 4
    results.close()  # type: ignore[attr-defined]
    executor.shutdown()


def test_an_executor_bounds_what_is_at_the_hub(client: HubClient, hub: FakeHub) -> None:
    hub.held = True
    executor = Executor(max_workers=2, client=client)
    futures = [executor.submit(abs, -n) for n in range(5)]
    client.drain(5)
    client.request("whoami")
    assert len(hub.submitted) == 2
    assert futures[0].running()
    assert not futures[4].running()
    assert futures[0].cancel() is False
    assert futures[3].cancel() is True
    hub.release()
    assert [f.result(60) for f in futures if not f.cancelled()] == [0, 1, 2, 4]
    executor.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(abs, 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_wait_for_its_parents_calls(client: HubClient, hub: FakeHub) -> None:
    hub.held = True
    executor = Executor(client=client)
    future = executor.submit(abs, -1)
    pid = os.fork()
    if pid == 0:
        executor.shutdown(wait=True)
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    hub.release()
    assert future.result(60) == 1
    executor.shutdown()


def test_an_initializer_runs_once_per_process_and_breaks_the_executor_when_it_fails(client: HubClient) -> None:
    import concurrent.futures

    ran: list[int] = []
    with Executor(initializer=ran.append, initargs=(1,), client=client) as executor:
        assert [executor.submit(abs, -n).result(60) for n in range(3)] == [0, 1, 2]

    def bad() -> None:
        raise ValueError("not today")

    with Executor(initializer=bad, client=client) as executor:
        with pytest.raises(concurrent.futures.BrokenExecutor, match="not today"):
            executor.submit(abs, 1).result(60)
        with pytest.raises(concurrent.futures.BrokenExecutor):
            executor.submit(abs, 1)


def test_wrong_sizes_are_refused(client: HubClient) -> None:
    with pytest.raises(ValueError, match="max_workers must be greater than 0"):
        Executor(max_workers=0)
    with pytest.raises(ValueError, match="chunksize must be >= 1"):
        Executor(client=client).map(abs, [1], chunksize=0)
    with pytest.raises(errors.UsageError, match="chunksize is 0"):
        remote(abs, client=client).map([1], chunksize=0)
