"""What containers leave behind when whoever started them is gone: where their directories are, and their end."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from jupyter_fx.digest import digest
from jupyter_fx.endpoint.fusemounts import unmount_below
from jupyter_fx.endpoint.runtimes.command import RUNTIMES, Runtime
from jupyter_fx.errors import UsageError
from jupyter_fx.paths import private_dir

__all__ = ["LABEL", "MARKER", "base_of", "clear_node", "label_of", "make_base", "remove_left"]

LABEL: Final = "org.jupyter-fx.manager"
MARKER: Final = "containers-were-here"
"""A file in a manager's directory that says that containers which outlive their starter may be there."""


def label_of(folder: str) -> str:
    """What the containers of the manager of this directory are called by."""
    return digest(os.path.realpath(folder).encode())[:16]


def base_of(folder: str, scratch: str, *, on_node: bool) -> Path:
    """The directory of a manager's containers. `scratch`: where its owner wants them, empty: nowhere in particular.

    On a node that is in the manager's own directory, which its keeper removes. Elsewhere that may be on a network file
    system, so it is in the machine's temporary directory; not below XDG_RUNTIME_DIR, which is small and may be mounted
    so that nothing in it can be run.
    """
    if on_node and not scratch:
        return Path(folder) / "containers"
    return Path(scratch or tempfile.gettempdir()) / f"jupyter-fx-{os.getuid()}" / "containers" / label_of(folder)


def make_base(base: Path) -> Path:
    """The same directory, there and nobody else's."""
    if base.parent.name == "containers":
        private_dir(base.parent.parent)
        private_dir(base.parent)
    return private_dir(base)


def clear_node(folder: Path, scratch: str, env: dict[str, str]) -> None:
    """A node's keeper: its manager is gone, and all its processes; remove what is left of its containers elsewhere."""
    if (folder / MARKER).exists():
        remove_left(None, label_of(str(folder)), env)
    if scratch:
        with contextlib.suppress(UsageError, OSError):
            base = base_of(str(folder), scratch, on_node=True)
            unmount_below(base)
            shutil.rmtree(base, ignore_errors=True)
            base.parent.rmdir()
            base.parent.parent.rmdir()


def remove_left(runtime: Runtime | None, label: str, env: dict[str, str], name: str = "") -> int:
    """End containers of this label that outlived who started them; how many. `name`: only this one."""
    count = 0
    for one in [runtime] if runtime is not None else RUNTIMES:
        if one.listing is None or not shutil.which(one.program, path=env.get("PATH")):
            continue
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            if name:
                ids = [f"jupyter-fx-{label}-{name}"]
            else:
                listed = _quietly(one.leftovers({LABEL: label}), env)
                ids = listed.stdout.split() if listed.returncode == 0 else []
            if ids:
                removed = _quietly(one.remove(ids), env)
                count += len(ids) if removed.returncode == 0 else 0
    return count


def _quietly(words: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30.0, check=False
    )
