"""What goes wrong with agents, jobs, nodes and the scheduler: `python stories_faults.py NAME`, as an ordinary user."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

import cloudpickle

sys.path.insert(0, str(Path(__file__).parents[1]))
import stories
from fake_endpoint_hub import Hub, args, unpack
from stage import PLACE, STORIES, endpoint, jobs, ours, root, run, story
from stories import once, where

from jupyter_fx.protocol.lifecycle import TaskState

cloudpickle.register_pickle_by_value(stories)
ONE = "c.Blocks.max_blocks = 1\n"


def slow(path: str, seconds: float) -> str:
    """Says that it started, by a line in a file; leaves something behind that has left its tree."""
    import subprocess

    with open(path, "a") as file:
        file.write(f"{os.environ['SLURMD_NODENAME']}\n")
    subprocess.Popen(["sh", "-c", "setsid sleep 1000 & exit"], start_new_session=True).wait()
    time.sleep(seconds)
    return os.environ["SLURMD_NODENAME"]


async def started(hub: Hub, ids: list[str]) -> None:
    await hub.wait(lambda: {u.task_id for u in hub.updates if u.phase == "started"} >= set(ids), 30)


def lines(path: str) -> list[str]:
    return Path(path).read_text().split() if Path(path).exists() else []


@story
async def an_agent_that_is_killed_finds_its_blocks_again() -> None:
    """What runs goes on, starts once, its result comes; sessions keep their variables; no block is doubled."""
    async with endpoint() as (hub, agent):
        await agent.wants(4)
        await agent.blocks(2)
        path = str(PLACE / "ran")
        function = hub.function(slow)
        session = await hub.session()
        assert (await hub.result(hub.cell(session, "x = 7"))).state == TaskState.SUCCEEDED
        running = hub.lease(*[hub.task(function, args(path, 4.0)) for _ in range(3)])
        await started(hub, running)
        before = jobs()
        await agent.kill()
        await agent.start()
        for one in running:
            result = await hub.result(one, 30)
            assert result.state == TaskState.SUCCEEDED, result
        assert len(lines(path)) == 3
        cell = hub.cell(session, "print(x)")
        assert (await hub.result(cell)).state == TaskState.SUCCEEDED
        assert hub.text(cell) == b"7\n"
        assert sorted(jobs()) == sorted(before)
        again = await hub.result(hub.lease(hub.task(function, args(path, 0.0)))[0])
        assert again.state == TaskState.SUCCEEDED
        await agent.stop_for_good()
        await agent.nothing_left()


@story
async def a_killed_agent_leaks_and_doubles_no_block_at_any_step() -> None:
    """SIGKILL at many moments around the submission; afterwards each job has its block and each block its job."""
    async with endpoint("c.Blocks.max_blocks = 2\n") as (hub, agent):
        for delay in (0.0, 0.01, 0.02, 0.04, 0.08, 0.12, 0.18, 0.25, 0.4, 0.7):
            await agent.wants(4)
            await asyncio.sleep(delay)
            await agent.kill()
            await agent.start()
            await asyncio.sleep(0.3)
        await agent.wants(4)
        await hub.wait(lambda: agent.info().get("managers", 0) == 2 and len(jobs()) == 2, 60)
        await asyncio.sleep(3)
        assert len(jobs()) == 2, jobs()
        told = {block["job"] for block in agent.info()["blocks"]}
        assert told == set(jobs())
        assert len(list((agent.home / "blocks").iterdir())) == 2
        await agent.stop_for_good()
        await agent.nothing_left()


@story
async def a_managers_death_is_told_within_seconds_and_nothing_of_it_is_left() -> None:
    async with endpoint(ONE) as (hub, agent):
        await agent.wants(1)
        await agent.blocks(1)
        path = str(PLACE / "ran")
        function = hub.function(slow)
        session = await hub.session()
        (running,) = hub.lease(hub.task(function, args(path, 100.0)))
        await started(hub, [running])
        manager = next(int(one.split()[0]) for one in ours() if "manager_main" in one)
        left = {one.split()[0] for one in ours() if "endpoint.node" not in one}
        assert any("sleep 1000" in one for one in ours())
        begun = time.monotonic()
        os.kill(manager, 9)
        # Not when its hundred seconds are over.
        result = await hub.result(running)
        print("lost after", time.monotonic() - begun, result.error)
        assert result.lost
        await hub.wait(lambda: any(getattr(one, "lost", False) for one in hub.sessions))
        assert not left & {one.split()[0] for one in ours()}
        # The keeper starts another one in the same job.
        await agent.wants(1)
        again = await hub.result(hub.lease(hub.task(hub.function(where), args(1)))[0], 30)
        assert again.state == TaskState.SUCCEEDED
        assert len(jobs()) == 1
        assert session
        await agent.stop_for_good()
        await agent.nothing_left()


async def lost_by(line: str, *, by_root: bool, within: float = 60.0) -> None:
    """A task runs, something happens to its job: it is told as lost, what waited runs elsewhere, nothing is left."""
    async with endpoint(ONE) as (hub, agent):
        await agent.wants(1)
        await agent.blocks(1)
        path = str(PLACE / "ran")
        function = hub.function(slow)
        running = hub.lease(*[hub.task(function, args(path, 100.0)) for _ in range(2)])
        await started(hub, running)
        waiting = hub.lease(hub.task(hub.function(where), args(5)))[0]
        await hub.wait(lambda: any(u.task_id == waiting for u in hub.updates))
        (job,) = jobs()
        node = lines(path)[0]
        begun = time.monotonic()
        command = line.format(job=job, node=node)
        root(command) if by_root else run("sh", "-c", command)
        for one in running:
            result = await hub.result(one, within)
            assert result.lost, result
        print("lost after", time.monotonic() - begun, result.error)
        await agent.wants(1)
        result = await hub.result(waiting, 60)
        assert unpack(result.payload)[0] == 5
        assert len(lines(path)) == 2
        assert job not in jobs()
        await agent.stop_for_good()
        await agent.nothing_left()


@story
async def scancel_of_a_block_loses_what_ran_and_nothing_else() -> None:
    await lost_by("scancel {job}", by_root=False)


@story
async def a_node_that_goes_down_loses_what_ran_and_nothing_else() -> None:
    try:
        await lost_by("scontrol update NodeName={node} State=DOWN Reason=test", by_root=True)
    finally:
        root("for n in n1 n2 n3 n4; do scontrol update NodeName=$n State=RESUME || true; done")


@story
async def a_restarted_slurmctld_is_survived() -> None:
    async with endpoint(ONE) as (hub, agent):
        await agent.wants(1)
        await agent.blocks(1)
        path = str(PLACE / "ran")
        (running,) = hub.lease(hub.task(hub.function(slow), args(path, 8.0)))
        await started(hub, [running])
        before = jobs()
        root("kill $(cat $(dirname $SLURM_CONF)/ctld/pid); sleep 3; slurmctld")
        result = await hub.result(running, 60)
        assert result.state == TaskState.SUCCEEDED, result
        await hub.wait(lambda: not agent.info()["why"], 30)
        assert jobs() == before
        assert len(lines(path)) == 1
        await agent.stop_for_good()
        await agent.nothing_left()


@story
async def whatever_is_killed_each_task_has_one_outcome_and_starts_at_most_once() -> None:
    """200 tasks while agent, managers and jobs are killed; what comes back unstarted is leased again, as a hub does."""
    async with endpoint() as (hub, agent):
        folder = PLACE / "marks"
        folder.mkdir()
        await agent.wants(100)
        await agent.blocks(4)
        function = hub.function(once)
        tasks = [hub.task(function, args(str(folder), n, 0.5)) for n in range(200)]
        ids = [task.task_id for task in tasks]
        by_id = {task.task_id: task for task in tasks}
        hub.lease(*tasks)
        attempts = dict.fromkeys(ids, 1)
        told = 0
        end = time.monotonic() + 70
        faults = [
            agent.kill,
            lambda: os.kill(int(next(one for one in ours() if "manager_main" in one).split()[0]), 9),
            lambda: run("scancel", jobs()[0]),
            agent.kill,
        ]
        next_fault = time.monotonic() + 1.5
        while not hub.results.keys() >= set(ids):
            if time.monotonic() > end:
                for n, one in enumerate(ids):
                    if one not in hub.results:
                        steps = [(u.phase, u.attempt, u.reason) for u in hub.updates if u.task_id == one]
                        ran = (folder / str(n)).exists()
                        print("no outcome of", n, one, "ran:", ran, "attempts:", attempts[one], steps)
                held = [(h.task_id, h.phase) for h in hub.inventories[-1].held if h.task_id not in hub.results]
                raise AssertionError((held, agent.info(), hub.nacks))
            await agent.wants(50)
            if faults and time.monotonic() > next_fault:
                fault: Any = faults.pop(0)
                if fault == agent.kill:
                    await agent.kill()
                    await agent.start()
                else:
                    fault()
                next_fault = time.monotonic() + 3
            while told < len(hub.updates):
                update = hub.updates[told]
                told += 1
                if update.phase == "requeue" and update.task_id not in hub.results:
                    task = by_id[update.task_id]
                    attempts[task.task_id] += 1
                    hub.again(task, attempts[task.task_id])
            await asyncio.sleep(0.05)
        assert not faults
        marks = {int(path.name): path.read_text() for path in folder.iterdir()}
        assert set(marks.values()) == {"x"}, marks
        for n, one in enumerate(ids):
            result = hub.results[one]
            assert result.lost or (result.state == TaskState.SUCCEEDED and n in marks)
        lost = [n for n, one in enumerate(ids) if hub.results[one].lost]
        print("lost, attested:", len(lost), "of 200")
        assert len(lost) <= 8, "no more than ran where something was killed"
        await agent.stop_for_good()
        await agent.nothing_left()


@story
async def a_scheduler_that_hangs_or_answers_garbage_ends_nothing() -> None:
    shims = PLACE / "shims"
    shims.mkdir()
    os.environ["PATH"] = f"{shims}:{os.environ['PATH']}"
    async with endpoint(ONE) as (hub, agent):
        await agent.wants(1)
        await agent.blocks(1)
        function = hub.function(where)
        for script, said in (("echo 'Oh dear'", "cannot be understood"), ("exit 7", "squeue: it said nothing")):
            (shims / "squeue").write_text(f"#!/bin/sh\n{script}\n")
            (shims / "squeue").chmod(0o755)
            print(await agent.why(said))
            result = await hub.result(hub.lease(hub.task(function, args(1)))[0])
            assert result.state == TaskState.SUCCEEDED
        (shims / "squeue").unlink()
        await hub.wait(lambda: agent.info()["why"] == "", 20)
        assert len(jobs()) == 1
        await agent.stop_for_good()
        await agent.nothing_left()


@story
async def a_preempted_block_loses_what_ran_and_nothing_else() -> None:
    await lost_by("sbatch -p urgent -A physics -w {node} --exclusive -t 1 --wrap 'sleep 4'", by_root=False)


@story
async def a_requeued_block_loses_what_ran_and_nothing_else() -> None:
    await lost_by("scontrol update JobId={job} Requeue=1 && scontrol requeue {job}", by_root=True)


@story
async def a_held_block_says_who_holds_it_and_goes_on_when_it_is_released() -> None:
    async with endpoint(ONE + 'c.Blocks.scheduler_options = ["#SBATCH --hold"]\n') as (hub, agent):
        await agent.wants(1)
        why = await agent.why("JobHeldUser: held by you")
        print(why)
        assert f"scontrol release {jobs()[0]}" in why
        run("scontrol", "release", jobs()[0])
        await agent.blocks(1)
        assert (await hub.result(hub.lease(hub.task(hub.function(where), args(1)))[0])).state == TaskState.SUCCEEDED
        await agent.stop_for_good()
        await agent.nothing_left()


@story
async def a_user_without_a_home_on_the_node_can_work() -> None:
    """On the node itself and in an image."""
    async with endpoint(ONE + 'c.Blocks.setup = ["export HOME=/nowhere/at/all"]\n') as (hub, agent):
        await agent.wants(1)
        await agent.blocks(1)
        for environment in ("", f"charliecloud:{os.environ['FX_TEST_IMAGES']}/tree"):
            session = await hub.session(environment=environment)
            cell = hub.cell(session, "open('file', 'w').write('x')\nprint(open('file').read())")
            result = await hub.result(cell, 60)
            assert result.error is None, result.error
            assert hub.text(cell) == b"x\n"
        await agent.stop_for_good()
        await agent.nothing_left()


if __name__ == "__main__":
    asyncio.run(STORIES[sys.argv[1]]())
