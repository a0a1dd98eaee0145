"""Endpoints behind ssh: their keepers are started with the embedded hub, by command line."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from jupyter_fx.embedded.spawn import clean_environment, reap, spawn
from jupyter_fx.paths import endpoint_dir, state_dir
from jupyter_fx.processes import lock_holder

__all__ = ["ensure_links", "keeper_command", "start_link"]

AGAIN = 60.0
"""Seconds between two starts of a keeper that keeps ending."""


def keeper_command(name: str) -> list[str]:
    """The command line of a keeper."""
    return [sys.executable, "-m", "jupyter_fx.endpoint.ssh.keeper", name]


def ensure_links() -> None:
    """Start the keepers of those endpoints behind ssh that shall be linked. Costs next to nothing when there are none
    or all run: a second keeper of an endpoint ends at once."""
    folder = state_dir() / "endpoints"
    if not folder.is_dir():
        return
    reap()
    for home in folder.iterdir():
        if (home / "ssh.json").exists() and _wanted(home) and not lock_holder(home / "keeper.lock"):
            start_link(home.name)


def start_link(name: str) -> None:
    """Start a keeper. It inherits the environment as it is: an ssh agent's socket is in it."""
    home = endpoint_dir(name)
    (home / "keeper.started").write_text(str(time.time()), encoding="ascii")
    spawn(keeper_command(name), home / "keeper.log", clean_environment())


def _wanted(home: Path) -> bool:
    try:
        kept = json.loads((home / "ssh.json").read_bytes())
        if not kept.get("started", True) or not kept.get("enrolled", False):
            return False
        return not 0 <= time.time() - float((home / "keeper.started").read_text(encoding="ascii")) < AGAIN
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False
