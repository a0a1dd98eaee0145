"""Sessions on nodes of a real Slurm, as ordinary users: `python stories_sessions.py NAME`. test_images.py runs them."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import prying
from fake_endpoint_hub import Hub, args
from stage import PLACE, STORIES, endpoint, fx, jobs, notebook_kernel, ours, run, story

from jupyter_fx.protocol.lifecycle import TaskState

IMAGES = os.environ["FX_TEST_IMAGES"]
CONFIG = f"""
c.Blocks.poll_seconds = 1
c.Blocks.max_blocks = 1
c.Blocks.idle_seconds = 2
c.Blocks.walltime = '00:10:00'
c.Endpoint.workers = 3
c.Containers.folders = [{IMAGES!r}]
c.Containers.preload = {{"file.sqfs": ["slow_to_import"]}}
"""
HUB = "c = get_config()\nc.HubApp.session_idle = 15\nc.HubApp.session_warning = 10\n"
FUNCTION = """
import jupyter_fx as fx
@fx.remote(endpoint='hpc', image='tree')
def which():
    return open('/opt/image/name').read()
which.remote()
"""


def settled() -> None:
    """An endpoint `hpc` on Slurm, and a hub that it and the kernels find."""
    for name in ("RUNTIME", "STATE", "CONFIG"):
        os.environ[f"JUPYTER_FX_{name}_DIR"] = str(PLACE / name.lower())
    (PLACE / "config").mkdir(mode=0o700)
    (PLACE / "config" / "hub_config.py").write_text(HUB)
    fx("endpoint", "configure", "hpc", "--scheduler=slurm")
    path = PLACE / "config" / "endpoints" / "hpc" / "config.py"
    path.write_text(path.read_text() + CONFIG)
    print(fx("endpoint", "start", "hpc"))


@story
async def a_notebook_lives_in_an_image_on_a_node() -> None:
    """It is told what it waits for; two share a container; idle sessions end, and the job that nobody needs then."""
    settled()
    kernels = [notebook_kernel(PLACE / "k")]
    hog = run("sbatch", "-A", "physics", "-N4", "--exclusive", "-t", "5", "--wrap", "sleep 300", "--parsable")
    cancelled: list[str] = []

    def let_go(ran: Any) -> None:
        if "expected to start" in ran.shown and not cancelled:
            cancelled.append(run("scancel", hog.strip()))

    try:
        first, other = kernels[0], notebook_kernel(PLACE / "other")
        kernels.append(other)
        assert "in file.sqfs" in first.run("%fx use hpc --image file.sqfs").stream()
        ran = first.remote("import os; x = 6; open('/opt/image/name').read()", while_running=let_go)
        print(ran.shown)
        assert ran.result == "'file'", ran
        assert "pending (" in ran.shown
        assert "the container of file.sqfs is starting on node n" in ran.shown
        # Later cells run in the same process: no other container is started for them.
        process = first.remote("os.getpid()").result
        for _ in range(20):
            later = first.remote("x * 7, os.getpid()")
            assert later.result == f"(42, {process})"
            assert "is starting on node" not in later.shown
        # A function in another image, on the same node.
        assert first.run(FUNCTION).result == "'tree'"
        # Another notebook: the same container, and nothing of the first one.
        other.run("%fx use hpc --image file.sqfs")
        first.remote("import os, tempfile\nos.environ['MINE'] = '1'\ntempfile.mkstemp()\nopen('mine', 'w').close()")
        seen = (
            "import os, tempfile\n'x' in globals(), os.getenv('MINE'), os.listdir(), os.listdir(tempfile.gettempdir())"
        )
        assert other.remote(seen).result == "(False, None, [], [])"
        assert len(jobs()) == 1
        told = first.run("%fx").stream()
        print(told)
        assert "on node n" in told
        assert "if it stays so" in told
        end = time.monotonic() + 40
        while jobs():
            assert time.monotonic() < end
            await asyncio.sleep(0.2)
        ran = first.remote("x")
        print(ran.shown)
        assert "the one before ended (it was idle for 15 s)" in ran.shown
        assert ran.result == "6"
    finally:
        subprocess.run(["scancel", hog.strip()], check=False)
        for kernel in kernels:
            kernel.close()
        print(fx("endpoint", "stop", "hpc"))
        fx("up", "--down")
    assert not jobs()
    assert not ours()


CELL = """
import os, socket, tempfile, time
secret = {secret!r}
os.environ['MY_OWN'] = secret
open('mine', 'w').write(secret)
open(os.path.join(tempfile.gettempdir(), 'mine'), 'w').write(secret)
listener = socket.socket(socket.AF_UNIX)
listener.bind('door')
listener.listen()
"""


def large(secret: str) -> str:
    """A result that goes through a file."""
    return secret * 100_000


@story
async def two_users_share_a_node() -> None:
    """Each tries what the other has there: processes, files, sockets, ports. Nothing can be read, nothing is harmed."""
    me, shared = pwd.getpwuid(os.getuid()).pw_name, Path(os.environ["FX_TEST_SHARED"])
    neighbour = os.environ["FX_TEST_NEIGHBOUR"]
    secret = f"secret-of-{me}-"
    extra = 'c.Blocks.max_blocks = 1\nc.Blocks.cores_per_node = 4\nc.Blocks.scheduler_options = ["#SBATCH -w n1"]\n'
    async with endpoint(f"{extra}c.Blocks.scratch = {str(shared)!r}\n") as (hub, agent):
        await agent.wants(2)
        await agent.blocks(1)
        function = hub.function(large)
        (task,) = hub.lease(hub.task(function, args(secret)))
        assert (await hub.result(task)).state == TaskState.SUCCEEDED
        host = await hub.session()
        boxed = await hub.session(environment=f"charliecloud:{IMAGES}/tree")
        for session in (host, boxed):
            await succeeds(hub, session, CELL.format(secret=secret))
        await met(shared, me, neighbour, "ready")
        seen = json.loads(await succeeds(hub, host, Path(prying.__file__).read_text() + f"\nprint(pry({neighbour!r}))"))
        print(me, "looked at", seen["looked"])
        assert not seen["read"], seen
        assert f"secret-of-{neighbour}" not in json.dumps(seen)
        # What was looked for is there: nobody was kept from finding it by its not being.
        assert seen["looked"]["processes"] > 4, seen
        assert seen["looked"]["folders"] >= 2, seen
        assert seen["looked"]["ports"] >= 1, seen
        await met(shared, me, neighbour, "looked")
        assert await succeeds(hub, boxed, "print(secret)") == f"{secret}\n"
        await met(shared, me, neighbour, "done")
        await agent.stop_for_good()
        await agent.nothing_left()


async def succeeds(hub: Hub, session: str, source: str) -> str:
    result = await hub.result(hub.cell(session, source), 60)
    assert result.error is None, result.error
    return hub.text(result.task_id).decode()


async def met(shared: Path, me: str, neighbour: str, where: str) -> None:
    """Both are that far."""
    (shared / f"{me}.{where}").touch()
    end = time.monotonic() + 60
    while not (shared / f"{neighbour}.{where}").exists():
        assert time.monotonic() < end, "the neighbour does not come"
        await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(STORIES[sys.argv[1]]())
