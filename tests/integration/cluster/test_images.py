"""Images on the nodes of a real Slurm: three of them, made on this machine without any registry."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from slurm_cluster import Cluster

TESTBED = Path(__file__).parents[2] / "testbed"
STORIES = [
    ("images", "a_thousand_tasks_over_four_nodes_in_three_images"),
    ("images", "whatever_ends_a_manager_nothing_of_its_containers_is_left"),
    ("sessions", "a_notebook_lives_in_an_image_on_a_node"),
    ("definitions", "an_image_is_built_once_in_a_batch_job_and_used_in_others"),
    ("faults", "a_user_without_a_home_on_the_node_can_work"),
]


@pytest.fixture(scope="module")
def images(cluster: Cluster) -> Iterator[Path]:
    """tree/, file.sqfs, other/ and store.tar: a bare Python each, with its own name in /opt/image/name."""
    for program in ("ch-run", "mksquashfs"):
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program}")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("/dev/fuse cannot be opened")
    mode = Path("/dev/fuse").stat().st_mode
    Path("/dev/fuse").chmod(0o666)
    folder = cluster.folder / "images"
    folder.mkdir()
    env = {**os.environ, "PYTHON": "/usr/bin/python3"}
    subprocess.run([TESTBED / "image-build", folder], check=True, env=env, capture_output=True)
    root = folder / "rootfs"
    # What a large package is to a container: without it, its start may be over before anybody looks.
    slow = next(root.rglob("python3.*/os.py")).with_name("slow_to_import.py")
    slow.write_text("import time; time.sleep(3)\n")
    for word in ("file", "store", "other", "tree"):
        (root / "opt" / "image" / "name").write_text(word)
        if word == "file":
            made = ["mksquashfs", root, folder / "file.sqfs", "-quiet", "-no-progress", "-all-root", "-comp", "lzo"]
        elif word == "store":
            if shutil.which("podman") is None or shutil.which("runc") is None:
                continue
            subprocess.run([TESTBED / "podman-setup"], check=False, capture_output=True)
            made = ["tar", "--numeric-owner", "--owner=0", "--group=0", "-C", root, "-cf", folder / "store.tar", "."]
        elif word == "other":
            made = ["cp", "-a", "--reflink=auto", root, folder / "other"]
        else:
            made = ["mv", root, folder / "tree"]
        subprocess.run(made, check=True, capture_output=True)
    try:
        yield folder
    finally:
        Path("/dev/fuse").chmod(stat.S_IMODE(mode))
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize(("script", "story"), STORIES)
def test_story(cluster: Cluster, images: Path, script: str, story: str) -> None:
    if script == "definitions" and shutil.which("ch-image") is None:
        pytest.skip("ch-image is not installed (charliecloud-builders)")
    print(cluster.tell(story, script=f"stories_{script}.py", FX_TEST_IMAGES=str(images)))


def test_two_users_share_a_node(cluster: Cluster, images: Path) -> None:
    shared = cluster.folder / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    one, other = cluster.users
    with ThreadPoolExecutor(2) as both:
        told = [
            both.submit(
                cluster.tell,
                "two_users_share_a_node",
                script="stories_sessions.py",
                user=me,
                FX_TEST_IMAGES=str(images),
                FX_TEST_SHARED=str(shared),
                FX_TEST_NEIGHBOUR=neighbour,
            )
            for me, neighbour in ((one, other), (other, one))
        ]
        for each in told:
            print(each.result())
