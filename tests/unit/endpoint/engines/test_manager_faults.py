"""What becomes of tasks when an engine, its configuration or the shared directory fail."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from engine_story import Story, World, log_of

from jupyter_fx.endpoint.prefetch import TRUSTED
from jupyter_fx.endpoint.talk import CancelWork, Capacity
from jupyter_fx.errors import ConfigError
from jupyter_fx_worker import envelope, parcels

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="endpoints for others run on Linux")


def write(path: str) -> None:
    with open(path, "a") as file:
        file.write("x")


async def receipts(world: World) -> None:
    """Wait until the agent has journaled all that it was told."""
    await world.until(lambda: not world.manager._over and not world.manager._receipts)
    await asyncio.sleep(0)


def test_a_parcel_that_was_cancelled_never_starts_however_late_the_engine_comes_to_it(
    story: Story, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"

    async def steps(world: World) -> None:
        (one,) = world.give(write, (str(ran),))
        await world.until(lambda: world.engine.given)
        world.manager.receive(CancelWork(one, 0))
        assert (await world.end(one)).outcome == "cancelled"
        # Whatever comes after it has its receipt: so had it.
        (other,) = world.give(lambda: 5, ())
        await world.until(lambda: len(world.engine.given) == 2)
        world.engine.run(1)
        await world.end(other)
        await receipts(world)
        (_text, names), done = world.engine.given.pop(0)
        answer = await asyncio.to_thread(parcels.run, names["fx_parcel"])
        assert answer["refused"] == "taken"
        assert not ran.exists()
        done(answer, None)
        # The engine has nothing of it any more.
        await world.until(lambda: not world.manager._fence.claimed())

    story(steps)


def test_those_who_travelled_with_a_cancelled_task_run_once(story: Story, tmp_path: Path) -> None:
    async def steps(world: World) -> None:
        await world.run(world.give(write, *[(str(tmp_path / "0"),)] * TRUSTED))
        paths = [str(tmp_path / str(at)) for at in range(1, 41)]
        ids = world.give(write, *[(path,) for path in paths])
        await world.until(lambda: world.engine.given)
        together = [task["id"] for task in world.engine.given[0][0][1]["fx_parcel"]["tasks"]]
        assert len(together) > 2
        # Not the first of them, and as many go again: another parcel, which looks much the same.
        world.manager.receive(CancelWork(together[1], 0))
        await world.end(together[1])
        await receipts(world)
        await world.run(ids)
        written = {
            one: len(Path(path).read_text()) if Path(path).exists() else 0 for one, path in zip(ids, paths, strict=True)
        }
        assert written == {one: int(one != together[1]) for one in ids}

    story(steps)


def test_what_the_engine_failed_to_start_is_started_again_without_an_agent(story: Story) -> None:
    async def steps(world: World) -> None:
        (one,) = world.give(lambda: 7, ())
        await world.until(lambda: world.engine.given)
        world.away = True
        world.engine.lose(RuntimeError("manager 7 is gone"))
        await world.until(lambda: world.engine.given)
        world.engine.run()
        end = await world.end(one)
        assert envelope.loads(bytearray(end.payload))[1] == 7
        world.away = False
        world.manager.tell_again()

    story(steps)


def test_an_engine_that_refuses_everything_is_told_of_each_task(story: Story) -> None:
    async def steps(world: World) -> None:
        world.engine.refuses = "the scheduler is closing"
        ids = world.give(lambda x: x, *[(at,) for at in range(500)])
        world.manager._runner.health = world.manager._runner.health._replace(slots=1000)
        await world.until(lambda: len(world.ends()) == len(ids))
        assert {end.error.message for end in world.ends().values() if end.error} == {
            "Parsl could not start it, 3 times; at last: RuntimeError: the scheduler is closing"
        }

    story(steps)


def test_a_result_that_cannot_be_fetched_is_an_error_of_its_task_alone(story: Story, tmp_path: Path) -> None:
    async def steps(world: World) -> None:
        gone, other = world.give(lambda: 1, (), ())
        await world.until(lambda: len(world.engine.given) == 2)
        (_text, names), done = world.engine.given.pop(0)
        path = Path(names["fx_parcel"]["fence"]) / names["fx_parcel"]["name"]
        end = {"op": "done", "no": 0, "outcome": "ok", "t0": 1.0, "t1": 2.0, "path": "/no/such/folder/result"}
        log = log_of({"op": "parcel", "tasks": [gone]}, {"op": "start", "no": 0, "t": 1.0}, end)
        path.write_bytes(log)
        done({"log": log, "host": "n7"}, None)
        error = (await world.end(gone)).error
        assert error is not None
        assert error.etype == "InfrastructureError"
        assert "/no/such/folder/result" in error.message
        world.engine.run()
        assert (await world.end(other)).outcome == "ok"

    story(steps)


def test_a_shared_directory_that_fails_for_a_moment_is_looked_at_again(story: Story, monkeypatch: Any) -> None:
    async def steps(world: World) -> None:
        fence, failures = world.manager._fence, [OSError(116, "Stale file handle")] * 2
        there = fence.claimed

        def claimed() -> set[str]:
            if failures:
                raise failures.pop()
            return there()

        monkeypatch.setattr(fence, "claimed", claimed)
        (one,) = world.give(lambda: 1, ())
        await world.until(lambda: not failures)
        # That a worker has it is seen although its engine says nothing.
        (_text, names), _done = world.engine.given.pop()
        await asyncio.to_thread(parcels.run, names["fx_parcel"])
        await world.until(lambda: one in world.started())

    story(steps)


def test_a_configuration_that_cannot_be_read_is_told_and_tried_again(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path)
        world.trouble = [ConfigError("c.Endpoint.engine = 'ray': there is none")]
        try:
            await world.until(lambda: [one for one in world.said if isinstance(one, Capacity)])
            first = next(one for one in world.said if isinstance(one, Capacity))
            assert not first.ready
            assert "Parsl does not start: c.Endpoint.engine = 'ray': there is none" in first.info["why"]
            await world.until(lambda: any(isinstance(one, Capacity) and one.ready for one in world.said))
        finally:
            world.manager.close()

    asyncio.run(main())
