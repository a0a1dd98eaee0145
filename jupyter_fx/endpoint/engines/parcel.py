"""A parcel on its way, and whether its worker lives."""

from __future__ import annotations

import socket

from jupyter_fx.endpoint.engines.base import Engine
from jupyter_fx.endpoint.engines.fence import Fence, Frame, name_of
from jupyter_fx.endpoint.job import Job

__all__ = ["Parcel"]


class Parcel:
    """Tasks that travel together. `told`: the agent was asked to journal their START; `due`: when it is to be said that
    there is no live output, 0.0 when it was; `silent`: what the engine said when it lost its worker, who may live;
    `revoked`: it never starts.
    """

    __slots__ = ("due", "error", "jobs", "locked", "name", "revoked", "silent", "ticket", "told")

    def __init__(self, jobs: list[Job], number: int) -> None:
        first = jobs[0].work
        self.jobs = jobs
        self.name = name_of(first.task_id, first.attempt, len(jobs), number)
        self.told = self.locked = self.revoked = False
        self.due = 0.0
        self.ticket = 0
        self.silent = ""
        self.error: BaseException | None = None

    def complete(self, log: list[Frame]) -> bool:
        """Whether its worker has written down the end of each task."""
        return [header["op"] for header, _ in log].count("done") == len(self.jobs)

    def dead(self, log: list[Frame], fence: Fence, engine: Engine) -> bool:
        """Whether somebody attests that its worker is dead: the lock that this held is free, or the engine knows it.

        A lock that nobody has seen held proves nothing, except on the worker's own machine: some shared file systems
        keep locks from other nodes.
        """
        if fence.held(self.name):
            self.locked = True
            return False
        first = log[0][0] if log else {}
        here = first.get("locked") is True and str(first.get("host")) == socket.gethostname()
        return self.locked or here or engine.attests(self.error)
