"""What a manager over an engine tells of tasks, whatever the engine does with them."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import sys
from pathlib import Path

import pytest
from engine_story import Story, World, log_of

from jupyter_fx.endpoint.prefetch import TRUSTED
from jupyter_fx.endpoint.talk import Back, CancelWork, Capacity, Done, Drain, Halt, OpenWorker, Said, SessionGone, Want
from jupyter_fx_worker import envelope, parcels

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="endpoints for others run on Linux")


def test_start_is_told_when_a_worker_has_it_and_its_text_before_its_end(story: Story) -> None:
    async def steps(world: World) -> None:
        (one,) = world.give(lambda x: print("hi") or x, (7,))
        await world.until(lambda: world.engine.given)
        await asyncio.sleep(0)
        assert world.started() == []
        world.engine.run()
        end = await world.end(one)
        assert envelope.loads(bytearray(end.payload))[1] == 7
        kinds = [
            type(m) for m in world.said if not isinstance(m, Capacity) and not (isinstance(m, Want) and not m.tasks)
        ]
        assert kinds == [Want, Said, Done]
        await world.until(lambda: not world.manager._fence.claimed())

    story(steps)


def test_what_waits_in_the_engine_can_be_cancelled_and_never_starts(story: Story, tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    async def steps(world: World) -> None:
        (one,) = world.give(lambda: ran.touch(), ())
        await world.until(lambda: world.engine.given)
        world.manager.receive(CancelWork(one, 0))
        assert (await world.end(one)).outcome == "cancelled"
        world.engine.run()
        await world.until(lambda: not world.manager.busy)
        (other,) = world.give(lambda: 5, ())
        await world.until(lambda: world.engine.given)
        world.engine.run()
        await world.end(other)
        assert not ran.exists()

    story(steps)


def test_what_runs_is_not_cancelled_and_says_so(story: Story, tmp_path: Path) -> None:
    fifo = tmp_path / "go"
    os.mkfifo(fifo)

    async def steps(world: World) -> None:
        (one,) = world.give(lambda path: Path(path).read_text(), (str(fifo),))
        await world.until(lambda: world.engine.given)
        world.engine.run()
        await world.until(world.started)
        world.manager.receive(CancelWork(one, 2))
        said = await world.until(lambda: [m for m in world.said if isinstance(m, Said)])
        assert "cannot stop a running task" in said[0].pieces[0][3]["text"]
        assert one not in world.ends()
        await asyncio.to_thread(fifo.write_text, "x")
        assert (await world.end(one)).outcome == "ok"

    story(steps)


def test_a_task_that_the_engine_loses_before_it_starts_is_given_again_and_not_for_ever(story: Story) -> None:
    async def steps(world: World) -> None:
        (one,) = world.give(lambda: 1, ())
        for _ in range(3):
            await world.until(lambda: world.engine.given)
            world.engine.lose(RuntimeError("manager 7 is gone"))
        end = await world.end(one)
        assert end.outcome == "error"
        assert end.error is not None
        assert "Parsl could not start it, 3 times; at last: RuntimeError: manager 7 is gone" in end.error.message

    story(steps)


def test_a_task_whose_worker_falls_silent_keeps_its_outcome(story: Story, tmp_path: Path) -> None:
    fifo = tmp_path / "go"
    os.mkfifo(fifo)

    async def steps(world: World) -> None:
        (one,) = world.give(lambda path: Path(path).read_text(), (str(fifo),))
        await world.until(lambda: world.engine.given)
        job, done = world.engine.given[0]
        world.engine.run()
        await world.until(world.started)
        done(None, RuntimeError("manager 3 is gone"))
        said = await world.until(lambda: [m for m in world.said if isinstance(m, Said)])
        assert "manager 3 is gone. Its worker may still be running" in said[0].pieces[0][3]["text"]
        # Engines repeat on their own what they lost: it is refused.
        assert parcels.run(job[1]["fx_parcel"])["refused"] == "taken"
        assert one not in world.ends()
        await asyncio.to_thread(fifo.write_text, "x")
        end = await world.end(one)
        assert (end.outcome, envelope.loads(bytearray(end.payload))[1]) == ("ok", "x")

    story(steps)


def test_a_task_is_lost_once_its_workers_death_is_attested(story: Story) -> None:
    async def steps(world: World) -> None:
        (one,) = world.give(lambda: 1, ())
        await world.until(lambda: world.engine.given)
        (_text, names), done = world.engine.given.pop()
        path = Path(names["fx_parcel"]["fence"]) / names["fx_parcel"]["name"]
        # A worker on another node, which wrote no more than that it began.
        with open(path, "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(log_of({"op": "parcel", "tasks": [one], "host": "n7", "locked": True}))
            file.flush()
            await world.until(world.started)
            done(None, RuntimeError("manager 3 is gone"))
            await world.until(lambda: [m for m in world.said if isinstance(m, Said)])
            assert one not in world.ends()
        end = await world.end(one)
        assert (end.outcome, end.error.etype if end.error else "") == ("lost", "WorkerLost")

    story(steps)


@pytest.mark.parametrize("attested", [False, True])
def test_a_lock_that_nobody_saw_held_attests_nothing(story: Story, attested: bool) -> None:
    async def steps(world: World) -> None:
        world.engine.sees = attested
        (one,) = world.give(lambda: 1, ())
        await world.until(lambda: world.engine.given)
        (_text, names), done = world.engine.given.pop()
        path = Path(names["fx_parcel"]["fence"]) / names["fx_parcel"]["name"]
        path.write_bytes(log_of({"op": "parcel", "tasks": [one], "host": "n7", "locked": True}))
        done(None, RuntimeError("manager 3 is gone"))
        await world.until(lambda: one in world.ends() or [m for m in world.said if isinstance(m, Said)])
        assert (one in world.ends()) is attested

    story(steps)


def test_short_tasks_travel_together_and_what_had_not_begun_goes_again(story: Story) -> None:
    async def steps(world: World) -> None:
        await world.run(world.give(lambda x: x, *[(at,) for at in range(TRUSTED)]))
        ids = world.give(lambda x: x, *[(at,) for at in range(40)])
        await world.until(lambda: world.engine.given)
        _text, names = world.engine.given[0][0]
        parcel = names["fx_parcel"]
        count = len(parcel["tasks"])
        assert 10 <= count <= 64
        # The worker died in the second task.
        ours = {"host": socket.gethostname(), "locked": True}
        log = [{"op": "parcel", "tasks": [task["id"] for task in parcel["tasks"]], **ours}]
        log += [{"op": "start", "no": 0, "t": 1.0}, {"op": "done", "no": 0, "outcome": "ok", "t0": 1.0, "t1": 1.1}]
        log += [{"op": "start", "no": 1, "t": 1.1}]
        (Path(parcel["fence"]) / parcel["name"]).write_bytes(log_of(*log))
        world.engine.lose(RuntimeError("worker 3 is gone"))
        assert (await world.end(ids[0])).outcome == "ok"
        assert (await world.end(ids[1])).outcome == "lost"
        back = [one for one in world.said if isinstance(one, Back)]
        assert back[0].tasks == ids[2:count]
        await world.run(ids)
        assert {end.outcome for one, end in world.ends().items() if one != ids[1]} == {"ok"}

    story(steps)


def test_a_drain_gives_back_what_no_worker_has_and_a_halt_tells_the_rest(story: Story, tmp_path: Path) -> None:
    fifo = tmp_path / "go"
    os.mkfifo(fifo)

    async def steps(world: World) -> None:
        running, waiting = world.give(lambda path: Path(path).read_text(), (str(fifo),), (str(fifo),))
        await world.until(lambda: len(world.engine.given) == 2)
        world.engine.run()
        await world.until(world.started)
        world.manager.receive(Drain("it is being stopped"))
        back = [one for one in world.said if isinstance(one, Back)]
        assert [(one.tasks, one.home) for one in back] == [([waiting], True)]
        world.manager.receive(Halt("the endpoint was stopped while it ran"))
        assert (await world.end(running)).outcome == "lost"
        assert not world.manager.busy
        await asyncio.to_thread(fifo.write_text, "x")

    story(steps)


def test_a_dead_engine_is_told_to_whoever_starts_another(story: Story) -> None:
    async def steps(world: World) -> None:
        world.engine.ended = "Parsl's executor htex lost its interchange"
        await world.until(lambda: world.gone)
        assert "lost its interchange" in world.gone[0]
        world.manager.receive(OpenWorker("s" * 32, ""))
        gone = [one for one in world.said if isinstance(one, SessionGone)]
        assert "no session" in gone[0].reason

    story(steps)
