"""Images built from definitions at a real endpoint, by every builder that is here, on a base made on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from fake_endpoint_hub import AgentProcess, args, endpoint, unpack
from made_images import Images

from jupyter_fx.payload import definitions
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import Resources
from jupyter_fx_worker import imagebuilds, kept

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="containers are for Linux")

SYSTEM_FIRST = f"/usr/bin{os.pathsep}{os.environ.get('PATH', os.defpath)}"

GIT = {f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
"""ch-image's cache commits nothing for somebody without a name."""


class Maker(NamedTuple):
    """A builder with a base in its store, and what the endpoint must know of it."""

    runtime: str
    base: str
    env: dict[str, str]


@pytest.fixture(params=["charliecloud", "podman"])
def maker(request: pytest.FixtureRequest, images: Images, tmp_path: Path) -> Iterator[Maker]:
    if request.param == "podman":
        if not images.podman:
            pytest.skip("podman cannot make an image here")
        yield Maker("podman", images.podman, {})
        return
    env = {"CH_IMAGE_STORAGE": str(tmp_path / "store")}
    base = f"fxbase:{uuid.uuid4().hex[:8]}"
    if shutil.which("ch-image") is None:
        pytest.skip("ch-image is not installed (charliecloud-builders)")
    imported = subprocess.run(
        ["ch-image", "import", images.directory, base],
        env={**os.environ, "USER": "x", **GIT, **env, "PATH": SYSTEM_FIRST},
        capture_output=True,
        text=True,
        check=False,
    )
    if imported.returncode:
        pytest.skip(f"ch-image cannot be used here: {imported.stderr.strip()[-200:]}")
    yield Maker("charliecloud", base, env)


@contextlib.asynccontextmanager
async def cleared(maker: Maker, agent: AgentProcess) -> AsyncIterator[Path]:
    """Where they are kept; what they left in Podman's store goes with the test."""
    root = agent.home / "environments"
    try:
        yield root
    finally:
        if maker.runtime == "podman":
            for path in root.glob("?" * 40):
                tag = imagebuilds.tag_of("podman", str(root), path.name)
                subprocess.run(["podman", "rmi", "--force", tag], capture_output=True, check=False)


def test_it_is_built_by_a_task_and_tasks_and_sessions_run_in_it(maker: Maker, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "list.txt").write_text("of the folder\n")
    (folder / "Dockerfile").write_text(
        f"ARG BASE={maker.base}\nFROM ${{BASE}}\nENV FX_SAID=inside\n"
        "COPY data /opt/data\nRUN echo made by RUN \\\n # why\n > /etc/fx-made\n"
    )
    sent = definitions.read(folder / "Dockerfile")
    needs = Resources(environment=definitions.name_of(sent))

    def look() -> tuple[str, str, str | None]:
        import os
        import pathlib

        read = [pathlib.Path(path).read_text() for path in ("/etc/fx-made", "/opt/data/list.txt")]
        return read[0], read[1], os.environ.get("FX_SAID")

    async def tell() -> None:
        config = f"c.Endpoint.env = {maker.env!r}\nc.Containers.runtime = {maker.runtime!r}\n"
        async with endpoint(config=config) as (hub, agent), cleared(maker, agent) as root:
            early = await hub.call(look, resources=needs)
            assert early.error is not None
            assert "is not at this endpoint" in early.error.message
            built = await hub.call(definitions.build, *sent)
            assert built.error is None, (built.error, hub.text(built.task_id))
            assert unpack(built.payload)["built"]
            assert b"RUN echo made by RUN" in hub.text(built.task_id)
            if maker.runtime == "podman":
                # As on a node that did not build it.
                tag = imagebuilds.tag_of("podman", str(root), unpack(built.payload)["name"])
                subprocess.run(["podman", "rmi", "--force", tag], capture_output=True, check=True)
            ran = await hub.call(look, resources=needs)
            assert ran.error is None, ran.error
            assert unpack(ran.payload) == ("made by RUN\n", "of the folder\n", "inside")
            assert ran.usage is not None
            assert ran.usage["image"] == needs.environment
            assert ran.usage["digest"]
            again = await hub.call(definitions.build, *sent)
            assert not unpack(again.payload)["built"]
            session = await hub.session(environment=needs.environment)
            cell = hub.cell(session, "print(open('/etc/fx-made').read(), end='')")
            await hub.result(cell)
            assert hub.text(cell) == b"made by RUN\n"
            assert not list(root.glob("*.part-*"))
            # It runs, so it stays, however long ago it was used.
            name = needs.environment.removeprefix(definitions.PREFIX)
            os.utime(root / f"{name}.used", (1e9, 1e9))
            assert kept.collect(str(root), 1, 1) == []
            assert imagebuilds.is_there(str(root), name)

    asyncio.run(tell())


def test_a_build_that_fails_names_its_line_and_one_that_is_cancelled_leaves_nothing(
    maker: Maker, tmp_path: Path
) -> None:
    def sent(text: str) -> definitions.Sent:
        (tmp_path / "Dockerfile").write_text(text)
        return definitions.read(tmp_path / "Dockerfile")

    async def tell() -> None:
        config = f"c.Endpoint.env = {maker.env!r}\nc.Containers.runtime = {maker.runtime!r}\n"
        async with endpoint(config=config) as (hub, agent), cleared(maker, agent) as root:
            wrong = await hub.call(definitions.build, *sent(f"FROM {maker.base}\n\nRUN nosuchprogram\n"))
            assert wrong.error is not None
            assert wrong.error.message.startswith("line 3, `RUN nosuchprogram`, ended with status 127: ")
            assert "not found" in wrong.error.message
            nothing = await hub.call(definitions.build, *sent("FROM localhost/nosuchbase:1\n"))
            assert nothing.error is not None
            assert "has no image localhost/nosuchbase:1 on" in nothing.error.message
            # What others run on this machine, or have left there, is not to be taken for it.
            seconds = str(10**6 + uuid.uuid4().int % 10**6)
            slow = sent(f"FROM {maker.base}\nRUN echo begun; sleep {seconds}\n")
            (task,) = hub.lease(hub.task(hub.function(definitions.build), args(*slow)))
            await hub.wait(lambda: b"RUN echo begun" in hub.text(task), 30)
            await hub.wait(lambda: sleeping(seconds), 30)
            hub.cancel(task)
            assert (await hub.result(task)).state == TaskState.CANCELLED
            await hub.wait(lambda: not sleeping(seconds), 30)
            assert {path.suffix for path in root.iterdir()} <= {".lock"}
            if maker.runtime == "podman":
                assert f"{maker.base} " not in left_working()

    asyncio.run(tell())


def sleeping(seconds: str) -> bool:
    """Whether the instruction of the slow one runs."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes() == f"sleep\0{seconds}\0".encode():
                return True
    return False


def left_working() -> str:
    """The bases of the containers in which Podman's builds work."""
    asked = ["podman", "ps", "--all", "--external", "--format", "{{.Image}} {{.Status}}"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout
