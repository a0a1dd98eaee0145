"""From what a parcel's worker has written to what became of its tasks."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from jupyter_fx.endpoint.engines.fence import Frame
from jupyter_fx.endpoint.engines.limits import title
from jupyter_fx.endpoint.outcome import error_of
from jupyter_fx.endpoint.rows import Rows, head_of
from jupyter_fx.endpoint.talk import Ended
from jupyter_fx.protocol.messages import ErrorInfo

__all__ = ["Harvest", "harvest", "lost"]


class Harvest:
    """What is known of one task. `texts`: (stream, bytes) as it wrote them; `ended` None: its end was not seen."""

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        self.began = 0.0
        self.texts: list[tuple[int, bytes]] = []
        self.items = 0
        self.ended: Ended | None = None
        self._rows: Rows | None = None
        self._broken = ""

    def take(self, header: dict[str, Any], body: memoryview, spill: Path) -> None:
        """One frame."""
        op = header["op"]
        if op == "start":
            self.began = float(header["t"])
        elif op == "text":
            self.texts.append((int(header["stream"]), bytes(body)))
        elif op == "items":
            self._take_items(header, bytes(body), spill)
        elif op == "done":
            self.ended = self._end(header, bytes(body))

    def _take_items(self, header: dict[str, Any], body: bytes, spill: Path) -> None:
        if self._rows is None:
            self._rows = Rows(spill)
        if self._broken:
            return
        try:
            self._rows.add(body, header.get("path", ""))
        except OSError as error:
            self._broken = str(error)
            return
        self.items = header["first"] + header["count"]

    def _end(self, header: dict[str, Any], payload: bytes) -> Ended:
        outcome = "error" if header["outcome"] == "interrupted" else header["outcome"]
        end = Ended(self.task_id, outcome, payload, header["t0"], header["t1"])
        if "path" in header:
            end.path, end.size = header["path"], header.get("bytes", 0)
        if "n" in header:
            end.usage = {"items": header["n"], "failed": header.get("failed", 0)}
        if end.outcome == "error":
            end.error = error_of(end.payload or head_of(end.path))
        return self._with_rows(end)

    def _with_rows(self, end: Ended) -> Ended:
        if self._rows is not None:
            end.payload, end.path, end.size = self._rows.whole()
        if not self._broken:
            return end
        if end.path:
            Path(end.path).unlink(missing_ok=True)
        return self._unfetched(end, self._broken)

    def unfetched(self, why: str) -> Ended:
        """It ended, and what it gave cannot be had."""
        assert self.ended is not None
        return self._unfetched(self.ended, why)

    def _unfetched(self, end: Ended, why: str) -> Ended:
        error = ErrorInfo("InfrastructureError", f"this task ended, but its result cannot be fetched: {why}")
        return Ended(self.task_id, "error", t0=end.t0, t1=end.t1, error=error)

    def lost(self, error: ErrorInfo) -> Ended:
        """It started and was not seen to end; what a map had finished is kept."""
        if self._rows is not None:
            told = f"{error.message}; {self.items} items of this chunk had been finished"
            error = ErrorInfo(error.etype, told, {**error.details, "finished": self.items})
        now = time.time()
        return self._with_rows(Ended(self.task_id, "lost", t0=self.began or now, t1=now, error=error))


def harvest(tasks: list[str], log: list[Frame], spill: Path) -> list[Harvest]:
    """What became of these tasks, in their order."""
    found = [Harvest(task_id) for task_id in tasks]
    for header, body in log:
        if header["op"] in {"start", "text", "items", "done"}:
            found[header["no"]].take(header, body, spill)
    return found


def lost(engine: str, words: str) -> ErrorInfo:
    """The error of a task whose worker was lost."""
    return ErrorInfo("WorkerLost", f"the worker of {title(engine)} that ran this task was lost: {words}", {})
