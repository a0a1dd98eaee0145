"""An ordinary user of this machine, made for tests that root runs, and a Python of theirs that sees this repository."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import sysconfig
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil

REPO = Path(__file__).parents[2]
SYSTEM_PYTHON = "/usr/bin/python3"


class Unreadable(Exception):
    """What they would need cannot be shown to them; the text says what it is."""


def why_no_ordinary_user() -> str:
    """Why none can be made here; empty when one can."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0 or shutil.which("useradd") is None:
        return "only root on Linux can make another user"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    line = [SYSTEM_PYTHON, "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"]
    told = subprocess.run(line, capture_output=True, text=True, check=False)
    if told.stdout.strip() != version:
        said = told.stdout.strip() or told.stderr.strip()[-100:]
        return f"an ordinary user needs a Python {version} that is not root's: {SYSTEM_PYTHON} is {said!r}"
    return ""


class Account:
    """`home` is theirs alone; `python` runs what is in this repository; `paths` are where that looks."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.home = folder / "home"
        self.python = folder / "venv" / "bin" / "python"
        self.paths: list[Path] = []
        self.mounts: list[Path] = []

    def make(self) -> None:
        """The user, their home and their Python."""
        subprocess.run(["useradd", "-m", "-s", "/bin/sh", "-d", self.home, self.name], check=True, capture_output=True)
        self.home.chmod(0o700)
        try:
            repo, site = self._readable(REPO), self._readable(Path(sysconfig.get_path("purelib")))
        except subprocess.CalledProcessError as error:
            raise Unreadable(
                f"the ordinary user cannot read {error.cmd[-2]}, and it cannot be bound elsewhere"
            ) from error
        subprocess.run([SYSTEM_PYTHON, "-m", "venv", "--without-pip", self.folder / "venv"], check=True)
        self.paths = [repo, repo / "kernel", repo / "hub", site]
        (purelib,) = (self.folder / "venv" / "lib").glob("python*/site-packages")
        (purelib / "fx.pth").write_text("".join(f"{path}\n" for path in self.paths))

    def _readable(self, path: Path) -> Path:
        """The same directory where an ordinary user can read it: bound to another place if it is root's alone."""
        if all(parent.stat().st_mode & 0o005 == 0o005 for parent in [path, *path.parents]):
            return path
        there = self.folder / f"bound-{len(self.mounts)}"
        there.mkdir()
        subprocess.run(["mount", "--bind", path, there], check=True, capture_output=True)
        self.mounts.append(there)
        return there

    def remove(self) -> None:
        """End all processes of theirs and remove what was made; `folder` stays while anything is mounted there."""
        with contextlib.suppress(KeyError):
            uid = self.uid
            for process in psutil.process_iter():
                with contextlib.suppress(psutil.Error):
                    if process.uids().real == uid:
                        process.kill()
            shutil.rmtree(f"/tmp/jupyter-fx-{uid}", ignore_errors=True)
        for there in self.mounts:
            subprocess.run(["umount", "-l", there], check=False)
        subprocess.run(["userdel", "--force", self.name], check=False, capture_output=True)
        if not any(there.is_mount() for there in self.mounts):
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def uid(self) -> int:
        """Their number."""
        import pwd

        return pwd.getpwnam(self.name).pw_uid


@contextlib.contextmanager
def ordinary_user(folder: Path) -> Iterator[Account]:
    """Somebody new; `folder` is removed with them. Unreadable when they could not see this repository."""
    folder.chmod(0o755)
    account = Account(f"fxt{uuid.uuid4().hex[:6]}", folder)
    try:
        account.make()
        yield account
    finally:
        account.remove()
