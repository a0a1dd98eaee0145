"""Images on nodes of a real Slurm, as an ordinary user: `python stories_images.py NAME`. test_images.py runs them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from fake_endpoint_hub import args, unpack
from stage import PLACE, STORIES, endpoint, jobs, ours, run, story

from jupyter_fx.protocol.messages import Resources

IMAGES = Path(os.environ["FX_TEST_IMAGES"])


@contextmanager
def three_images() -> Iterator[dict[str, str]]:
    """An image as a directory, one as a file, one in the user's own store of podman: each by the word in it."""
    found = {
        "tree": f"charliecloud:{IMAGES}/tree",
        "file": f"{IMAGES}/file.sqfs",
        "other": f"charliecloud:{IMAGES}/other",
    }
    name = f"localhost/fx-{uuid.uuid4().hex[:8]}:1"
    if (IMAGES / "store.tar").exists():
        command = ["podman", "import", "--quiet", str(IMAGES / "store.tar"), name]
        # It leaves a process that holds the user's namespace: no test's to end.
        env = {key: value for key, value in os.environ.items() if key != "JUPYTER_FX_TEST_RUN"}
        ran = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if ran.returncode:
            print("podman cannot be used here:", ran.stderr[-500:])
        else:
            found["store"] = name
            del found["other"]
    try:
        yield found
    finally:
        if "store" in found:
            subprocess.run(["podman", "rmi", "--force", name], capture_output=True, check=False)


def look(folder: str, n: int, seconds: float) -> tuple[int, str, str]:
    """Leaves a mark that it ran; which image, and what it can see of a secret."""
    import os
    import time

    with open(f"{folder}/{n}", "a") as file:
        file.write("x")
    time.sleep(seconds)
    print("task", n)
    return n, open("/opt/image/name").read().strip(), os.environ.get("A_SECRET_TOKEN", "")


def left_over() -> list[str]:
    """What is left of containers on any node: processes, mounts, directories, and what podman knows."""
    found = ours()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if path.stat().st_uid == os.getuid():
                command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if "/tmp/.jupyter-fx/tree" in command or "conmon" in command or "sleep 4714" in command:
                    found.append(f"{path.name} {command[:200]}")
        except OSError:
            continue
    found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if "jupyter-fx" in line]
    for top in (PLACE / f"jupyter-fx-{os.getuid()}", PLACE / "scratch"):
        found += [str(path) for path in top.rglob("*")] if top.exists() else []
    listed = subprocess.run(["podman", "ps", "--all", "--quiet"], capture_output=True, text=True, check=False)
    return found + [f"podman {one}" for one in listed.stdout.split()]


def processes() -> set[str]:
    """Those of a block, less its keeper, and what its containers are known by elsewhere."""
    return {one for one in left_over() if "endpoint.node" not in one}


async def gone(seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while left := left_over():
        assert time.monotonic() < end, left
        await asyncio.sleep(0.2)


@story
async def a_thousand_tasks_over_four_nodes_in_three_images() -> None:
    """Through one endpoint and its four jobs, whatever the image."""
    with three_images() as images:
        folder = PLACE / "marks"
        folder.mkdir()
        async with endpoint(f"c.Containers.data = [{str(folder)!r}]\n") as (hub, agent):
            await agent.wants(100)
            await agent.blocks(4)
            before = jobs()
            function = hub.function(look)
            names = list(images)
            begun = time.monotonic()
            wanted: dict[str, str] = {}
            for n in range(1000):
                word = names[n % 3]
                task = hub.task(function, args(str(folder), n, 0.01), resources=Resources(environment=images[word]))
                wanted[task.task_id] = word
                hub.lease(task)
            seen: list[tuple[int, str, str]] = []
            for one, word in wanted.items():
                result = await hub.result(one, 120)
                assert result.error is None, result.error
                n, image, secret = unpack(result.payload)
                assert image == word
                assert not secret
                assert hub.text(one) == f"task {n}\n".encode()
                assert result.usage is not None
                assert result.usage["image"] == images[word]
                seen.append((n, result.usage["node"], image))
            print("1,000 tasks in", names, time.monotonic() - begun, "s")
            assert sorted(n for n, _, _ in seen) == list(range(1000))
            assert {path.read_text() for path in folder.iterdir()} == {"x"}
            counts = {node: sum(1 for _, at, _ in seen if at == node) for node in ("n1", "n2", "n3", "n4")}
            print(counts)
            assert min(counts.values()) > 50
            assert jobs() == before
            await agent.stop_for_good()
            await agent.nothing_left()
        await gone()


def stay() -> None:
    """Runs, and leaves something behind that has left its tree."""
    import subprocess
    import time

    subprocess.Popen(["sh", "-c", "setsid sleep 4714 & exit"], start_new_session=True).wait()
    print("started", flush=True)
    time.sleep(100)


@story
async def whatever_ends_a_manager_nothing_of_its_containers_is_left() -> None:
    """Killed with -9 and started anew by its keeper, then cancelled with its job; containers are where they should."""
    (PLACE / "scratch").mkdir()
    with three_images() as images:
        config = f"c.Blocks.max_blocks = 1\nc.Containers.scratch = {str(PLACE / 'scratch')!r}\n"
        async with endpoint(config) as (hub, agent):
            function = hub.function(stay)
            for end in ("kill -9", "scancel"):
                await agent.wants(1)
                await agent.blocks(1)
                ids = hub.lease(
                    *[
                        hub.task(function, args(), resources=Resources(environment=one))
                        for one in list(images.values())[1:]
                    ]
                )
                await hub.wait(lambda ids=ids: all(hub.text(one) for one in ids), 60)
                held = processes()
                if end == "scancel":
                    await agent.wants(0)
                    run("scancel", *jobs())
                else:
                    os.kill(next(int(one.split()[0]) for one in ours() if "manager_main" in one), 9)
                for one in ids:
                    result = await hub.result(one, 30)
                    assert result.lost, result
                if end == "scancel":
                    # Its last words come before its end.
                    await hub.wait(lambda held=held: not held & processes(), 20)
                assert not held & processes()
                print("gone after", end, len(held))
            await agent.stop_for_good()
            await agent.nothing_left()
        await gone()


if __name__ == "__main__":
    asyncio.run(STORIES[sys.argv[1]]())
