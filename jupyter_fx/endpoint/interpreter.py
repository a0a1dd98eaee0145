"""The Python that runs the workers: tried before the endpoint takes anything, so that a bad one is one sentence."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from jupyter_fx.config import line_of
from jupyter_fx.errors import ConfigError

__all__ = ["OLDEST", "STARTS_WITHIN", "check_python"]

OLDEST: Final = (3, 9)
STARTS_WITHIN: Final = 20.0
"""Seconds that an interpreter has to say its version."""

# What the worker package needs of the standard library, and some builds of Python lack.
_PROBE: Final = "import ctypes, select, socket, sys; print(sys.version_info[0], sys.version_info[1])"


def check_python(python: str, config: Path, *, within: float = STARTS_WITHIN) -> str:
    """The path of the interpreter that `c.Endpoint.python` in the file `config` names, after it was tried.

    ConfigError: there is none, it is too old, it does not start.
    """
    line = line_of(config, "Endpoint.python")
    said = f"{config}{f', line {line}' if line else ''}: c.Endpoint.python = {python!r}"
    expanded = Path(python).expanduser()
    found = str(expanded) if expanded.is_absolute() else shutil.which(python) or ""
    if not found or not Path(found).exists():
        raise ConfigError(f"{said}: there is no such file; give the path of a Python, say /usr/bin/python3")
    if Path(found).is_dir() or not os.access(found, os.X_OK):
        raise ConfigError(
            f"{said} is no program that can be run; the Python of a virtual environment is bin/python in it"
        )
    try:
        done = subprocess.run(
            [found, "-c", _PROBE],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=within,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{said} did not start within {within:g} s: try it by hand, or choose another") from None
    except OSError as error:
        raise ConfigError(f"{said} cannot be run: {error.strerror or error}") from None
    words = done.stdout.split()
    if done.returncode or len(words) != 2 or not all(word.isdigit() for word in words):
        last = (done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"])[-1][:300]
        raise ConfigError(f"{said} does not work as a Python: {last}")
    if (int(words[0]), int(words[1])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise ConfigError(f"{said} is Python {'.'.join(words)}, and workers need {oldest} or newer: choose another")
    return found
