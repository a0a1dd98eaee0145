"""The same tests once more as an ordinary user, who is made for them: rootless containers are what clusters have."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import site
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from made_images import Images

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
GIVEN = "JUPYTER_FX_TEST_IMAGES"
SYSTEM_PYTHON = "/usr/bin/python3"
RUNUSER = shutil.which("runuser") or "/usr/sbin/runuser"


@pytest.fixture
def user() -> Iterator[pwd.struct_passwd]:
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("useradd") is None:
        pytest.skip("only root can make a user for this test; as an ordinary user all others show the same")
    name = f"fx{uuid.uuid4().hex[:6]}"
    subprocess.run(["useradd", "--create-home", "--shell", "/bin/sh", name], check=True)
    try:
        yield pwd.getpwnam(name)
    finally:
        _end_all_of(pwd.getpwnam(name).pw_uid)
        subprocess.run(["userdel", "--remove", "--force", name], capture_output=True, check=False)


def _end_all_of(uid: int) -> None:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.uids().real == uid:
                process.kill()


def _readable(path: Path, user: pwd.struct_passwd) -> bool:
    asked = [RUNUSER, "-u", user.pw_name, "--", "test", "-r", str(path)]
    return subprocess.run(asked, check=False).returncode == 0


def test_all_of_it_works_for_an_ordinary_user(user: pwd.struct_passwd, images: Images) -> None:
    version = "import sys; print(*sys.version_info[:2])"
    theirs = subprocess.run([SYSTEM_PYTHON, "-c", version], capture_output=True, text=True, check=False).stdout.split()
    if theirs != [str(part) for part in sys.version_info[:2]]:
        pytest.skip(f"{SYSTEM_PYTHON} is not the version of {sys.executable}, whose packages it would have to use")
    packages = site.getsitepackages()[0]
    for path in (ROOT / "pyproject.toml", Path(packages) / "msgspec" / "__init__.py", Path(images.directory)):
        if not _readable(path, user):
            pytest.skip(f"{path} cannot be read by an ordinary user")
    with tempfile.TemporaryDirectory(prefix="fxu") as folder:
        os.chown(folder, user.pw_uid, user.pw_gid)
        env = {
            "HOME": user.pw_dir,
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "USER": user.pw_name,
            "TMPDIR": folder,
            "PYTHONPATH": os.pathsep.join(str(part) for part in (ROOT, ROOT / "kernel", ROOT / "hub", packages)),
            "PYTHONDONTWRITEBYTECODE": "1",
            GIVEN: str(Path(images.directory).parent),
        }
        command = [SYSTEM_PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-x"]
        one = "test_definitions.py::test_it_is_built_by_a_task_and_tasks_and_sessions_run_in_it"
        command += [str(HERE / name) for name in ("test_images.py", one)]
        ran = subprocess.run(
            [RUNUSER, "-u", user.pw_name, "--", *command],
            env=env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        print(ran.stdout[-6000:], ran.stderr[-2000:])
        assert ran.returncode == 0, ran.stdout[-3000:]
        assert " passed" in ran.stdout
        if shutil.which("podman") and images.podman:
            # Its store has files of other users: only its own tools can remove it.
            reset = [RUNUSER, "-u", user.pw_name, "--", "podman", "system", "reset", "--force"]
            subprocess.run(reset, env=env, cwd=folder, capture_output=True, check=False)
