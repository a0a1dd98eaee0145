"""What is told of an endpoint on Slurm, as an ordinary user: `python stories.py NAME`. test_slurm.py runs them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from fake_endpoint_hub import args, unpack
from stage import PLACE, STORIES, Endpoint, endpoint, fx, jobs, notebook_kernel, ours, run, story

from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import Resources


def where(x: int, seconds: float = 0.0) -> tuple[int, str, str]:
    time.sleep(seconds)
    print("on", os.environ["SLURMD_NODENAME"])
    return x, os.environ["SLURMD_NODENAME"], os.environ.get("A_SECRET_TOKEN", "")


@story
async def tasks_run_on_several_nodes_and_blocks_end_with_the_endpoint() -> None:
    async with endpoint() as (hub, agent):
        assert agent.info().get("slots", 0) == 0
        begun = time.monotonic()
        await agent.wants(8)
        await hub.wait(lambda: "pending" in agent.info().get("why", "") or "starting" in agent.info().get("why", ""))
        await agent.blocks(4)
        print("four managers after", time.monotonic() - begun)
        function = hub.function(where)
        ids = hub.lease(*[hub.task(function, args(i, 0.5)) for i in range(16)])
        answers = [unpack((await hub.result(one)).payload) for one in ids]
        assert [x for x, _, _ in answers] == list(range(16))
        assert {node for _, node, _ in answers} == {"n1", "n2", "n3", "n4"}
        assert {secret for _, _, secret in answers} == {""}
        assert hub.text(ids[0]).startswith(b"on n")
        secrets_of(agent)
        await agent.stop_for_good()
        await agent.nothing_left()


def secrets_of(agent: Endpoint) -> None:
    """Modes, and no secret in a script, an argument, an environment or a log."""
    folders = list((agent.home / "blocks").iterdir())
    assert folders
    for folder in folders:
        assert folder.stat().st_mode & 0o077 == 0
        secret = (folder / "secret").read_bytes()
        for path in folder.rglob("*"):
            assert path.stat().st_mode & 0o077 == 0 or path.is_dir() or path.suffix in {".stdout", ".stderr"}, path
            if path.is_file() and path.name != "secret":
                data = path.read_bytes()
                assert secret not in data, path
                assert secret.hex().encode() not in data, path
                assert b"canary-of-the-environment" not in data, path
        for path in Path("/proc").glob("[0-9]*"):
            try:
                seen = (path / "environ").read_bytes() + (path / "cmdline").read_bytes()
            except OSError:
                continue
            assert secret not in seen
            assert secret.hex().encode() not in seen


@story
async def the_time_limit_of_a_block_is_kept_in_mind() -> None:
    """A task that could not end in time is not started in it; the block drains before its end; what runs is lost."""
    extra = 'c.Blocks.partition = "short"\nc.Blocks.walltime = "00:01:00"\nc.Blocks.max_blocks = 1\n'
    async with endpoint(extra + "c.Blocks.drain_lead_seconds = 10\n") as (hub, agent):
        await agent.wants(1)
        await agent.blocks(1)
        (first,) = jobs()
        function = hub.function(where)
        fits = hub.lease(hub.task(function, args(1), timeout=20.0))[0]
        assert (await hub.result(fits)).state == TaskState.SUCCEEDED
        await asyncio.sleep(20)
        later = hub.lease(hub.task(function, args(2), timeout=40.0))[0]
        now = hub.lease(hub.task(function, args(3), timeout=5.0))[0]
        endless = hub.lease(hub.task(function, args(4, 300.0)))[0]
        assert (await hub.result(now)).state == TaskState.SUCCEEDED
        assert later not in hub.results
        await agent.wants(1)
        lost = await hub.result(endless, 90)
        print(lost.error)
        assert lost.lost
        result = await hub.result(later, 60)
        assert result.state == TaskState.SUCCEEDED, result
        assert agent.info()["blocks"][0]["job"] != first
        await agent.stop_for_good()
        await agent.nothing_left()


@story
async def a_job_that_is_refused_is_tried_again_later_and_says_why() -> None:
    async with endpoint('c.Blocks.scheduler_options = ["#SBATCH --nodelist=n9"]\n') as (_hub, agent):
        await agent.wants(1)
        why = await agent.why("refuses")
        print(why)
        assert "Slurm refuses the job" in why
        assert "node" in why.lower()
        await asyncio.sleep(2)
        assert len(list((agent.home / "blocks").iterdir())) == 0
        assert jobs() == []


@story
async def why_a_block_waits_is_said() -> None:
    hog = run(
        "sbatch", "-p", "debug", "-A", "physics", "-N4", "--exclusive", "-t", "5", "--wrap", "sleep 300", "--parsable"
    )
    async with endpoint() as (_hub, agent):
        await agent.wants(1)
        why = await agent.why("pending (")
        print(why)
        job = next(one for one in jobs() if one != hog.strip())
        assert why.startswith(f"Slurm job {job} pending (")
        run("scancel", hog.strip())
        await agent.blocks(1)
        await agent.stop_for_good()
        await agent.nothing_left()


@story
async def a_block_of_two_nodes_brings_two_managers() -> None:
    async with endpoint("c.Blocks.nodes = 2\nc.Blocks.max_blocks = 1\n") as (hub, agent):
        await agent.wants(4)
        await agent.blocks(2)
        function = hub.function(where)
        ids = hub.lease(*[hub.task(function, args(i, 0.5)) for i in range(4)])
        nodes = {unpack((await hub.result(one)).payload)[1] for one in ids}
        assert len(nodes) == 2, nodes
        assert len(jobs()) == 1
        await agent.stop_for_good()
        await agent.nothing_left()


def has(mib: int, seconds: float = 0.3) -> dict[str, Any]:
    """What a task sees of its node, after it has used so much memory."""
    held = bytearray(mib << 20)
    for at in range(0, len(held), 4096):
        held[at] = 1
    time.sleep(seconds)
    return {
        "node": os.environ["SLURMD_NODENAME"],
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "cores": sorted(os.sched_getaffinity(0)),
        "threads": os.environ.get("OMP_NUM_THREADS"),
    }


@story
async def tasks_get_the_gpus_cores_and_memory_that_they_ask_for() -> None:
    cores = len(os.sched_getaffinity(0))
    extra = (
        f"c.Blocks.cores_per_node = {cores}\nc.Blocks.memory_per_node = 3\nc.Blocks.max_blocks = 1\n"
        'c.Blocks.gpu_devices = ["0", "1"]\n'
    )
    async with endpoint(extra) as (hub, agent):
        await agent.wants(1)
        await agent.blocks(1)
        function = hub.function(has)
        plain = unpack((await hub.result(hub.lease(hub.task(function, args(1)))[0])).payload)
        assert plain["gpus"] == ""
        assert len(plain["cores"]) == cores // 2, plain
        one_gpu = {"resources": Resources(gpus=1)}
        ids = hub.lease(*[hub.task(function, args(1), **one_gpu) for _ in range(4)])
        seen = [unpack((await hub.result(one)).payload)["gpus"] for one in ids]
        assert sorted(seen) == ["0", "0", "1", "1"], seen
        both = await hub.result(hub.lease(hub.task(function, args(1), resources=Resources(gpus=2)))[0])
        assert unpack(both.payload)["gpus"] in {"0,1", "1,0"}
        # One device is the session's now, for as long as that lives.
        session = await hub.session(gpus=1)
        cell = hub.cell(session, "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])")
        assert (await hub.result(cell)).state == TaskState.SUCCEEDED
        held = hub.text(cell).decode().strip()
        ids = hub.lease(*[hub.task(function, args(1), **one_gpu) for _ in range(2)])
        assert {unpack((await hub.result(one)).payload)["gpus"] for one in ids} == {"0", "1"} - {held}
        refused = hub.lease(hub.task(function, args(1), resources=Resources(gpus=3)))[0]
        nack = await hub.wait(lambda: [n for n in hub.nacks if n.tasks[0][0] == refused])
        assert nack[0].final
        print(nack[0].error.message)
        greedy = await hub.result(
            hub.lease(hub.task(function, args(300, 5.0), resources=Resources(memory=200 << 20)))[0]
        )
        assert greedy.error is not None
        print(greedy.error.message)
        assert greedy.error.etype == "WorkerLost"
        assert "out of memory" in greedy.error.message
        assert "200 MiB were asked for" in greedy.error.message
        await agent.stop_for_good()
        await agent.nothing_left()


def once(folder: str, n: int, seconds: float) -> tuple[int, str]:
    """Leaves a mark that it ran."""
    with open(f"{folder}/{n}", "a") as file:
        file.write("x")
    time.sleep(seconds)
    return n, os.environ["SLURMD_NODENAME"]


@story
async def a_thousand_tasks_over_four_nodes_each_once() -> None:
    async with endpoint() as (hub, agent):
        folder = PLACE / "marks"
        folder.mkdir()
        await agent.wants(100)
        await agent.blocks(4)
        function = hub.function(once)
        ids: list[str] = []
        begun = time.monotonic()
        for at in range(0, 1000, 100):
            ids += hub.lease(*[hub.task(function, args(str(folder), n, 0.01)) for n in range(at, at + 100)])
        answers = [unpack((await hub.result(one, 60)).payload) for one in ids]
        print("1,000 tasks of 10 ms on 8 workers:", time.monotonic() - begun, "s")
        assert [n for n, _ in answers] == list(range(1000))
        assert {path.read_text() for path in folder.iterdir()} == {"x"}
        counts = {node: sum(1 for _, at in answers if at == node) for node in ("n1", "n2", "n3", "n4")}
        print(counts)
        assert min(counts.values()) > 100
        await agent.stop_for_good()
        await agent.nothing_left()


@story
async def three_waves_of_work_are_followed_up_and_back_to_zero() -> None:
    """funcX's trace (1 task of 1 s, 5 of 10 s, 20 of 20 s, 120 s apart), ten times as fast, on real jobs."""
    extra = "c.Blocks.idle_seconds = 2\nc.Blocks.poll_seconds = 0.5\n"
    async with endpoint(extra) as (hub, agent):
        await agent.wants(0)
        function = hub.function(where)
        begun = time.monotonic()
        trace: list[tuple[float, int, int]] = []
        ids: list[str] = []
        waiting: list[Any] = []
        for count, seconds in ((1, 0.1), (5, 1.0), (20, 2.0)):
            waiting += [hub.task(function, args(n, seconds)) for n in range(count)]
            ids += [task.task_id for task in waiting]
            end = time.monotonic() + 12
            while time.monotonic() < end:
                await agent.wants(len(waiting))
                room = dict(hub.credits[-1].shapes).get("", 0) if hub.credits else 0
                held = sum(1 for one in ids if one not in hub.results) - len(waiting)
                if waiting and room and held < agent.info().get("slots", 0):
                    hub.lease(waiting.pop(0))
                trace.append((time.monotonic() - begun, sum(1 for i in ids if i not in hub.results), len(jobs("R"))))
                await asyncio.sleep(0.1)
            assert not waiting
        for one in ids:
            assert (await hub.result(one, 20)).state == TaskState.SUCCEEDED
        await agent.wants(0)
        while jobs():
            assert time.monotonic() < begun + 60
            await asyncio.sleep(0.2)
        peaks = [max(blocks for at, _, blocks in trace if w * 12 <= at < (w + 1) * 12) for w in range(3)]
        print("blocks at the most in each wave:", peaks)
        assert peaks[0] == 1
        assert 2 <= peaks[1] <= 3
        assert peaks[2] == 4
        for w in (1, 2):
            assert min(blocks for at, _, blocks in trace if w * 12 - 2 <= at < w * 12) == 0, trace
        await agent.stop_for_good()
        await agent.nothing_left()


@story
async def the_commands_of_torque_do_as_well() -> None:
    """The same cluster through qsub, qstat and qdel."""
    config = """
c.Blocks.provider = "torque"
c.Blocks.account = "physics"
c.Blocks.walltime = "00:10:00"
c.Blocks.max_blocks = 2
c.Blocks.scheduler_options = ["#PBS -l mem=1500mb"]
c.Blocks.poll_seconds = 1
"""
    async with endpoint(config=config) as (hub, agent):
        await agent.wants(4)
        await agent.blocks(2)
        function = hub.function(where)
        ids = hub.lease(*[hub.task(function, args(n, 0.3)) for n in range(8)])
        for one in ids:
            assert (await hub.result(one)).state == TaskState.SUCCEEDED
        before = jobs()
        await agent.kill()
        await agent.start()
        await agent.blocks(2)
        assert sorted(jobs()) == sorted(before)
        result = await hub.result(hub.lease(hub.task(function, args(1)))[0])
        assert result.state == TaskState.SUCCEEDED
        run("qdel", before[0])
        await hub.wait(lambda: agent.info()["managers"] == 1, 20)
        await agent.stop_for_good()
        await agent.nothing_left()
        assert not list(Path.cwd().glob("*.[eo][0-9]*")), "jobs write where their block is"


@story
async def remote_cells_of_a_notebook_run_in_a_batch_job() -> None:
    """From `configure` to a cell: what a person types on a login node, with their own hub."""
    for name in ("RUNTIME", "STATE", "CONFIG"):
        os.environ[f"JUPYTER_FX_{name}_DIR"] = str(PLACE / name.lower())
    wrong = subprocess.run(
        [
            sys.executable,
            "-m",
            "jupyter_fx.cli.app",
            "endpoint",
            "configure",
            "x",
            "--scheduler=slurm",
            "--partition=shrot",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert wrong.returncode != 0
    assert wrong.stderr.strip() == "jupyter fx: Slurm has no partition 'shrot': did you mean 'short'?"
    # Where there is but one, as at first, it need not be named; other stories add others.
    print(fx("endpoint", "configure", "hpc", "--scheduler=slurm", "--account=physics"))
    config = PLACE / "config" / "endpoints" / "hpc" / "config.py"
    text = config.read_text()
    assert "partition debug (default): 4 nodes, up to 16 cores, 62 GiB each; 24 h at most" in text
    assert "physics" in text.partition("accounts that you may charge: ")[2].partition("\n")[0].split(", "), text
    for line in ("partition = 'debug'", "account = 'physics'", "cores_per_node = 4", "walltime = '01:00:00'"):
        assert f"c.Blocks.{line}" in text, text
    config.write_text(text + "\nc.Blocks.poll_seconds = 1\nc.Endpoint.workers = 2\nc.Blocks.walltime = '00:04:00'\n")
    print(fx("endpoint", "start", "hpc"))
    kernel = notebook_kernel(PLACE / "k")
    hog = run(
        "sbatch", "-p", "debug", "-A", "physics", "-N4", "--exclusive", "-t", "5", "--wrap", "sleep 300", "--parsable"
    )
    try:
        begun = time.monotonic()

        def let_go(ran: Any) -> None:
            if "pending (" in ran.shown and not cancelled:
                cancelled.append(run("scancel", hog.strip()))

        cancelled: list[str] = []
        first = kernel.remote("import os; x = 6; os.environ['SLURMD_NODENAME']", line="hpc", while_running=let_go)
        print("first cell", time.monotonic() - begun)
        print(first.shown)
        assert first.result in {"'n1'", "'n2'", "'n3'", "'n4'"}, first
        assert "Slurm job" in first.shown
        assert "pending (" in first.shown
        # Later cells run in the same process and need no other job.
        process, held = kernel.remote("os.getpid()", line="hpc").result, jobs()
        for _ in range(20):
            assert kernel.remote("x * 7, os.getpid()", line="hpc").result == f"(42, {process})"
        assert jobs() == held
        assert "the job of this session ends in" in kernel.remote("x", line="hpc").shown
        told = kernel.run("%fx").stream()
        print(told)
        assert "on node n" in told
        assert "ends at" in told
    finally:
        subprocess.run(["scancel", hog.strip()], check=False)
        kernel.close()
        print(fx("endpoint", "stop", "hpc"))
        fx("up", "--down")
    assert not jobs()
    assert not ours()


async def main() -> None:
    await STORIES[sys.argv[1]]()


if __name__ == "__main__":
    asyncio.run(main())
