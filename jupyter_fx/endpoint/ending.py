"""How tasks end: their results are journaled, sent, and kept until the hub has them. Pure."""

from __future__ import annotations

from typing import Any

from jupyter_fx.endpoint import batches, outcome
from jupyter_fx.endpoint import journal_kinds as kinds
from jupyter_fx.endpoint.entry import FINISHED, Entry
from jupyter_fx.endpoint.events import Acked, KeepRef, Record, RefKept, Remove, Upload, Uploaded, Write
from jupyter_fx.endpoint.holding import Holding
from jupyter_fx.endpoint.talk import Done, Ended
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.limits import RESULT_HOME_MAX
from jupyter_fx.protocol.messages import ErrorInfo, Keep, RefInfo

__all__ = ["Endings"]


class Endings:
    """See the module."""

    def __init__(self, held: Holding) -> None:
        self._held = held

    def done(self, message: Done, _now: float) -> list[Any]:
        """A manager says that these ended."""
        out: list[Any] = []
        ready: list[Entry] = []
        for ended in message.results:
            entry = self._held.tasks.get(ended.task_id)
            if entry is None or entry.phase == FINISHED or ended.task_id in self._held.trust.strangers:
                out += self._held.let_go(ended.task_id)
                continue
            if entry.manager != self._held.speaker:
                # It never began there: it is somebody else's by now.
                continue
            result = outcome.result_of(entry, ended)
            self._held.finish(entry, result, ended.t1 - ended.t0)
            if ended.path:
                out += self._big(entry, ended)
            else:
                ready.append(entry)
        return out + self.send(ready)

    def send(self, entries: list[Entry]) -> list[Any]:
        """Journal, then send, in messages of a fair size."""
        if not entries:
            return []
        for entry in entries:
            entry.sent = True
        then = batches.of_results([entry.result for entry in entries if entry.result is not None])
        return [Write(Record(kinds.RESULT, [(entry.result, entry.upload) for entry in entries]), then)]

    def _big(self, entry: Entry, ended: Ended) -> list[Any]:
        """A value in a file: it stays here as a ref, or goes as a blob before its result is told."""
        result = entry.result
        assert result is not None
        options = entry.task.options
        most = (options.result_max if options is not None else 0) or RESULT_HOME_MAX
        if ended.size > most:
            return self._keep_ref(entry, ended.path, ended.size)
        entry.upload, entry.upload_size = ended.path, ended.size
        return [Write(Record(kinds.RESULT, [(result, ended.path)]), [Upload(entry.task.task_id, ended.path)])]

    @staticmethod
    def _keep_ref(entry: Entry, path: str, size: int) -> list[Any]:
        entry.upload, entry.upload_size = path, size
        return [KeepRef(entry.task.task_id, path)]

    def ref_kept(self, event: RefKept, _now: float) -> list[Any]:
        """A result stays here, or is nowhere: then the task has failed, whatever it did."""
        entry = self._held.tasks.get(event.key)
        result = entry.result if entry is not None else None
        if entry is None or result is None or not entry.upload:
            return []
        path, size, ref_id = entry.upload, entry.upload_size, entry.task.task_id
        entry.upload = ""
        if event.error is None:
            told = {"size": size, "task_id": ref_id}
            result.ref = RefInfo(ref_id, self._held.endpoint_id, size, told, entry.task.session)
            return self.send([entry])
        if result.state == TaskState.SUCCEEDED:
            result.state = int(TaskState.FAILED)
            why = f"the task ended, but its result of {size:,} bytes cannot be kept at the endpoint"
            result.error = ErrorInfo(event.error.etype, f"{why}: {event.error.message}; run it again")
        return [*self.send([entry]), Remove(path)]

    def uploaded(self, event: Uploaded, _now: float) -> list[Any]:
        """A large result is at the hub, or cannot go there."""
        entry = self._held.tasks.get(event.key)
        result = entry.result if entry is not None else None
        if entry is None or result is None or not entry.upload:
            return []
        if event.blob is None:
            # What cannot go to the hub is not lost: it stays here.
            return self._keep_ref(entry, entry.upload, entry.upload_size)
        result.blob = event.blob
        return self.send([entry])

    def acked(self, event: Acked, _now: float) -> list[Any]:
        """The hub holds what was sent up to a number: its results are ours no more."""
        done: list[str] = []
        out: list[Any] = []
        while self._held.sent and self._held.sent[0][0] <= event.number:
            for task_id in self._held.sent.popleft()[1]:
                entry = self._held.tasks.get(task_id)
                if entry is not None and entry.result is not None and entry.sent and entry.number <= event.number:
                    if entry.spared:
                        entry.spared = False
                        continue
                    if entry.upload:
                        out.append(Remove(entry.upload))
                    self._held.forget(entry)
                    done.append(task_id)
        if done:
            out.append(Write(Record(kinds.FORGET, done), []))
        return out

    def keep(self, message: Keep, _now: float) -> list[Any]:
        """The hub does not know these: their results outlast the ack that follows."""
        kept: list[str] = []
        for task_id, attempt in message.tasks:
            entry = self._held.tasks.get(task_id)
            if entry is not None and entry.result is not None and entry.task.attempt == attempt:
                entry.kept = entry.spared = True
                kept.append(task_id)
        return [Write(Record(kinds.KEEP, kept), [])] if kept else []
