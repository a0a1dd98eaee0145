"""A Slurm cluster of four nodes on this machine, and an ordinary user on it. Where it cannot be, the reason is said."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from slurm_cluster import Cluster

HERE = Path(__file__).parent
REPO = HERE.parents[2]
TESTBED = REPO / "tests" / "testbed"
SYSTEM_PYTHON = "/usr/bin/python3"
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged", "slurmdbd", "mariadbd")


def _why_not() -> str:
    if not sys.platform.startswith("linux") or os.getuid() != 0:
        return "a Slurm cluster for tests is set up by root on Linux"
    if importlib.util.find_spec("parsl") is None:
        return "Parsl is not installed (the [batch] extra)"
    missing = [one for one in PROGRAMS if not shutil.which(one, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")]
    if missing:
        return f"there is no {', '.join(missing)}: tests/testbed/system-packages installs them on Debian"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    told = subprocess.run(
        [SYSTEM_PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=False,
    )
    if told.stdout.strip() != version:
        return (
            f"an ordinary user needs a Python {version} that is not root's: {SYSTEM_PYTHON} is {told.stdout.strip()!r}"
        )
    return ""


def _readable(path: Path, folder: Path, mounts: list[Path]) -> Path:
    """The same directory where an ordinary user can read it: bound to another place if it is root's alone."""
    if all(parent.stat().st_mode & 0o005 == 0o005 for parent in [path, *path.parents]):
        return path
    there = folder / f"bound-{len(mounts)}"
    there.mkdir()
    subprocess.run(["mount", "--bind", path, there], check=True, capture_output=True)
    mounts.append(there)
    return there


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster and its user; all of it is gone afterwards."""
    if why := _why_not():
        pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="fxc"))
    folder.chmod(0o755)
    user = f"fxt{uuid.uuid4().hex[:6]}"
    users = {user: folder / "home", f"{user}b": folder / "homeb"}
    mounts: list[Path] = []
    stop = threading.Event()
    slurm = folder / "slurm"
    try:
        up = subprocess.run(
            [TESTBED / "slurm-up", slurm, "4", "accounting"], capture_output=True, text=True, check=False
        )
        assert up.returncode == 0, up.stdout + up.stderr
        for name, home in users.items():
            subprocess.run(["useradd", "-m", "-d", home, name], check=True, capture_output=True)
            home.chmod(0o700)
        try:
            repo = _readable(REPO, folder, mounts)
            site = _readable(Path(sysconfig.get_path("purelib")), folder, mounts)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"the ordinary user cannot read {error.cmd[-2]}, and it cannot be bound elsewhere")
        subprocess.run([SYSTEM_PYTHON, "-m", "venv", "--without-pip", folder / "venv"], check=True)
        paths = [repo, repo / "kernel", repo / "hub", site]
        (purelib,) = (folder / "venv" / "lib").glob("python*/site-packages")
        (purelib / "fx.pth").write_text("".join(f"{path}\n" for path in paths))
        found = Cluster(folder, users, folder / "venv" / "bin" / "python", paths)
        for line in (
            ["sacctmgr", "-i", "add", "account", "physics"],
            ["sacctmgr", "-i", "add", "user", ",".join(users), "account=physics"],
        ):
            subprocess.run(line, env=found.env, check=True, capture_output=True)
        found.requests.mkdir()
        found.requests.chmod(0o777)
        helper = threading.Thread(target=found.serve, args=(stop,), daemon=True)
        helper.start()
        yield found
        stop.set()
        helper.join()
    finally:
        stop.set()
        subprocess.run([TESTBED / "slurm-down", slurm], check=False, capture_output=True)
        time.sleep(0.2)
        for there in mounts:
            subprocess.run(["umount", there], check=False)
        # A rootless podman leaves a process that holds its user's namespace.
        for name in users:
            subprocess.run(["pkill", "-KILL", "-U", name], check=False, capture_output=True)
            subprocess.run(["userdel", name], check=False, capture_output=True)
        if not any(there.is_mount() for there in mounts):
            shutil.rmtree(folder, ignore_errors=True)
