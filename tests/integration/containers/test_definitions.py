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
from fake_endpoint_hub import AgentProcess, endpoint, unpack
from made_images import Images

from jupyter_fx.payload import definitions
from jupyter_fx.protocol.messages import Resources
from jupyter_fx_worker import imagebuilds

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="containers are for Linux")

SYSTEM_FIRST = f"/usr/bin{os.pathsep}{os.environ.get('PATH', os.defpath)}"


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
        env={**os.environ, "USER": "x", **env, "PATH": SYSTEM_FIRST},
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

    asyncio.run(tell())
