"""From what a manager says of an ended task to the Result that the hub is told. Pure; opens no pickle."""

from __future__ import annotations

import json
import struct
from typing import Any, Final

from jupyter_fx.endpoint.entry import Entry
from jupyter_fx.endpoint.talk import Ended
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import ErrorInfo, LeasedTask, Result

__all__ = ["cancelled", "error_of", "lost", "restamped", "result_of"]

_PREFIX: Final = struct.Struct("!4sI")
_MESSAGE_MAX: Final = 4000
_TRACEBACK_MAX: Final = 32 * 1024
_STATES: Final = {
    "ok": TaskState.SUCCEEDED,
    "error": TaskState.FAILED,
    "timeout": TaskState.FAILED,
    "cancelled": TaskState.CANCELLED,
    "lost": TaskState.LOST,
}


def error_of(envelope: bytes) -> ErrorInfo:
    """What the header of an `error` envelope says (its first bytes are enough, if they hold the header)."""
    header: dict[str, Any] = {}
    if len(envelope) >= _PREFIX.size:
        _magic, length = _PREFIX.unpack_from(envelope)
        try:
            header = json.loads(envelope[_PREFIX.size : _PREFIX.size + length])
        except ValueError:
            header = {}
    lines = header.get("traceback") or ""
    text = lines if isinstance(lines, str) else "\n".join(str(line).rstrip("\n") for line in lines)
    details = {"module": str(header.get("module", "builtins")), "remote_traceback": text[-_TRACEBACK_MAX:]}
    return ErrorInfo(str(header.get("etype", "Exception")), str(header.get("message", ""))[:_MESSAGE_MAX], details)


def result_of(entry: Entry, ended: Ended) -> Result:
    """The Result of an ended task, still without blob or ref when its value is in a file."""
    task = entry.task
    error = ended.error
    state = _STATES[ended.outcome]
    if ended.outcome == "error" and error is None:
        error = error_of(ended.payload)
    elif ended.outcome == "timeout":
        limit = task.options.timeout if task.options else 0.0
        error = ErrorInfo("TaskTimeout", f"the task ran longer than its timeout of {limit:g} s and was stopped")
    return Result(
        task.task_id,
        task.attempt,
        task.fence,
        int(state),
        ended.payload,
        error,
        times=[entry.accepted, ended.t0, ended.t1],
        usage=ended.usage,
        lost=ended.outcome == "lost",
    )


def lost(task: LeasedTask, accepted: float, started: float, now: float, why: str = "") -> Result:
    """The Result of a task that had started when its agent or manager died (`why`, if known): nobody knows what became
    of it.
    """
    message = (
        f"{f'{why}' if why else 'the agent of the endpoint died'} while this task ran, so whether it ended cannot be "
        "known; declare retries=N if running it twice does no harm"
    )
    return Result(
        task.task_id,
        task.attempt,
        task.fence,
        int(TaskState.LOST),
        error=ErrorInfo("TaskLost", message),
        times=[accepted, started, now],
        lost=True,
    )


def cancelled(entry: Entry, now: float) -> Result:
    """The Result of a task that never started."""
    task = entry.task
    return Result(task.task_id, task.attempt, task.fence, int(TaskState.CANCELLED), times=[entry.accepted, 0.0, now])


def restamped(result: Result, task: LeasedTask) -> Result:
    """The same result under the attempt and fence of a later lease."""
    result.attempt, result.fence = task.attempt, task.fence
    return result
