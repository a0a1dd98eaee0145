"""A Slurm cluster on this machine, as tests see it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import threading
import uuid
from pathlib import Path

HERE = Path(__file__).parent


class Cluster:
    """`tell(name)` runs the story of that name as the ordinary user; AssertionError with what it said. `script`: the
    file that has it; `given`: variables that it is told.
    """

    def __init__(self, folder: Path, users: dict[str, Path], python: Path, paths: list[Path]) -> None:
        self.folder = folder
        self.users = users
        """Ordinary users and their homes: the first one plays most stories."""
        self.python = python
        self.paths = paths
        self.requests = folder / "requests"
        self.env = {**os.environ, "SLURM_CONF": str(folder / "slurm" / "slurm.conf")}

    def tell(
        self, story: str, *, script: str = "stories.py", user: str = "", within: float = 240.0, **given: str
    ) -> str:
        user = user or next(iter(self.users))
        place = self.users[user] / uuid.uuid4().hex[:8]
        place.mkdir(mode=0o700)
        shutil.chown(place, user, user)
        env = {
            name: value for name, value in self.env.items() if not name.startswith(("JUPYTER", "IPYTHON", "VIRTUAL"))
        }
        env |= {
            "HOME": str(self.users[user]),
            "USER": user,
            "LOGNAME": user,
            "TMPDIR": str(place),
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "JUPYTER_FX_TEST_RUN": os.environ["JUPYTER_FX_TEST_RUN"],
            "FX_TEST_PLACE": str(place),
            "FX_TEST_REQUESTS": str(self.requests),
            "A_SECRET_TOKEN": "canary-of-the-environment",
            **given,
        }
        entry = pwd.getpwnam(user)
        process = subprocess.Popen(
            [self.python, HERE / script, story],
            env=env,
            cwd=place,
            user=entry.pw_uid,
            group=entry.pw_gid,
            extra_groups=[],
            umask=0o022,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=within)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
            said += f"\n[it took longer than {within:g} s]"
        finally:
            subprocess.run(["scancel", "-u", user], env=self.env, check=False)
        assert process.returncode == 0, said[-12000:]
        return said

    def serve(self, stop: threading.Event) -> None:
        """What only root can do, when a story asks for it: a file NAME.ask holds a shell line, NAME.done its end."""
        while not stop.wait(0.05):
            for ask in self.requests.glob("*.ask"):
                line = ask.read_text()
                ask.unlink()
                done = subprocess.run(["sh", "-c", line], env=self.env, capture_output=True, text=True, check=False)
                ask.with_suffix(".done").write_text(f"{done.returncode}\n{done.stdout}{done.stderr}")
