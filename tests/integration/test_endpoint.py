"""A real agent with its zygote and workers, driven by a hub that is a test's."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_endpoint_hub import AgentProcess, Hub, args, endpoint, pack, unpack

from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import EventKind, Input, SessionClosed

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="endpoints for others run on Linux")


def told(story: Callable[[Hub, AgentProcess], Coroutine[Any, Any, None]]) -> None:
    async def tell() -> None:
        async with endpoint() as (hub, agent):
            await story(hub, agent)

    asyncio.run(tell())


def test_a_call_brings_its_value_and_its_prints_before_it() -> None:
    def talk(x: int) -> int:
        import subprocess

        print("one")
        print("two", file=sys.stderr)
        subprocess.run(["echo", "three"], check=True)
        os.write(1, b"four\n")
        return x + 1

    async def story(hub: Hub, _agent: AgentProcess) -> None:
        result = await hub.call(talk, 41)
        assert unpack(result.payload) == 42
        assert result.state == TaskState.SUCCEEDED
        assert hub.text(result.task_id) == b"one\nthree\nfour\n"
        assert hub.text(result.task_id, EventKind.STDERR) == b"two\n"
        kinds = [kind for kind, what in hub.order if what.task_id == result.task_id]
        assert kinds[-1] == "result"
        assert [one.k for one in hub.outputs] == list(range(len(hub.outputs)))
        assert result.times[0] <= result.times[1] <= result.times[2]

    told(story)


def test_an_error_is_told_in_words_and_as_a_value() -> None:
    def fail() -> None:
        raise LookupError("no such thing")

    async def story(hub: Hub, _agent: AgentProcess) -> None:
        result = await hub.call(fail)
        assert result.state == TaskState.FAILED
        assert result.error is not None
        assert (result.error.etype, result.error.message) == ("LookupError", "no such thing")
        assert "in fail" in result.error.details["remote_traceback"]
        assert isinstance(unpack(result.payload), LookupError)

    told(story)


def test_what_short_tasks_print_is_told_by_the_task_that_printed_it() -> None:
    def say(x: int) -> None:
        if x % 3:
            print("task", x)
        if x % 5 == 0:
            os.write(2, b"error %d\n" % x)

    async def story(hub: Hub, _agent: AgentProcess) -> None:
        function = hub.function(say)
        ids: list[str] = []
        for start in range(0, 1500, 100):
            ids += hub.lease(*[hub.task(function, args(x)) for x in range(start, start + 100)])
            await asyncio.sleep(0)
        for one in ids:
            await hub.result(one)
        said: dict[tuple[str, int], bytes] = {}
        for one in hub.outputs:
            said[one.task_id, one.kind] = said.get((one.task_id, one.kind), b"") + one.data
        for x, one in enumerate(ids):
            assert said.get((one, EventKind.STDOUT), b"") == (b"task %d\n" % x if x % 3 else b"")
            assert said.get((one, EventKind.STDERR), b"") == (b"" if x % 5 else b"error %d\n" % x)

    told(story)


def test_a_crash_names_signal_or_code_and_spares_the_others() -> None:
    def segfault() -> None:
        import ctypes

        print("before the end", flush=True)
        ctypes.string_at(0)

    def leave() -> None:
        os._exit(7)

    def fine(x: int) -> int:
        time.sleep(0.3)
        return x

    async def story(hub: Hub, _agent: AgentProcess) -> None:
        other = hub.function(fine)
        ids = hub.lease(hub.task(other, args(5)))
        result = await hub.call(segfault)
        assert result.lost
        assert result.error is not None
        assert result.error.etype == "WorkerLost"
        assert result.error.details["signal"] == "SIGSEGV"
        assert result.error.details["rss"] > 1 << 20
        assert "before the end" in result.error.details["last_lines"]
        result = await hub.call(leave)
        assert result.error is not None
        assert result.error.details["exit_code"] == 7
        assert unpack((await hub.result(ids[0])).payload) == 5
        assert unpack((await hub.call(fine, 6)).payload) == 6

    told(story)


def test_a_poison_task_among_many_takes_only_itself() -> None:
    def work(x: int) -> int:
        if x == 40:
            os.kill(os.getpid(), 9)
        return x

    async def story(hub: Hub, _agent: AgentProcess) -> None:
        function = hub.function(work)
        warm = hub.lease(*[hub.task(function, args(-1)) for _ in range(50)])
        for one in warm:
            await hub.result(one)
        ids = hub.lease(*[hub.task(function, args(i)) for i in range(100)])
        for one in ids:
            await hub.result(one)
        lost = [at for at, one in enumerate(ids) if hub.results[one].lost]
        # Short results may wait a millisecond for each other in the worker, so its neighbours may go with it.
        assert 40 in lost
        assert len(lost) < 64
        assert all(unpack(hub.results[one].payload) == at for at, one in enumerate(ids) if at not in lost)

    told(story)


def test_map_keeps_what_was_finished_when_its_worker_dies() -> None:
    def work(x: int) -> int:
        if x == 3:
            os._exit(1)
        time.sleep(0.06)
        return x * 10

    async def story(hub: Hub, _agent: AgentProcess) -> None:
        (task_id,) = hub.lease(hub.task(hub.function(work), pack([0, 1, 2, 3, 4], "items"), kind=1, items=5))
        result = await hub.result(task_id)
        assert result.lost
        assert result.error is not None
        assert result.error.details["finished"] == 3
        assert result.error.details["in_hand"] == 3

    told(story)


def test_cancel_frees_python_code_within_a_second_and_what_waits_at_once() -> None:
    def spin() -> None:
        while True:
            pass

    async def story(hub: Hub, _agent: AgentProcess) -> None:
        function = hub.function(spin)
        ids = hub.lease(*[hub.task(function, args()) for _ in range(3)])
        await hub.wait(lambda: sum(u.phase == "started" for u in hub.updates) >= 2)
        hub.cancel(ids[2])
        assert (await hub.result(ids[2])).state == TaskState.CANCELLED
        for one in ids[:2]:
            hub.cancel(one)
        for one in ids[:2]:
            result = await hub.result(one)
            assert result.state == TaskState.CANCELLED
            assert not result.lost
        assert unpack((await hub.call(lambda: 1)).payload) == 1

    told(story)


@pytest.mark.slow
def test_code_that_ignores_signals_is_killed_with_its_children() -> None:
    def stubborn(marker: str) -> None:
        import subprocess

        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.Popen(["sh", "-c", f"trap '' INT TERM; : {marker}; sleep 77777"], start_new_session=False)
        while True:
            try:
                time.sleep(1)
            except BaseException:
                continue

    async def story(hub: Hub, _agent: AgentProcess) -> None:
        marker = f"fx-marker-{os.getpid()}"
        (task_id,) = hub.lease(hub.task(hub.function(stubborn), args(marker)))
        await hub.wait(lambda: any(u.phase == "started" for u in hub.updates))
        await asyncio.sleep(0.5)
        hub.cancel(task_id)
        assert (await hub.result(task_id)).state == TaskState.CANCELLED
        assert not [p for p in psutil.process_iter(["cmdline"]) if marker in " ".join(p.info["cmdline"] or ())]

    told(story)


def test_a_timeout_stops_the_task_and_says_so() -> None:
    def wait() -> None:
        time.sleep(60)

    async def story(hub: Hub, _agent: AgentProcess) -> None:
        result = await hub.call(wait, timeout=0.3)
        assert result.state == TaskState.FAILED
        assert result.error is not None
        assert result.error.etype == "TaskTimeout"

    told(story)


def test_interrupting_a_cell_keeps_the_sessions_variables() -> None:
    async def story(hub: Hub, agent: AgentProcess) -> None:
        session = await hub.session(cwd=str(agent.folder))
        first = await hub.result(hub.cell(session, "x = 5; import os; print(os.getcwd())"))
        assert first.state == TaskState.SUCCEEDED
        assert hub.text(first.task_id).decode().strip() == str(agent.folder)
        task_id = hub.cell(session, "import time\nwhile True: time.sleep(0.01)")
        queued = hub.cell(session, "print('x is', x)")
        await hub.wait(lambda: any(u.task_id == task_id and u.phase == "started" for u in hub.updates))
        await asyncio.sleep(0.2)
        hub.cancel(task_id)
        assert (await hub.result(task_id)).state == TaskState.CANCELLED
        assert (await hub.result(queued)).state == TaskState.SUCCEEDED
        assert hub.text(queued) == b"x is 5\n"

    told(story)


def test_a_sessions_death_is_told_and_its_waiting_cells_are_cancelled() -> None:
    async def story(hub: Hub, _agent: AgentProcess) -> None:
        session = await hub.session()
        dying = hub.cell(session, "import os, time; time.sleep(0.3); os._exit(3)")
        queued = hub.cell(session, "1")
        result = await hub.result(dying)
        assert result.lost
        assert (await hub.result(queued)).state == TaskState.CANCELLED
        closed = await hub.wait(lambda: [s for s in hub.sessions if isinstance(s, SessionClosed)])
        assert closed[0].lost
        assert closed[0].info["exit_code"] == 3

    told(story)


def test_fifty_megabytes_of_prints_harm_nobody() -> None:
    def shout() -> int:
        line = "x" * 99
        for _ in range(500_000):
            print(line)
        print("the end")
        return 1

    async def story(hub: Hub, agent: AgentProcess) -> None:
        assert agent.process is not None
        before = psutil.Process(agent.process.pid).memory_info().rss
        (task_id,) = hub.lease(hub.task(hub.function(shout), args()))
        result = await hub.result(task_id, 40)
        assert unpack(result.payload) == 1
        text = hub.text(task_id)
        assert len(text) < 20 << 20
        assert b"lines dropped]" in text
        assert text.endswith(b"the end\n")
        assert psutil.Process(agent.process.pid).memory_info().rss - before < 64 << 20
        log = agent.home / "task-logs" / f"{task_id}.1.stdout"
        assert log.stat().st_size == 500_000 * 100 + 8

    told(story)


def test_large_arguments_and_results_travel_as_blobs() -> None:
    def double(data: bytes) -> bytes:
        return data * 2

    async def story(hub: Hub, _agent: AgentProcess) -> None:
        result = await hub.call(double, b"ab" * 100_000)
        assert result.state == TaskState.SUCCEEDED
        assert result.blob is not None
        assert unpack(bytes(hub.blobs[result.blob.digest])) == b"ab" * 200_000
        kept = await hub.call(double, b"ab" * 100_000, result_max=300_000)
        assert kept.ref is not None
        assert kept.blob is None

    told(story)


def test_a_result_that_cannot_be_kept_is_an_error_that_says_so() -> None:
    async def story(hub: Hub, agent: AgentProcess) -> None:
        task = hub.task(hub.function(lambda: b"ab" * 200_000), args(), result_max=300_000)
        # Where it would be kept, nothing can be.
        (agent.home / "refs" / task.task_id).mkdir(parents=True)
        hub.lease(task)
        result = await hub.result(task.task_id)
        assert (result.state, result.ref) == (TaskState.FAILED, None)
        assert result.error is not None
        assert "its result of 400," in result.error.message
        assert "cannot be kept at the endpoint: Is a directory; run it again" in result.error.message
        assert not list((agent.home / "spill").iterdir())

    told(story)


def test_arguments_that_cannot_be_put_together_are_an_error_that_says_so() -> None:
    async def story(hub: Hub, agent: AgentProcess) -> None:
        kept = await hub.call(lambda: b"ab" * 200_000, result_max=300_000)
        assert kept.ref is not None
        task = hub.task(hub.function(lambda x: x), args(1))
        task.inputs.append(Input(kept.task_id, b"", None, kept.ref))
        # Where its arguments would be written, nothing can be.
        (agent.home / "inputs" / f"joined-{task.task_id}").mkdir()
        (one,) = hub.lease(task)
        error = (await hub.result(one)).error
        assert error is not None
        assert error.etype == "StorageFull"
        assert "arguments of this task cannot be put together" in error.message

    told(story)


def test_an_agent_that_was_killed_resumes_from_its_journal(tmp_path: Path) -> None:
    def quick(path: str) -> int:
        with open(path, "a") as file:
            file.write("quick\n")
        return 1

    def slow(path: str) -> int:
        with open(path, "a") as file:
            file.write("slow\n")
        time.sleep(60)
        return 2

    async def story(hub: Hub, agent: AgentProcess) -> None:
        path = str(tmp_path / "ran")
        hub.acking = False
        done = await hub.call(quick, path)
        running = hub.lease(*[hub.task(hub.function(slow), args(path)) for _ in range(2)])
        await hub.wait(lambda: {u.task_id for u in hub.updates if u.phase == "started"} >= set(running))
        waiting = hub.lease(hub.task(hub.function(quick), args(path)))[0]
        await hub.wait(lambda: any(u.task_id == waiting for u in hub.updates))
        await agent.kill()
        hub.results.clear()
        hub.acking = True
        await agent.start()
        again = await hub.result(done.task_id)
        assert (again.state, unpack(again.payload)) == (TaskState.SUCCEEDED, 1)
        for one in running:
            lost = await hub.result(one)
            assert lost.lost
            assert lost.error is not None
            assert lost.error.etype == "TaskLost"
        assert unpack((await hub.result(waiting)).payload) == 1
        held = {one.task_id: one.phase for one in hub.inventories[-1].held}
        assert hub.inventories[-1].sure
        assert held[done.task_id] == "finished"
        assert (tmp_path / "ran").read_text().count("quick") == 2
        assert (tmp_path / "ran").read_text().count("slow") == 2

    told(story)


def test_stopping_gives_back_what_has_not_started() -> None:
    def wait() -> None:
        time.sleep(60)

    async def story(hub: Hub, agent: AgentProcess) -> None:
        ids = hub.lease(*[hub.task(hub.function(wait), args()) for _ in range(4)])
        await hub.wait(lambda: sum(u.phase == "started" for u in hub.updates) >= 2)
        assert await agent.stop() == 0
        back = {u.task_id for u in hub.updates if u.phase == "requeue"}
        assert back == set(ids[2:])
        assert all(hub.results[one].lost for one in ids[:2])

    told(story)


def test_workers_get_no_secrets_of_the_agent() -> None:
    def look() -> list[str]:
        return [key for key in os.environ if "CANARY" in key]

    async def tell() -> None:
        async with endpoint(CANARY_TOKEN="s3cret", AWS_CANARY="x", CANARY_FINE="y") as (hub, _agent):
            assert unpack((await hub.call(look)).payload) == ["CANARY_FINE"]

    asyncio.run(tell())


def test_a_fork_bomb_ends_with_its_worker() -> None:
    def bomb() -> None:
        while True:
            if os.fork() == 0:
                while True:
                    time.sleep(100)
            time.sleep(0.0005)

    async def story(hub: Hub, agent: AgentProcess) -> None:
        result = await hub.call(bomb)
        assert result.lost
        assert result.error is not None
        assert "processes, more than the 150" in result.error.message
        assert agent.process is not None
        await asyncio.sleep(0.2)
        assert len(psutil.Process(agent.process.pid).children(recursive=True)) < 10
        assert unpack((await hub.call(lambda: 3)).payload) == 3

    async def tell() -> None:
        async with endpoint(config="c.Endpoint.max_processes = 150\n") as (hub, agent):
            await story(hub, agent)

    asyncio.run(tell())


def test_a_second_agent_is_refused_and_start_is_idempotent() -> None:
    async def story(hub: Hub, agent: AgentProcess) -> None:
        second = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "jupyter_fx.endpoint.main", "local"),
            env=agent.environ,
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await asyncio.wait_for(second.communicate(), 20)
        assert agent.process is not None
        assert second.returncode == 2
        assert f"already served by pid {agent.process.pid}".encode() in said
        start = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "from jupyter_fx.endpoint import launch; print(launch.start('local'))"),
            env=agent.environ,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await asyncio.wait_for(start.communicate(), 20)
        assert int(out) == agent.process.pid

    told(story)


def test_an_endpoint_enrols_with_a_code_that_it_reads_from_standard_input() -> None:
    async def tell() -> None:
        async with endpoint(enrolled=False) as (hub, agent):
            assert unpack((await hub.call(lambda: 1)).payload) == 1
            found = (agent.home / "identity.json").read_text()
            assert "jfxc-good" not in found
            assert "jfxc-good" not in agent.log

    asyncio.run(tell())


def test_two_cores_make_one_worker_with_wide_pools_and_the_others_wait() -> None:
    def look() -> str:
        time.sleep(0.2)
        return os.environ["OMP_NUM_THREADS"]

    async def story(hub: Hub, _agent: AgentProcess) -> None:
        from jupyter_fx.protocol.messages import Resources

        function = hub.function(look)
        ids = hub.lease(
            hub.task(function, args()),
            hub.task(function, args(), resources=Resources(cores=2)),
            hub.task(function, args()),
        )
        values = [unpack((await hub.result(one)).payload) for one in ids]
        assert values == ["1", "2", "1"]
        assert hub.results[ids[1]].times[1] >= hub.results[ids[0]].times[2] - 0.01
        (refused,) = hub.lease(hub.task(function, args(), resources=Resources(gpus=1)))
        nack = await hub.wait(lambda: hub.nacks)
        assert nack[0].final
        assert nack[0].tasks == [(refused, 1)]

    told(story)


def test_sessions_have_what_earlier_ones_imported() -> None:
    async def story() -> None:
        async with endpoint() as (hub, _agent):
            look = "import sys\nprint('numpy' in sys.modules)\nimport numpy"

            async def had() -> bytes:
                cell = hub.cell(await hub.session(), look)
                assert (await hub.result(cell)).state == TaskState.SUCCEEDED
                return hub.text(cell)

            assert await had() == b"False\n"
            assert await had() == b"False\n"
            # It is learned beside the work: each look opens a session.
            for _ in range(50):
                if await had() == b"True\n":
                    return
            raise AssertionError("numpy was not learned")

    asyncio.run(story())
