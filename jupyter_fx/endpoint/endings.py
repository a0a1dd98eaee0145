"""What the agent is told of a job that has ended: by its worker's word, or by how its worker ended."""

from __future__ import annotations

import time
from typing import Any

from jupyter_fx.endpoint.crash import lost_error
from jupyter_fx.endpoint.job import Job
from jupyter_fx.endpoint.ladder import ended_by
from jupyter_fx.endpoint.outcome import error_of
from jupyter_fx.endpoint.rows import head_of
from jupyter_fx.endpoint.talk import Ended
from jupyter_fx.endpoint.worker_proc import WorkerProc
from jupyter_fx.protocol.messages import CancelMode, Kind

__all__ = ["crashed", "ended_as", "ran_in"]


def ended_as(job: Job, outcome: str, payload: bytes, info: dict[str, Any]) -> Ended:
    """What is told of a job that its worker has ended, by what that said of it."""
    end = Ended(job.work.task_id, outcome, payload, info["t0"], info["t1"])
    if outcome != "ok" and (job.cancel >= 0 or job.timed_out):
        end.outcome = "timeout" if job.timed_out else "cancelled"
    elif outcome == "interrupted":
        end.outcome = "error"
    if "path" in info:
        end.path, end.size = info["path"], info.get("bytes", 0)
    if "n" in info:
        end.usage = {key: info[key] for key in ("failed", "failures") if key in info} | {"items": info["n"]}
    if end.outcome == "error" or job.rows is not None:
        _explain(job, end)
    return end


def ran_in(worker: WorkerProc, host: str) -> dict[str, Any]:
    """The image that a task ran in, and the node, which cannot be seen inside."""
    container = worker.container
    return {"image": container.environment, "digest": container.digest, **({"node": host} if host else {})}


def _explain(job: Job, end: Ended) -> None:
    """Say the error in words, since the payload of a map is what was finished before it."""
    if end.outcome == "error" and end.error is None:
        end.error = error_of(end.payload or head_of(end.path))
    if job.rows is not None:
        end.payload, end.path, end.size = job.rows.whole()


def crashed(
    worker: WorkerProc, job: Job, status: int | None, rss: int, cpu: float, *, host: str, over: bool = False
) -> Ended:
    """What is told of a job whose worker died with it in hand. `over`: it had ended; one that was taken up after it
    killed the worker before its result was told.
    """
    work = job.work
    usage = {"rss": rss, "cpu": cpu, **(ran_in(worker, host) if worker.container.environment else {})}
    now = time.time()
    begun = now - (time.monotonic() - job.handed)
    if job.cancel >= 0 or job.timed_out:
        how = "timeout" if job.timed_out else "cancelled"
        told = None if job.timed_out or job.cancel == CancelMode.KILL else ended_by(status)
        return Ended(work.task_id, how, t0=begun, t1=now, error=told, usage=usage)
    extra: dict[str, Any] = {}
    doing = "it ran this task"
    if work.kind == Kind.MAP:
        extra = {"finished": job.items, "in_hand": int(worker.counters.item)}
        doing = f"it ran item {extra['in_hand']} of this chunk"
    error = lost_error(
        doing=doing,
        status=status,
        rss=rss,
        last_words=worker.last_words,
        why=job.why_killed,
        extra=extra,
        over=over,
    )
    end = Ended(work.task_id, "lost", t0=begun, t1=now, error=error, usage=usage)
    _explain(job, end)
    return end
