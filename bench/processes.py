"""Which processes belong to a measurement, what they cost, and how they are ended.

A measurement's processes are its descendants and everything that carries its mark in its environment: daemons leave the
process tree but keep their environment, and programs that overwrite their environment's memory (Ray) stay in the tree.
"""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple

import psutil

__all__ = ["MARK", "Identity", "cpu_seconds", "end", "family", "pss_mib"]

MARK = "JFX_BENCH_MARK"


class Identity(NamedTuple):
    """A process that cannot be mistaken for a later one with the same id."""

    pid: int
    started: float


def family(mark: str, root: int | None = None) -> dict[Identity, psutil.Process]:
    """Every live process that carries ``mark`` or descends from ``root``."""
    found: dict[Identity, psutil.Process] = {}
    tree: set[int] = set()
    if root is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(root)
            tree = {root, *(child.pid for child in parent.children(recursive=True))}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            marked = process.pid in tree or process.environ().get(MARK) == mark
            if marked and process.status() != psutil.STATUS_ZOMBIE:
                found[Identity(process.pid, process.create_time())] = process
    return found


def cpu_seconds(processes: dict[Identity, psutil.Process]) -> dict[int, float]:
    """User plus system time so far by pid, in seconds (the kernel's grain is 10 ms); the dead are left out."""
    spent: dict[int, float] = {}
    for identity, process in processes.items():
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            spent[identity.pid] = times.user + times.system
    return spent


def pss_mib(pid: int) -> float | None:
    """Proportional set size in MiB (shared pages divided among their users); resident size where there is no PSS."""
    with contextlib.suppress(psutil.Error):
        info = psutil.Process(pid).memory_full_info()
        return float(getattr(info, "pss", 0) or info.rss) / 2**20
    return None


def end(identities: set[Identity], patience: float = 2.0, grace: float = 5.0) -> list[str]:
    """End those of ``identities`` that do not end by themselves in ``patience`` seconds; return what those were."""
    _, alive = psutil.wait_procs(_alive(identities), timeout=patience)
    names: list[str] = []
    for process in alive:
        with contextlib.suppress(psutil.Error):
            names.append(" ".join(process.cmdline())[:160])
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, stubborn = psutil.wait_procs(alive, timeout=grace)
    for process in stubborn:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(stubborn, timeout=grace)
    return names


def _alive(identities: set[Identity]) -> list[psutil.Process]:
    """Those of ``identities`` that live and are not ourselves."""
    alive: list[psutil.Process] = []
    for identity in identities:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(identity.pid)
            same = abs(process.create_time() - identity.started) < 0.01
            if same and process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
                alive.append(process)
    return alive
