"""The jobs that wait in a manager, one line for each lane (environment, width): a container that is still starting
keeps nobody waiting but its own.
"""

from __future__ import annotations

from collections import deque

from jupyter_fx.endpoint.job import Job

__all__ = ["Lines"]


class Lines:
    """See the module."""

    __slots__ = ("_lines",)

    def __init__(self) -> None:
        self._lines: dict[tuple[str, int, int], deque[Job]] = {}

    def append(self, job: Job) -> None:
        """It goes to the end of its line."""
        line = self._lines.get(job.lane)
        if line is None:
            line = self._lines[job.lane] = deque()
        line.append(job)

    def appendleft(self, job: Job) -> None:
        """It comes back: to the head of its line."""
        self._lines.setdefault(job.lane, deque()).appendleft(job)

    def in_order(self) -> list[deque[Job]]:
        """The lines that hold something, the one whose head came first before the others."""
        if len(self._lines) == 1:
            return list(self._lines.values())
        for lane in [lane for lane, line in self._lines.items() if not line]:
            del self._lines[lane]
        return sorted(self._lines.values(), key=lambda line: line[0].no)

    def remove(self, job: Job) -> None:
        """Take one out. ValueError when it is not in line."""
        self._lines.get(job.lane, deque()).remove(job)

    def taken_out(self, environment: str) -> list[Job]:
        """Take out all that want this environment."""
        lanes = [lane for lane in self._lines if lane[0] == environment]
        return [job for lane in lanes for job in self._lines.pop(lane)]

    def clear(self) -> list[Job]:
        """Take out all, in the order in which they came."""
        found = sorted((job for line in self._lines.values() for job in line), key=lambda job: job.no)
        self._lines.clear()
        return found
