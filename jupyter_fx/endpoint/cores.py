"""How many cores this machine, or the container that we are in, lets us use."""

from __future__ import annotations

import math
import os
from pathlib import Path

__all__ = ["host_cores"]

_GROUPS = Path("/sys/fs/cgroup")
_OURS = Path("/proc/self/cgroup")


def host_cores(groups: Path = _GROUPS, ours: Path = _OURS) -> int:
    """Cores that this process may use: those it is bound to, and no more than its control groups give it time for."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(bound, _quota(groups, ours))))


def _quota(groups: Path, ours: Path) -> float:
    """Cores' worth of time; infinite without a limit. A pod's or a container's limit is one of these."""
    least = math.inf
    try:
        lines = ours.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return least
    for _number, controllers, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = groups / controllers if controllers else groups
        # Inside of a container the path may be the host's, and what holds for us stands at the top.
        inner = top / path.lstrip("/")
        for folder in (inner, *inner.parents):
            if not folder.is_relative_to(top):
                break
            least = min(least, _of(folder))
    return least


def _of(folder: Path) -> float:
    try:
        if (unified := folder / "cpu.max").exists():
            quota, period = unified.read_text(encoding="ascii").split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii").strip()
            period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii").strip()
        return math.inf if quota == "max" or int(quota) <= 0 else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
