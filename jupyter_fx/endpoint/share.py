"""What of its node's GPUs and cores a manager has given to which worker."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

__all__ = ["Share"]


class Share:
    """`gpus`: devices, as CUDA_VISIBLE_DEVICES names them; `cores`: processors that are ours alone, none where nobody
    has bound the job to some: pinning workers to guessed ones would put those of several jobs on the same.
    """

    def __init__(self, gpus: Sequence[str], cores: Sequence[int]) -> None:
        self._gpus = list(gpus)
        self._cores = sorted(cores)

    @property
    def gpus(self) -> int:
        """Devices that nobody has."""
        return len(self._gpus)

    def take_gpus(self, count: int) -> list[str]:
        """So many devices; there must be as many."""
        taken, self._gpus = self._gpus[:count], self._gpus[count:]
        assert len(taken) == count
        return taken

    def give_gpus(self, devices: list[str]) -> None:
        """They are free again."""
        self._gpus += devices
        devices.clear()

    def take_cores(self, count: int, pid: int) -> list[int]:
        """Pin a process, all its threads, to so many cores; none are taken where there are not as many."""
        if len(self._cores) < count or not pid:
            return []
        taken, self._cores = self._cores[:count], self._cores[count:]
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(OSError):
                    os.sched_setaffinity(int(thread.name), taken)
        return taken

    def give_cores(self, cores: list[int]) -> None:
        """They are free again."""
        if cores:
            self._cores = sorted([*self._cores, *cores])
            cores.clear()
