"""Tasks and sessions in real containers of every runtime that is installed: one contract for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import cloudpickle
import psutil
import pytest
from fake_endpoint_hub import AgentProcess, Hub, args, endpoint, unpack
from made_images import Images

from jupyter_fx.endpoint.runtimes.settings import ContainerSpec
from jupyter_fx.endpoint.runtimes.trial import python_of
from jupyter_fx.errors import UsageError
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import Resources, Result, SessionClosed, SessionEvent

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="containers are for Linux")

# Functions of this module travel by value: it is no package inside.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

Story = Callable[[Hub, AgentProcess], Coroutine[Any, Any, None]]


def told(story: Story, config: str = "", **env: str) -> None:
    async def tell() -> None:
        async with endpoint(config=f"c = get_config()\n{config}", **env) as (hub, agent):
            await story(hub, agent)

    asyncio.run(tell())


async def run(hub: Hub, image: str, function: Callable[..., Any], *values: Any, **options: Any) -> Result:
    task = hub.task(hub.function(function), args(*values), resources=Resources(environment=image), **options)
    (task_id,) = hub.lease(task)
    return await hub.result(task_id, 60)


def value(result: Result) -> Any:
    assert result.error is None, result.error
    return unpack(result.payload)


def look() -> dict[str, Any]:
    import os
    import sys

    print("from inside")
    return {
        "python": sys.version_info[:2],
        "root": sorted(os.listdir("/")),  # noqa: PTH208 - as short as it is there
        "opt": os.listdir("/opt"),  # noqa: PTH208
        "env": dict(os.environ),
        "argv": open("/proc/self/cmdline").read(),
        "uid": os.getuid(),
    }


def test_a_task_runs_in_the_image_it_names_and_the_image_is_recorded_with_it(image: str) -> None:
    async def story(hub: Hub, agent: AgentProcess) -> None:
        result = await run(hub, image, look)
        seen = value(result)
        # The image has a folder that machines do not have, and none of ours.
        assert seen["opt"] == ["image"]
        assert "usr" in seen["root"]
        assert "boot" not in seen["root"]
        assert hub.text(result.task_id) == b"from inside\n"
        assert result.usage is not None
        assert result.usage["image"] == image
        assert re.fullmatch(r"(sha256|blake3|tree):[0-9a-f]{64}", result.usage["digest"])
        # A second one finds it warm: no second container is started.
        assert value(await run(hub, image, look))["root"] == seen["root"]
        warm = next(one for one in reversed(hub.statuses) if one.info.get("containers"))
        assert [one["environment"] for one in warm.info["containers"]].count(image) == 1
        assert agent.process is not None

    told(story)


def test_nothing_of_the_hosts_environment_comes_in_but_what_its_owner_gives(image: str) -> None:
    async def story(hub: Hub, agent: AgentProcess) -> None:
        seen = value(await run(hub, image, look))
        assert seen["env"]["GIVEN_TO_ALL"] == "a value"
        assert "OF_THE_HOST" not in seen["env"]
        assert agent.process is not None
        for process in psutil.Process(agent.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                assert "a value" not in " ".join(process.cmdline())

    told(story, "c.Endpoint.env = {'GIVEN_TO_ALL': 'a value'}", OF_THE_HOST="not for containers")


def test_the_worker_tree_is_no_longer_there_or_cannot_be_written_where_the_runtime_can(image: str) -> None:
    def write() -> str:
        try:
            with open("/tmp/.jupyter-fx/tree/worker.zip", "r+b") as file:
                file.write(b"x")
        except OSError as error:
            return type(error).__name__
        return "written"

    async def story(hub: Hub, _agent: AgentProcess) -> None:
        said = value(await run(hub, image, write))
        root = os.geteuid() == 0
        if "charliecloud" in image or image.endswith(".sqfs"):
            # It has no read-only mounts: the file's mode is what there is, which does not stop root.
            assert said == ("written" if root else "PermissionError")
        else:
            assert said in {"OSError", "PermissionError"}

    told(story)


def test_large_arguments_and_results_travel_by_files_that_both_sides_see(image: str) -> None:
    def double(data: bytes) -> bytes:
        return data + data

    async def story(hub: Hub, _agent: AgentProcess) -> None:
        result = await run(hub, image, double, b"x" * 600_000)
        assert result.blob is not None
        assert unpack(bytes(hub.blobs[result.blob.digest])) == b"x" * 1_200_000

    told(story)


def test_data_directories_and_home_are_seen_as_configured(image: str, tmp_path: Path) -> None:
    tmp_path.joinpath("data").mkdir()
    tmp_path.joinpath("data", "file").write_text("some data")

    def read(path: str) -> list[Any]:
        import os

        try:
            with open(f"{path}/new", "w") as file:
                file.write("written inside")
            written = True
        except OSError:
            written = False
        return [open(f"{path}/file").read(), written, os.environ["HOME"], os.path.isdir(os.environ["HOME"])]  # noqa: PTH112 - as above

    async def story(hub: Hub, _agent: AgentProcess) -> None:
        text, written, home, there = value(await run(hub, image, read, "/mnt"))
        assert text == "some data"
        assert written
        assert there
        assert home == "/tmp"
        assert (tmp_path / "data" / "new").read_text() == "written inside"

    told(story, f"c.Containers.data = ['{tmp_path}/data:/mnt']\nc.Containers.home = False")


def test_a_crash_in_a_container_is_named_and_spares_the_others(image: str) -> None:
    def end() -> None:
        import ctypes

        ctypes.string_at(0)

    def fine() -> int:
        return 5

    async def story(hub: Hub, _agent: AgentProcess) -> None:
        assert value(await run(hub, image, fine)) == 5
        result = await run(hub, image, end)
        assert result.lost
        assert result.error is not None
        assert result.error.details["signal"] == "SIGSEGV"
        assert value(await run(hub, image, fine)) == 5

    told(story)


def test_a_running_task_is_cancelled_and_what_it_started_ends_too(image: str) -> None:
    def stay() -> None:
        import subprocess
        import time

        subprocess.Popen(["sleep", "4711"])
        print("started", flush=True)
        time.sleep(60)

    async def story(hub: Hub, _agent: AgentProcess) -> None:
        task = hub.task(hub.function(stay), args(), resources=Resources(environment=image))
        (task_id,) = hub.lease(task)
        await hub.wait(lambda: hub.text(task_id), 60)
        hub.cancel(task_id)
        result = await hub.result(task_id)
        assert result.state == TaskState.CANCELLED

    told(story)
    assert not _processes("sleep 4711")


def _processes(words: str) -> list[int]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if words in " ".join(process.cmdline()):
                found.append(process.pid)
    return found


# Sessions.


def test_sessions_of_two_images_and_the_host_live_side_by_side(image: str) -> None:
    async def story(hub: Hub, _agent: AgentProcess) -> None:
        first = await hub.session(environment=image)
        second = await hub.session(environment=image)
        third = await hub.session()
        told = [one for one in hub.sessions if isinstance(one, SessionEvent) and one.state == 3]
        assert told[0].info["image"] == image
        assert told[0].info["digest"]
        assert "image" not in told[2].info
        source = "import os, tempfile\nopen('mine', 'w').write('x')\nos.environ['MINE'] = 'yes'\n"
        source += "file = tempfile.NamedTemporaryFile(delete=False); value = 1"
        await hub.result(hub.cell(first, source))
        result = await hub.result(
            hub.cell(
                second,
                "import os, tempfile\nassert 'value' not in globals()\n"
                "print(os.path.exists('mine'), 'MINE' in os.environ, os.listdir(tempfile.gettempdir()))",
            ),
        )
        assert result.error is None, result.error
        assert hub.text(result.task_id) == b"False False []\n"
        result = await hub.result(hub.cell(first, "print(value, os.path.exists('mine'))"))
        assert hub.text(result.task_id) == b"1 True\n"
        result = await hub.result(hub.cell(third, f"import os; print(os.path.exists({str(Path.home())!r}))"))
        assert hub.text(result.task_id) == b"True\n"  # the host's own session

    told(story)


def test_an_interrupt_stops_a_cell_in_a_container_and_keeps_its_session(image: str) -> None:
    async def story(hub: Hub, _agent: AgentProcess) -> None:
        session = await hub.session(environment=image)
        await hub.result(hub.cell(session, "kept = 7"))
        task_id = hub.cell(session, "print('begun', flush=True)\nwhile True: pass")
        await hub.wait(lambda: hub.text(task_id))
        hub.cancel(task_id)
        assert (await hub.result(task_id)).state == TaskState.CANCELLED
        result = await hub.result(hub.cell(session, "print(kept)"))
        assert hub.text(result.task_id) == b"7\n"

    told(story)


# What cannot be started.


def test_a_session_in_an_image_that_is_not_there_ends_with_the_sentence(images: Images) -> None:
    async def story(hub: Hub, _agent: AgentProcess) -> None:
        session = hub.ask_session(environment="/nowhere/torch.sqfs")
        closed = await hub.wait(lambda: [one for one in hub.sessions if isinstance(one, SessionClosed)])
        assert closed[0].session_id == session
        assert "there is no image '/nowhere/torch.sqfs'" in closed[0].reason
        assert closed[0].error is not None
        assert closed[0].error.etype == "UsageError"

    told(story)


def test_a_squashfs_file_is_mounted_whatever_it_is_called_unless_it_is_damaged(images: Images, tmp_path: Path) -> None:
    if shutil.which("ch-run") is None or not Path(images.squashfs).exists():
        pytest.skip("ch-run and mksquashfs are not installed")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("/dev/fuse cannot be opened by this user")
    content = Path(images.squashfs).read_bytes()
    (tmp_path / "torch.img").write_bytes(content)
    assert python_of(str(tmp_path / "torch.img"), ContainerSpec())[1] == "charliecloud"
    (tmp_path / "half.sqfs").write_bytes(content[: len(content) // 2])
    with pytest.raises(UsageError, match=r"half.sqfs is damaged or incomplete: copy it again"):
        python_of(str(tmp_path / "half.sqfs"), ContainerSpec())


def test_without_fuse_the_cure_is_a_directory(images: Images) -> None:
    if shutil.which("ch-run") is None or not Path(images.squashfs).exists():
        pytest.skip("ch-run and mksquashfs are not installed")
    if os.geteuid() != 0:
        pytest.skip("/dev/fuse is hidden by root")
    program = (
        "from jupyter_fx.endpoint.runtimes.settings import ContainerSpec\n"
        "from jupyter_fx.endpoint.runtimes.trial import python_of\n"
        f"try: python_of({images.squashfs!r}, ContainerSpec())\n"
        "except ValueError as error: print(error)"
    )
    hidden = ["unshare", "-m", "sh", "-c", 'mount --bind /dev/null /dev/fuse && exec "$@"', "sh", sys.executable, "-c"]
    ran = subprocess.run([*hidden, program], capture_output=True, text=True, timeout=120, check=False)
    assert "cannot be mounted on this node: fuse: mount failed" in ran.stdout, ran.stdout + ran.stderr
    assert f"`unsquashfs -d DIRECTORY {images.squashfs}`" in ran.stdout


def broken(images: Images, tmp_path: Path, how: str) -> str:
    """The image, with another Python."""
    root = tmp_path / how
    subprocess.run(["cp", "-r", "--reflink=auto", images.directory, root], check=True)
    python = root / "usr/local/bin/python3"
    for one in (root / "usr/local/bin").iterdir():
        one.unlink()
    if how == "old":
        python.write_text("#!/bin/sh\necho 'jupyter-fx: this is Python 3.6.8' >&2\nexit 78\n")
    elif how == "hanging":
        python.write_text("#!/bin/sh\nsleep 4712\n")
    elif how == "foreign":
        python.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x16\x00\x01\x00\x00\x00" + bytes(100))
    elif how == "failing":
        python.write_text("#!/bin/sh\necho 'a library is missing' >&2\nexit 3\n")
    if how != "none":
        python.chmod(0o755)
    subprocess.run(["chmod", "-R", "a+rX", tmp_path], check=True)
    return str(root)


@pytest.mark.parametrize("runtime", ["charliecloud", "bubblewrap", "podman"])
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("none", "has no 'python3': install Python 3.9 or newer in it"),
        ("old", "has Python 3.6.8, and jupyter-fx needs 3.9 or newer"),
        ("hanging", "did not come up within 2 s and was stopped"),
        ("foreign", "is for another kind of processor: this node is a"),
        ("failing", "cannot be started (status 3); it said: a library is missing"),
    ],
)
def test_what_is_wrong_with_an_image_is_one_sentence(
    images: Images, tmp_path: Path, runtime: str, how: str, said: str
) -> None:
    program = {"charliecloud": "ch-run", "bubblewrap": "bwrap", "podman": "podman"}[runtime]
    if shutil.which(program) is None or (runtime == "podman" and not images.podman):
        pytest.skip(f"{program} cannot be used here")
    root = broken(images, tmp_path, how)
    name = f"{runtime}:{root}"
    if runtime == "podman":
        name = f"localhost/jupyter-fx-broken-{how}:1"
        tar = subprocess.run(["tar", "-C", root, "-c", "."], capture_output=True, check=True)
        subprocess.run(["podman", "import", "--quiet", "-", name], input=tar.stdout, check=True, capture_output=True)

    async def story(hub: Hub, agent: AgentProcess) -> None:
        result = await run(hub, name, look)
        assert result.error is not None
        assert result.error.etype == "UsageError"
        assert said in result.error.message
        assert "\n" not in result.error.message
        # The next one is told so without another try, which would be another error in the log.
        assert (await run(hub, name, look)).error == result.error
        # And the endpoint works on.
        assert value(await hub.call(int, 3)) == 3
        assert agent.log.count("ERROR") == 1

    try:
        # Only what says nothing is given up: the others may take their time.
        told(story, "c.Containers.start_seconds = 2.0" if how == "hanging" else "")
        assert not _processes("sleep 4712")
    finally:
        if runtime == "podman":
            subprocess.run(["podman", "rmi", "--force", name], capture_output=True, check=False)


def test_an_allow_list_holds_for_names_paths_and_digests(images: Images) -> None:
    if shutil.which("ch-run") is None:
        pytest.skip("ch-run is not installed")
    folder = Path(images.directory).parent

    async def story(hub: Hub, _agent: AgentProcess) -> None:
        assert value(await run(hub, f"charliecloud:{images.directory}", look))
        for name in (
            f"{folder}/image.sqfs",
            f"{images.directory}/../image.sqfs",
            "docker.io/library/python:3.12",
            "-x",
        ):
            task = hub.task(hub.function(look), args(), resources=Resources(environment=name))
            hub.lease(task)
            await hub.wait(lambda task=task: [n for n in hub.nacks if n.tasks[0][0] == task.task_id])
            assert hub.nacks[-1].final
            assert re.search(r"c\.Containers\.images|is no image", hub.nacks[-1].error.message)

    told(story, f"c.Containers.images = ['{folder}/root*']")

    async def by_digest(hub: Hub, _agent: AgentProcess) -> None:
        result = await run(hub, f"charliecloud:{images.directory}", look)
        assert result.error is not None
        assert "is not among those that this endpoint allows" in result.error.message

    told(by_digest, f"c.Containers.images = ['blake3:{'0' * 64}']")


# Ends.


def _ours() -> list[str]:
    """What is left of containers: processes, and what podman knows."""
    found = [f"{process.pid}" for process in psutil.process_iter() if _inside(process)]
    if shutil.which("podman"):
        listed = ["podman", "ps", "--all", "--quiet", "--filter", "label=org.jupyter-fx.manager"]
        found += subprocess.run(listed, capture_output=True, text=True, check=False).stdout.split()
    return found


def _inside(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return os.getuid() == process.uids().real and "/tmp/.jupyter-fx/tree" in " ".join(process.cmdline())
    return False


def test_nothing_is_left_when_the_agent_is_killed(image: str) -> None:
    """The agent holds the manager here. Rootless podman's containers survive that; ours end by themselves."""

    def stay() -> None:
        import subprocess
        import time

        subprocess.Popen(["sleep", "4713"], start_new_session=True)
        print("started", flush=True)
        time.sleep(60)

    async def story(hub: Hub, agent: AgentProcess) -> None:
        (task_id,) = hub.lease(hub.task(hub.function(stay), args(), resources=Resources(environment=image)))
        await hub.wait(lambda: hub.text(task_id), 60)
        await agent.kill()
        # What was begun in a process namespace of its own ends at once; the rest, by the next start at the latest.
        await agent.start()
        end = time.monotonic() + 60
        # Charliecloud has no process namespace: what left its tree there is nobody's.
        apart = "charliecloud" not in image and not image.endswith(".sqfs")
        while (_ours() or (apart and _processes("sleep 4713"))) and time.monotonic() < end:
            await asyncio.sleep(0.1)
        assert not _ours()
        assert not (apart and _processes("sleep 4713"))

    try:
        told(story)
    finally:
        for pid in _processes("sleep 4713"):
            os.kill(pid, 9)


def test_an_idle_container_is_stopped_and_started_again_when_it_is_wanted(image: str) -> None:
    async def story(hub: Hub, agent: AgentProcess) -> None:
        value(await run(hub, image, look))
        await hub.wait(lambda: "is stopped: idle" in agent.log, 30)
        assert value(await run(hub, image, look))

    told(story, "c.Containers.idle_seconds = 0.5")
    assert not _ours()


def test_single_use_gives_each_task_a_container_of_its_own(image: str) -> None:
    def mark() -> list[str]:
        import os

        with open("/tmp/mark", "a") as file:
            file.write("x")
        return [open("/tmp/mark").read(), os.environ["HOME"]]

    async def story(hub: Hub, _agent: AgentProcess) -> None:
        function = hub.function(mark)
        ids = hub.lease(*[hub.task(function, args(), resources=Resources(environment=image)) for _ in range(3)])
        for one in ids:
            assert value(await hub.result(one, 60))[0] == "x"

    told(story, "c.Containers.single_use = ['*']")
    assert not _ours()


def number(n: int) -> int:
    return n


def test_more_images_than_a_node_may_keep_take_turns_and_none_waits_for_ever(images: Images, tmp_path: Path) -> None:
    if shutil.which("ch-run") is None:
        pytest.skip("Charliecloud is not installed")
    names = [images.directory]
    for name in "abc":
        subprocess.run(["cp", "-a", "--reflink=auto", images.directory, tmp_path / name], check=True)
        names.append(str(tmp_path / name))

    async def story(hub: Hub, agent: AgentProcess) -> None:
        function = hub.function(number)
        tasks = [
            hub.task(function, args(n), resources=Resources(environment=f"charliecloud:{names[n * 7 % 4]}"))
            for n in range(40)
        ]
        ids = hub.lease(*tasks)
        assert [value(await hub.result(one, 60)) for one in ids] == list(range(40))

    told(story, "c.Containers.most = 2\n")
