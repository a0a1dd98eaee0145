"""Environments from specifications: built by uv in a task of the endpoint, once for each digest, kept, shared.

Below one directory `NAME/` is a whole virtual environment: it gets this name at one stroke, when it is built. Who
builds it holds `NAME.lock`; who runs it holds `NAME.used`, whose time says when it was used last.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

__all__ = ["DAYS", "MIB", "ROOT", "UV", "BuildError", "build", "collect", "name_of", "python_of"]

ROOT = "JUPYTER_FX_ENVIRONMENTS"
DAYS = "JUPYTER_FX_ENVIRONMENTS_DAYS"
MIB = "JUPYTER_FX_ENVIRONMENTS_MIB"
UV = "JUPYTER_FX_UV"
_FRESH = 3600.0
"""Seconds for which nothing is removed after its last use, whatever it takes: not every file system shows locks."""
_LOOK = 0.25
_NAME = re.compile(r"[0-9a-f]{40}\Z")
_PIP = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
}


class BuildError(RuntimeError):
    """The environment cannot be built; one sentence says why."""


def name_of(text: str) -> str:
    """The digest of a specification."""
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def python_of(root: str, name: str) -> str:
    """The Python of an environment; empty when it is not there, or what it was made from is gone."""
    python = os.path.join(root, name, "bin", "python")
    return python if _NAME.match(name) and os.path.exists(python) else ""


def build(text: str) -> dict[str, Any]:
    """See to it that the environment is there; its `name`, `python`, and whether it was `built` just now.

    What uv tells is printed. Raises BuildError.
    """
    root = os.environ.get(ROOT, "")
    if not root:
        raise BuildError("environments are built at endpoints, in their own Python: this is no worker of one")
    name = name_of(text)
    if python_of(root, name):
        return _found(root, name, built=False)
    os.makedirs(root, mode=0o700, exist_ok=True)
    with _turn(os.path.join(root, name + ".lock")) as alone:
        if python_of(root, name):
            return _found(root, name, built=False)
        try:
            collect(root, float(os.environ.get(DAYS, "30")), int(os.environ.get(MIB, "0")))
            _build(root, name, text, alone=alone)
        except OSError as error:
            full = " free space there" if error.errno in {errno.ENOSPC, errno.EDQUOT} else ""
            raise BuildError(f"{root} cannot be written: {error.strerror};{full or ' ask its owner'}") from error
    return _found(root, name, built=True)


def _found(root: str, name: str, *, built: bool) -> dict[str, Any]:
    _touch(os.path.join(root, name + ".used"))
    with contextlib.suppress(OSError, ValueError), open(os.path.join(root, name, "built.json")) as file:
        return {**json.load(file), "name": name, "built": built}
    return {"name": name, "built": built}


def _touch(path: str) -> None:
    with contextlib.suppress(OSError):
        with open(path, "a"):
            pass
        os.utime(path)


@contextlib.contextmanager
def _turn(path: str) -> Iterator[bool]:
    """One at a time: True. Where locks cannot be had, two may build the same: False, and who is first wins."""
    import fcntl

    said = False
    while True:
        with open(path, "a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not said:
                    said = True
                    _say("another task builds this environment; waiting for it\n")
            except OSError:
                yield False
                return
            else:
                # Who removed the file meanwhile let the next one make another, and lock that.
                if _is(file.fileno(), path):
                    yield True
                    return
                continue
        time.sleep(_LOOK)


def _is(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False


def _build(root: str, name: str, text: str, *, alone: bool) -> None:
    begun = time.time()
    part = os.path.join(root, f"{name}.part-{os.getpid()}-{os.uname().nodename[:40]}")
    # Under the lock what others began is nobody's.
    for one in os.listdir(root):
        if alone and one.startswith(f"{name}.part-"):
            shutil.rmtree(os.path.join(root, one), ignore_errors=True)
    uv, env = _uv(), _settings()
    lock = re.match(r"(\s*#[^\n]*\n|\s*\n)*\s*lock-version\s*=", text) is not None
    try:
        _run([uv, "venv", "--quiet", "--relocatable", "--no-project", "--python", sys.executable, part], env)
        said = os.path.join(part, "pylock.toml" if lock else "requirements.txt")
        with open(said, "w", encoding="utf-8") as file:
            file.write(text)
        python = os.path.join(part, "bin", "python")
        _run([uv, "pip", "install", "--no-config", "--python", python, "-r", said], env)
        told = {
            "python": ".".join(map(str, sys.version_info[:3])),
            "seconds": round(time.time() - begun, 1),
            "bytes": _size(part),
        }
        with open(os.path.join(part, "built.json"), "w") as file:
            json.dump(told, file)
        # One that cannot run any more, because its Python is gone, is replaced.
        old = os.path.join(root, name)
        if os.path.lexists(old) and not python_of(root, name):
            _remove(old)
        with contextlib.suppress(OSError):
            os.rename(part, old)
        if not python_of(root, name):
            raise BuildError(f"{old} could not be put into its place")
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _uv() -> str:
    beside = os.path.join(os.path.dirname(sys.executable), "uv")
    for one in (os.environ.get(UV), beside, shutil.which("uv"), _packaged()):
        if one and os.access(one, os.X_OK):
            return one
    raise BuildError(
        "uv, which builds environments, is not installed at the endpoint: pip install 'jupyter-fx[environments]' there"
    )


def _packaged() -> str:
    """Where pip put it: for a user's own installation (--user, --target) that is on no batch job's PATH."""
    try:
        return str(importlib.import_module("uv").find_uv_bin())
    except (ImportError, AttributeError, OSError):
        return ""


def _settings() -> dict[str, str]:
    """The process's environment; where packages come from is as pip has it, unless uv was told by itself."""
    env = {**os.environ, "UV_NO_PROGRESS": "1", "NO_COLOR": "1", "UV_PYTHON_DOWNLOADS": "never"}
    for name in ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH"):
        env.pop(name, None)
    if any(key.startswith("UV_") and ("INDEX" in key or key == "UV_FIND_LINKS") for key in os.environ):
        return env
    asked = [sys.executable, "-m", "pip", "config", "list"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        told = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False, env=env).stdout
        for line in told.splitlines():
            key, _, value = line.partition("=")
            mine = _PIP.get(key.rpartition(".")[2])
            if mine and key.split(".")[0] in {"global", "install", ":env:"} and mine not in os.environ:
                words = value.strip().strip("'\"").replace("\\n", " ").split()
                env[mine] = ("," if mine == "UV_FIND_LINKS" else " ").join(words)
    return env


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _run(command: list[str], env: dict[str, str]) -> None:
    said: deque[str] = deque(maxlen=200)
    process = subprocess.Popen(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            said.append(line)
            _say(line)
        status = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    if status:
        raise BuildError(_reason("".join(said)) or f"uv ended with status {status}")


def _reason(text: str) -> str:
    """The resolver's reason as one sentence."""
    at = max(text.rfind("error:"), text.rfind("\u00d7"))
    words = text[at:] if at >= 0 else text
    cause = words.partition("cause:")[2] or words.partition("\u2570\u2500\u25b6")[2]
    if "parse" in words or not cause:
        cause = words
    cause = cause.split("\nhint:")[0].split("\n\n")[0]
    whole = " ".join(re.sub(r"[\u2502\u2570\u2500\u25b6\u00d7]|error:|cause:|\s\^+", " ", cause).split())
    return whole[:600].rstrip(".")


def _size(folder: str) -> int:
    total = 0
    for where, _folders, files in os.walk(folder):
        for file in files:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(where, file)).st_size
    return total


def collect(root: str, days: float, mib: int) -> list[str]:
    """Remove what was not used for so long, then the least recently used until the rest fits (0: no limit). Names."""
    now = time.time()
    there: list[tuple[float, str, int]] = []
    for name in os.listdir(root):
        path = os.path.join(root, name)
        if ".gone-" in name or (".part-" in name and now - _touched(path, now) > 86400):
            shutil.rmtree(path, ignore_errors=True)
        elif _NAME.match(name):
            used = _touched(path + ".used", _touched(path, now))
            size = 0
            with contextlib.suppress(OSError, ValueError, KeyError), open(os.path.join(path, "built.json")) as file:
                size = int(json.load(file)["bytes"])
            there.append((used, name, size))
    total = sum(size for _used, _name, size in there)
    gone: list[str] = []
    for used, name, size in sorted(there):
        old = days > 0 and now - used > days * 86400
        if now - used > _FRESH and (old or (mib and total > mib << 20)) and _unused(os.path.join(root, name)):
            total -= size
            gone.append(name)
    return gone


def _touched(path: str, otherwise: float) -> float:
    try:
        return os.lstat(path).st_mtime
    except OSError:  # others build and remove, too
        return otherwise


def _unused(path: str) -> bool:
    """Remove an environment that nobody runs or builds."""
    import fcntl

    try:
        with open(path + ".lock", "a") as lock, open(path + ".used", "a") as used:
            for file in (lock, used):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(path)
            for end in (".used", ".lock"):
                with contextlib.suppress(OSError):
                    os.unlink(path + end)
    except OSError:
        return False
    return True


def _remove(path: str) -> None:
    """It is gone at one stroke, whatever becomes of us."""
    away = f"{path}.gone-{os.getpid()}"
    os.rename(path, away)
    shutil.rmtree(away, ignore_errors=True)
