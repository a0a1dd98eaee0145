"""A task inside a manager."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from jupyter_fx.endpoint.coalesce import Coalescer
from jupyter_fx.endpoint.rows import Rows
from jupyter_fx.endpoint.talk import Work
from jupyter_fx.endpoint.textbars import TextBars
from jupyter_fx.protocol.messages import Kind

if TYPE_CHECKING:
    from jupyter_fx.endpoint.worker_proc import WorkerProc

__all__ = ["VERBS", "Job"]

VERBS: dict[int, str] = {Kind.CALL: "call", Kind.MAP: "map", Kind.CELL: "cell"}


class Job:
    """One `Work` on its way. `handed`: monotonic time at which its worker got it; 0.0 before."""

    __slots__ = (
        "bars",
        "cancel",
        "flushing",
        "handed",
        "interrupted",
        "items",
        "key",
        "lane",
        "no",
        "progressed",
        "rows",
        "said",
        "sample_at",
        "text",
        "timed_out",
        "timers",
        "why_killed",
        "work",
        "worker",
    )

    def __init__(self, no: int, work: Work) -> None:
        self.no = no
        self.work = work
        self.key = work.function if work.kind == Kind.CALL else work.function + "+" if work.kind == Kind.MAP else ""
        """What its duration is remembered by."""
        self.lane = ("" if work.environment == "host" else work.environment, work.cores, work.gpus)
        """What it waits in line with: tasks of its environment, width and number of GPUs."""
        self.worker: WorkerProc | None = None
        self.handed = 0.0
        self.sample_at = 0.0
        """Monotonic time from which its use of memory and processor is told again."""
        self.cancel = -1
        """The CancelMode that was asked for, -1: none."""
        self.timed_out = False
        self.interrupted = False
        """Whether it was sent a SIGINT."""
        self.why_killed = ""
        """Set when the manager itself ends the worker because of this task: the reason, for people."""
        self.items = 0
        """Items of a map chunk whose results have come."""
        self.rows: Rows | None = None
        """Those results."""
        self.progressed = 0.0
        self.said = 0
        """Pieces of its story that were told."""
        self.text: Coalescer | None = None
        self.bars: TextBars | None = None
        """Set with `text`."""
        self.flushing: asyncio.TimerHandle | None = None
        self.timers: tuple[asyncio.TimerHandle, ...] = ()

    def settle(self) -> None:
        """It is over: no timer of it shall fire."""
        for timer in self.timers:
            timer.cancel()
        self.timers = ()
        if self.flushing is not None:
            self.flushing.cancel()
            self.flushing = None
