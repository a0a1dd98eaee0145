"""Pythons and packages beside the ones that run the tests: found on this machine, or made once below .make/."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / ".make" / "environments"
CONSTRAINTS = ROOT / "constraints.txt"
KERNEL = ("blake3", "cloudpickle", "ipykernel", "msgspec", "psutil", "tornado", "websockets")
"""What a notebook's kernel imports of ours and of others."""
OURS = (".", "kernel", "hub")


@functools.cache
def interpreter(minor: int) -> Path | None:
    """A Python 3.`minor` of this machine that starts."""
    named = shutil.which(f"python3.{minor}")
    candidates = [
        *(Path.home() / ".pyenv" / "versions").glob(f"3.{minor}.*/bin/python"),
        *([Path(named)] if named else []),
    ]
    for candidate in candidates:
        tried = subprocess.run(
            [str(candidate), "-c", "import ctypes, ssl"], capture_output=True, check=False, timeout=30
        )
        if tried.returncode == 0:
            return candidate
    return None


def python(minor: int) -> str:
    """The same; skips the test where there is none."""
    found = sys.executable if minor == sys.version_info[1] else interpreter(minor)
    if found is None:
        pytest.skip(f"no Python 3.{minor} on this machine")
    return str(found)


def kernel_python(minor: int) -> str:
    """A Python 3.`minor` in which a notebook's kernel runs with our sources."""
    if minor == sys.version_info[1]:
        return sys.executable
    with _made(f"kernel-3.{minor}", *KERNEL, CONSTRAINTS.read_text()) as place:
        if place is not None:
            _environment(place, minor, "-c", str(CONSTRAINTS), *KERNEL)
            (site,) = place.glob("lib/python3.*/site-packages")
            (site / "jupyter-fx.pth").write_text("".join(f"{ROOT / folder}\n" for folder in OURS))
    return str(_place(f"kernel-3.{minor}", *KERNEL, CONSTRAINTS.read_text()) / "bin" / "python")


def environment(minor: int, *requirements: str) -> str:
    """A Python 3.`minor` that has these packages, and none of ours."""
    with _made(f"python-3.{minor}", *requirements) as place:
        if place is not None:
            _environment(place, minor, *requirements)
    return str(_place(f"python-3.{minor}", *requirements) / "bin" / "python")


def packages(*requirements: str) -> Path:
    """A directory with these packages alone, for a PYTHONPATH: they come before what is installed."""
    with _made("packages", *requirements) as place:
        if place is not None:
            _pip(sys.executable, "-m", "pip", words=["--no-deps", "--target", str(place), *requirements])
    return _place("packages", *requirements)


def _place(name: str, *says: str) -> Path:
    return PLACE / f"{name}-{hashlib.sha256(' '.join(says).encode()).hexdigest()[:10]}"


@contextlib.contextmanager
def _made(name: str, *says: str) -> Iterator[Path | None]:
    """Where to make it; None when it is there already. What is left half made is made again."""
    place = _place(name, *says)
    PLACE.mkdir(parents=True, exist_ok=True)
    with (PLACE / f"{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready = PLACE / f"{place.name}.ready"
        if ready.exists():
            yield None
            return
        shutil.rmtree(place, ignore_errors=True)
        yield place
        ready.touch()


def _environment(place: Path, minor: int, *requirements: str) -> None:
    # Ours installs for others, which spares them theirs, but not for the oldest.
    own = minor < 10
    made = subprocess.run(
        [python(minor), "-m", "venv", *([] if own else ["--without-pip"]), str(place)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    if made.returncode:
        pytest.skip(f"Python 3.{minor} cannot make environments: {(made.stderr + made.stdout).strip()[-300:]}")
    target = str(place / "bin" / "python")
    _pip(*([target, "-m", "pip"] if own else [sys.executable, "-m", "pip", "--python", target]), words=requirements)


def _pip(*pip: str, words: Iterable[str]) -> None:
    command = [*pip, "install", "--quiet", "--no-compile", *words]
    environ = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    got = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=300)
    if got.returncode:
        pytest.skip(f"pip cannot install {' '.join(words)}: {got.stderr.strip()[-300:]}")
