"""Accounts, partitions and the rest, chosen from a notebook on a real Slurm: `python stories_allocations.py NAME`."""

from __future__ import annotations

import asyncio
import getpass
import os
import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from stage import PLACE, STORIES, fx, jobs, notebook_kernel, ours, root, run, story

from jupyter_fx import remote
from jupyter_fx.endpoint.launch import running

CONFIG = """
c.Blocks.poll_seconds = 1
c.Blocks.max_blocks = 3
c.Blocks.idle_seconds = 120
c.Blocks.walltime = '00:10:00'
c.Blocks.account = 'physics'
c.Blocks.cores_per_node = 2
c.Blocks.partitions = {'short': 'cores_per_node=1'}
"""
WHERE = "import os; [os.environ[f'SLURM_JOB_{one}'] for one in ('ID', 'ACCOUNT', 'PARTITION')]"
FUNCTION = """
import os
import jupyter_fx as fx
@fx.remote(endpoint='hpc', {options})
def where():
    return [os.environ[f'SLURM_JOB_{{one}}'] for one in ('ID', 'ACCOUNT', 'PARTITION')]
where.remote()
"""
REFUSED = {
    "--partition gpus": "Slurm has no partition 'gpus'; there are debug, short",
    "--account biology": "Slurm lets you charge no account 'biology'; there are chemistry, physics",
    "--qos urgent": "Slurm lets you use no qos 'urgent'; there are high, normal",
    "--constraint rack9": "Slurm has no nodes with the feature 'rack9'; there are rack1, rack2",
    "--reservation lecture": "Slurm has no reservation 'lecture'; there are course",
    "--account 'a b'": "account must be one word without blanks, commas or quotes",
    "--walltime soon": "'soon' is no duration",
    "--accont x": "%fx use has no option --accont: did you mean '--account'",
}


def asked(job: str) -> list[str]:
    """[account, partition, qos, features, reservation, time limit] of a job."""
    told = run("squeue", "-h", "-j", job, "-o", "%a|%P|%q|%f|%v|%l").strip()
    return told.replace("(null)", "").split("|")


@story
async def each_choice_gets_blocks_of_its_own() -> None:
    """Two sessions and two functions of one notebook in four allocations; what is not offered is refused at once."""
    me = getpass.getuser()
    root(
        "sacctmgr -i add account chemistry && sacctmgr -i modify account chemistry set GrpTRESMins=node=6000 && "
        f"sacctmgr -i add user {me} account=chemistry && sacctmgr -i add qos high "
        f"&& sacctmgr -i modify user {me} set qos+=high && scontrol create reservation reservationname=course "
        f"users={me} nodes=n4 starttime=now duration=60"
    )
    for name in ("RUNTIME", "STATE", "CONFIG"):
        os.environ[f"JUPYTER_FX_{name}_DIR"] = str(PLACE / name.lower())
    fx("endpoint", "configure", "hpc", "--scheduler=slurm", "--account=physics")
    path = PLACE / "config" / "endpoints" / "hpc" / "config.py"
    path.write_text(path.read_text() + CONFIG)
    fx("endpoint", "start", "hpc")
    kernel = notebook_kernel(PLACE / "k")
    try:
        for words, said in REFUSED.items():
            ran = kernel.run(f"%fx use hpc {words}")
            print(ran.error["evalue"])
            assert said in ran.error["evalue"]
        assert not jobs()
        chosen = "--account chemistry --qos high --constraint rack1 --walltime 5m"
        print(kernel.run(f"%fx use hpc {chosen}").stream())
        ran = kernel.remote(WHERE)
        print(ran.shown)
        (job,) = jobs()
        assert ran.result == str([job, "chemistry", "debug"])
        assert asked(job) == ["chemistry", "debug", "high", "rack1", "", "5:00"], asked(job)
        # Another session of the notebook, in the reservation; the usual account.
        kernel.run("%fx use hpc --reservation course --session class")
        ran = kernel.run(f"%%remote --session class\n{WHERE}")
        (job,) = set(jobs()) - {job}
        assert asked(job)[:1] + asked(job)[4:] == ["physics", "course", "10:00"], asked(job)
        # Functions: with nothing chosen the usual blocks, else those that were asked for, and never each other's.
        usual = kernel.run(FUNCTION.format(options="partition='debug', account='physics'")).result
        assert len(jobs()) == 3
        print(usual)
        ran = kernel.run(FUNCTION.format(options="gpus=3"))
        print(ran.error["evalue"])
        assert "this endpoint has no GPUs, 3 were asked for" in ran.error["evalue"]
        for options, said in {
            "cores=64": "this endpoint has 2 cores on a node at most, 64 were asked for",
            "memory=2**50": "GiB of memory on a node at most, 1048576.0 GiB were asked for",
            "partition='gpus'": "Slurm has no partition 'gpus'; there are debug, short",
        }.items():
            ran = kernel.run(FUNCTION.format(options=options))
            print(ran.error["evalue"])
            assert said in ran.error["evalue"]
        kernel.run("%fx use hpc --gpus 3 --session large")
        ran = kernel.run("%%remote --session large\n1")
        print(ran.error["evalue"])
        assert ran.error["ename"] == "UsageError"
        assert "this endpoint has no GPUs, 3 were asked for" in ran.error["evalue"]
        assert "`%fx use hpc` with other options opens another session" in ran.error["evalue"]
        ran = kernel.run(FUNCTION.format(options="account='biology'"))
        assert "there are chemistry, physics" in ran.error["evalue"]
        # All blocks there may be are up: one that has nothing to do makes room.
        short = kernel.run(FUNCTION.format(options="partition='short', timeout=20")).result
        print(short)
        assert short.endswith("'short']")
        ran = kernel.run(FUNCTION.format(options="partition='short', timeout=50"))
        assert "can give a task 45 s at most" in ran.error["evalue"], ran.error
        assert len(jobs("RUNNING")) <= 3
        refused = kernel.run("%%remote --account chemistry\n1")
        assert "say it before, as in `%fx use ENDPOINT --account" in refused.error["evalue"]
        told = kernel.run("%fx").stream()
        print(told)
        assert "node-hours used, " in told
        assert "account chemistry: 100.0 of 100.0 node-hours left" in told
    finally:
        kernel.close()
        print(fx("endpoint", "stop", "hpc"))
        fx("up", "--down")
        root("scontrol delete reservationname=course")
    assert not jobs()
    assert not ours()


def where() -> str:
    """The job that it runs in."""
    return os.environ["SLURM_JOB_ID"]


@story
async def a_chain_of_jobs_keeps_an_agent() -> None:
    """The recipe of the administrator's guide, word by word: an agent in a job, the next one when that is over."""
    guide = (Path(__file__).parents[3] / "docs" / "admin-guide.md").read_text()
    (recipe,) = [part for part in re.findall(r"```sh\n(.*?)```", guide, re.DOTALL) if "fx-agent" in part]
    home = Path(os.environ["HOME"])
    os.environ["JUPYTER_FX_STATE_DIR"] = str(home / "fx-state")
    for name in ("RUNTIME", "CONFIG"):
        os.environ[f"JUPYTER_FX_{name}_DIR"] = str(PLACE / name.lower())
    fx("endpoint", "configure", "hpc", "--scheduler=slurm", "--account=physics")
    path = PLACE / "config" / "endpoints" / "hpc" / "config.py"
    path.write_text(path.read_text() + CONFIG)
    script = home / "fx-agent.sh"
    script.write_text(recipe.replace("jupyter fx", f"{sys.executable} -m jupyter_fx.cli.app"))
    agent = home / "fx-state" / "endpoints" / "hpc"

    async def runs(other_than: int = 0) -> int:
        end = time.monotonic() + 60
        while (pid := running(agent)) in {0, other_than}:
            assert time.monotonic() < end, run("squeue", "--me")
            await asyncio.sleep(0.2)
        return pid

    os.chdir(home)
    run("sbatch", "-A", "physics", str(script))
    try:
        first = await runs()
        call = remote(endpoint="hpc")(where)
        block = call.remote()
        (job,) = run("squeue", "--me", "-h", "-n", "fx-agent", "-t", "RUNNING", "-o", "%i").split()
        run("scancel", job)
        await runs(first)
        assert call.remote() == block, "the next agent has the blocks of the one before"
        assert len(run("squeue", "--me", "-h", "-n", "fx-agent", "-o", "%i").split()) >= 2
    finally:
        run("scancel", "--me", "-n", "fx-agent")
        fx("endpoint", "stop", "hpc")
        run("scancel", "--me")
        fx("up", "--down")


if __name__ == "__main__":
    asyncio.run(STORIES[sys.argv[1]]())
