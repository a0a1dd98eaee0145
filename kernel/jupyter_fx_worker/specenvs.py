"""Environments from specifications: built by uv in a task of the endpoint, once for each digest, and kept.

What is kept is a whole virtual environment, or has it packed in one file (`specpack`).
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
from typing import Any

from jupyter_fx_worker import kept, specpack
from jupyter_fx_worker.commands import run, say
from jupyter_fx_worker.kept import BuildError

__all__ = ["DAYS", "MIB", "ROOT", "UV", "BuildError", "build", "is_there", "name_of", "python_of"]

ROOT = "JUPYTER_FX_ENVIRONMENTS"
DAYS = "JUPYTER_FX_ENVIRONMENTS_DAYS"
MIB = "JUPYTER_FX_ENVIRONMENTS_MIB"
UV = "JUPYTER_FX_UV"
_PIP = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
}


def name_of(text: str) -> str:
    """The digest of a specification."""
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def python_of(root: str, name: str) -> str:
    """The Python of an environment that is a directory; empty when it is none, or what it was made from is gone."""
    python = os.path.join(root, name, "bin", "python")
    return python if kept.NAME.match(name) and os.path.exists(python) else ""


def is_there(root: str, name: str) -> bool:
    """Whether an environment can be run: as a directory, or from its file."""
    return kept.NAME.match(name) is not None and bool(python_of(root, name) or specpack.packed_of(root, name))


def build(text: str) -> dict[str, Any]:
    """See to it that the environment is there; its `name`, `python`, and whether it was `built` just now.

    What uv tells is printed. Raises BuildError.
    """
    root = os.environ.get(ROOT, "")
    if not root:
        raise BuildError("environments are built at endpoints, in their own Python: this is no worker of one")
    name = name_of(text)
    if is_there(root, name):
        return _found(root, name, built=False)
    os.makedirs(root, mode=0o700, exist_ok=True)
    with kept.turn(os.path.join(root, name + ".lock")) as alone:
        if is_there(root, name):
            return _found(root, name, built=False)
        try:
            kept.collect(root, float(os.environ.get(DAYS, "30")), int(os.environ.get(MIB, "0")))
            _build(root, name, text, alone=alone)
        except OSError as error:
            full = " free space there" if error.errno in {errno.ENOSPC, errno.EDQUOT} else ""
            raise BuildError(f"{root} cannot be written: {error.strerror};{full or ' ask its owner'}") from error
    return _found(root, name, built=True)


def _found(root: str, name: str, *, built: bool) -> dict[str, Any]:
    kept.touch(os.path.join(root, name + ".used"))
    with contextlib.suppress(OSError, ValueError), open(os.path.join(root, name, "built.json")) as file:
        return {**json.load(file), "name": name, "built": built}
    return {"name": name, "built": built}


def _build(root: str, name: str, text: str, *, alone: bool) -> None:
    begun = time.time()
    part = os.path.join(root, f"{name}.part-{os.getpid()}-{os.uname().nodename[:40]}")
    packed = part + "-packed"
    # Under the lock what others began is nobody's.
    for one in os.listdir(root):
        if alone and one.startswith(f"{name}.part-"):
            shutil.rmtree(os.path.join(root, one), ignore_errors=True)
    uv, env = _uv(), _settings()
    lock = re.match(r"(\s*#[^\n]*\n|\s*\n)*\s*lock-version\s*=", text) is not None
    try:
        _uv_does([uv, "venv", "--quiet", "--relocatable", "--no-project", "--python", sys.executable, part], env)
        said = os.path.join(part, "pylock.toml" if lock else "requirements.txt")
        with open(said, "w", encoding="utf-8") as file:
            file.write(text)
        python = os.path.join(part, "bin", "python")
        as_directory = specpack.why_not()
        # Nobody can add to what is packed: without its byte code each process would compile its imports anew.
        more = ["--compile-bytecode"] if as_directory is None else []
        _uv_does([uv, "pip", "install", "--no-config", *more, "--python", python, "-r", said], env)
        made, size = (part, kept.size_of(part)) if as_directory is not None else _packed(part, packed)
        if as_directory:
            say(f"kept as a directory: {as_directory}\n")
        told = {
            "python": ".".join(map(str, sys.version_info[:3])),
            "seconds": round(time.time() - begun, 1),
            "bytes": size,
        }
        with open(os.path.join(made, "built.json"), "w") as file:
            json.dump(told, file)
        # One that cannot run any more, because its Python is gone, is replaced.
        old = os.path.join(root, name)
        if os.path.lexists(old) and not is_there(root, name):
            kept.remove(old)
        with contextlib.suppress(OSError):
            os.rename(made, old)
        if not is_there(root, name):
            raise BuildError(f"{old} could not be put into its place")
    finally:
        for one in (part, packed):
            shutil.rmtree(one, ignore_errors=True)


def _packed(part: str, packed: str) -> tuple[str, int]:
    """What is to be kept of a whole environment, and its size: packed, if that can be done."""
    whole = kept.size_of(part)
    try:
        size = specpack.pack(part, packed)
    except OSError as error:
        say(f"kept as a directory: {error}\n")
        return part, whole
    say(f"packed into one file: {size / 2**20:.1f} MiB instead of {whole / 2**20:.1f}\n")
    return packed, size


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


def _uv_does(command: list[str], env: dict[str, str]) -> None:
    status, said = run(command, env)
    if status:
        raise BuildError(_reason(said) or f"uv ended with status {status}")


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
