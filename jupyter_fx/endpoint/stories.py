"""What running tasks tell, on its way to the agent: text coalesced, displays in order with it, progress, usage."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, Final

from jupyter_fx.endpoint.coalesce import Coalescer
from jupyter_fx.endpoint.job import Job
from jupyter_fx.endpoint.logs import TaskLogs
from jupyter_fx.endpoint.talk import Said
from jupyter_fx.endpoint.textbars import TextBars
from jupyter_fx.protocol.messages import EventKind

__all__ = ["DISPLAYS_MAX", "DISPLAY_MAX", "PART_BYTES", "Stories"]

_KINDS: Final = {"progress": int(EventKind.PROGRESS), "usage": int(EventKind.USAGE)}
PART_BYTES: Final = 192 * 1024
"""Bytes of a display in one event: less than what a hub keeps of one (256 KiB)."""
DISPLAY_MAX: Final = 16 << 20
"""Bytes of a display that is told whole."""
DISPLAYS_MAX: Final = 128 << 20
"""The same of all large displays of a task."""
_SMALL: Final = 48 * 1024
"""Characters of a representation that stands beside a large one."""
_PARSE_MAX: Final = 8 << 20
"""Bytes of JSON: more of it is not read just to keep the small representations beside a large one."""


class Stories:
    """Collects pieces; `flush` sends them, at the end of the loop's turn at the latest."""

    def __init__(self, send: Callable[[Any], None], logs: TaskLogs, loop: asyncio.AbstractEventLoop) -> None:
        self._send = send
        self._logs = logs
        self._shown: dict[str, int] = {}
        """Bytes of large displays by task."""
        self._loop = loop
        self._pieces: list[tuple[str, int, float, Any, int]] = []
        self._armed = False

    def text(self, job: Job, stream: int, text: bytes) -> None:
        """A task wrote."""
        if job.text is None or job.bars is None:
            job.text, job.bars = Coalescer(), TextBars(self._loop.time())
        self._keep(job, job.text, stream, job.bars.feed(stream, text))
        due = job.text.due()
        # What is armed may be for bars alone, and those wait longer.
        if job.flushing is None or (due is not None and due < job.flushing.when()):
            if job.flushing is not None:
                job.flushing.cancel()
            self._pump(job)

    def _keep(self, job: Job, whole: Coalescer, stream: int, text: bytes) -> None:
        if text:
            self._logs.append(job.work.task_id, job.work.attempt, stream, text)
            whole.add(stream, text)

    def _pump(self, job: Job) -> None:
        """Send what may go now; come back for the rest."""
        job.flushing = None
        if job.text is None or job.bars is None:
            return
        now = self._loop.time()
        self._put_text(job, job.text.take(now))
        if bars := job.bars.take(now):
            self._put(job, EventKind.PROGRESS, {"bars": bars})
        due = [at for at in (job.text.due(), job.bars.due()) if at is not None]
        if due:
            job.flushing = self._loop.call_at(max(min(due), now + 0.001), self._pump, job)

    def _put_text(self, job: Job, frames: list[tuple[int, bytes]]) -> None:
        for stream, data in frames:
            self._put(job, stream, data)

    def _put(self, job: Job, kind: int, data: Any) -> None:
        self._pieces.append((job.work.task_id, kind, time.time(), data, job.said))
        job.said += 1
        if not self._armed:
            self._armed = True
            self._loop.call_soon(self.flush)

    def told(self, job: Job, header: dict[str, Any], body: memoryview | bytes = b"") -> None:
        """A `display` or `event` frame; a large display stands in the body."""
        op = header["op"]
        if job.text is not None:
            self._put_text(job, job.text.take(self._loop.time(), final=True))
        if op == "display":
            self._show(job, header, body)
        elif op == "event":
            kind = header.get("kind", "")
            known = _KINDS.get(kind)
            if known is not None:
                self._put(job, known, header.get("data"))
            else:
                self._put(job, EventKind.NOTE, {"kind": str(kind)[:100], "data": header.get("data")})

    def _show(self, job: Job, header: dict[str, Any], body: memoryview | bytes) -> None:
        """Tell a display; a large one in parts, each an event of its own, and then what of it is small."""
        content, whole = header["content"], bytes(body) if header.get("body") == "json" else b""
        if not whole:
            whole = json.dumps(content).encode()
            if len(whole) <= PART_BYTES:
                self._put(job, EventKind.DISPLAY, {"kind": header["kind"], "content": content})
                return
        elif len(whole) <= _PARSE_MAX:
            content = json.loads(whole)
        shown = self._shown.get(job.work.task_id, 0) + len(whole)
        if len(whole) > DISPLAY_MAX or shown > DISPLAYS_MAX:
            self._put(job, EventKind.DISPLAY, {"kind": header["kind"], "content": _small(content, len(whole))})
            return
        self._shown[job.work.task_id] = shown
        parts = [whole[at : at + PART_BYTES] for at in range(0, len(whole), PART_BYTES)]
        for part in parts:
            self._put(job, EventKind.DISPLAY, {"kind": "part", "bytes": part})
            # No message holds more than one of them.
            self.flush()
        stub = {"kind": header["kind"], "content": _small(content, 0), "parts": len(parts)}
        self._put(job, EventKind.DISPLAY, stub)

    def progress(self, job: Job) -> None:
        """How many items of a map chunk are done."""
        bar = {"id": "items", "done": job.items, "total": job.work.items or None, "unit": "it"}
        self._put(job, EventKind.PROGRESS, {"bars": [bar]})

    def usage(self, job: Job, data: dict[str, Any]) -> None:
        """A sample of what a task uses."""
        self._put(job, EventKind.USAGE, data)

    def note(self, job: Job, text: str) -> None:
        """A sentence for the task's reader."""
        self._put(job, EventKind.NOTE, {"text": text})

    def finish(self, job: Job) -> None:
        """The task is over: all of its text goes, before its result."""
        self._shown.pop(job.work.task_id, None)
        if job.flushing is not None:
            job.flushing.cancel()
            job.flushing = None
        if job.text is not None and job.bars is not None:
            for stream, text in job.bars.rest():
                self._keep(job, job.text, stream, text)
            self._put_text(job, job.text.take(self._loop.time(), final=True))
            job.text = job.bars = None
            self._logs.ended(job.work.task_id, job.work.attempt)

    def flush(self) -> None:
        """Send what is collected."""
        self._armed = False
        if self._pieces:
            pieces, self._pieces = self._pieces, []
            self._send(Said(pieces))

    def close(self) -> None:
        """Nobody listens any more."""
        self._pieces.clear()


def _small(content: dict[str, Any], size: int) -> dict[str, Any]:
    """What of a large display fits into an event; with `size` its text says what is missing."""
    data = content.get("data")
    if not isinstance(data, dict):
        return content
    large = {mime: len(str(value)) for mime, value in data.items() if len(str(value)) > _SMALL}
    left = {mime: value for mime, value in data.items() if mime not in large}
    text = str(left.get("text/plain", ""))
    if size and large:
        said = ", ".join(f"{mime} of {length / 2**20:.1f} MiB" for mime, length in large.items())
        text = f"[{said} is too large to be shown: return it or save it there]\n{text}"
    return {**content, "data": {**left, "text/plain": text}}
