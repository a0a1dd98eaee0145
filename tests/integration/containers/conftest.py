"""Images for the tests of containers, made on this machine without any registry, and the runtimes that are here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from made_images import Images  # noqa: E402

TESTBED = Path(__file__).parents[2] / "testbed"
GIVEN = "JUPYTER_FX_TEST_IMAGES"
"""Where images are already: set when these tests are run a second time, as an ordinary user."""
USER_SITE = "/usr/bin/python3"


@pytest.fixture(scope="session")
def images() -> Iterator[Images]:
    if not sys.platform.startswith("linux"):
        pytest.skip("containers are for Linux")
    given = os.environ.get(GIVEN)
    # Not a directory of pytest's, which nobody else may read: some tests run as another user.
    folder = Path(given) if given else Path(tempfile.mkdtemp(prefix="fximages"))
    if not given:
        _make_ready()
        folder.chmod(0o755)
        # The system's Python: that of a virtual environment may lie where ordinary users cannot read.
        python = USER_SITE if Path(USER_SITE).exists() else sys.executable
        subprocess.run([TESTBED / "image-build", folder], check=True, env={**os.environ, "PYTHON": python})
    name = ""
    if shutil.which("podman"):
        name = f"localhost/jupyter-fx-test:{uuid.uuid4().hex[:8]}"
        # An ordinary user's first podman leaves a process that holds the user namespace: it is not ours to end.
        env = {key: value for key, value in os.environ.items() if key != "JUPYTER_FX_TEST_RUN"}
        load = ["podman", "import", "--quiet", folder / "image.tar", name]
        loaded = subprocess.run(load, env=env, capture_output=True, text=True, check=False)
        if loaded.returncode:
            print("podman cannot be used here:", loaded.stderr[-500:])
            name = ""
    yield Images(str(folder / "rootfs"), str(folder / "image.sqfs"), name)
    if name:
        subprocess.run(["podman", "rmi", "--force", name], capture_output=True, check=False)
    if not given:
        shutil.rmtree(folder, ignore_errors=True)


def _make_ready() -> None:
    if os.geteuid() != 0:
        return
    if shutil.which("podman") and shutil.which("runc"):
        # Without it podman works on most machines; where its own files are there already, they are left alone.
        subprocess.run([TESTBED / "podman-setup"], capture_output=True, check=False)
    fuse = Path("/dev/fuse")
    if fuse.exists():
        # As udev makes it: SquashFS images are mounted by the user.
        fuse.chmod(0o666)


@pytest.fixture(params=["charliecloud", "charliecloud-squashfs", "podman", "bubblewrap"])
def image(request: pytest.FixtureRequest, images: Images) -> str:
    """A name of an image for each runtime that this machine has."""
    need = {"charliecloud": "ch-run", "podman": "podman", "bubblewrap": "bwrap"}[request.param.partition("-")[0]]
    if shutil.which(need) is None:
        pytest.skip(f"{need} is not installed")
    if request.param == "charliecloud-squashfs":
        if not Path(images.squashfs).exists():
            pytest.skip("mksquashfs is not installed")
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            pytest.skip("/dev/fuse cannot be opened by this user")
        return images.squashfs
    if request.param == "podman":
        if not images.podman:
            pytest.skip("podman cannot make an image here")
        return images.podman
    return f"{request.param}:{images.directory}"
