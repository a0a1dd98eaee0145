"""How tasks go on and end: steps and results from agents, inputs, retries, and the one outcome."""

from __future__ import annotations

from typing import Final

from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import (
    CancelTasks,
    ErrorInfo,
    Input,
    Keep,
    Nack,
    Outcome,
    Result,
    Results,
    Update,
    Updates,
)
from jupyter_fx_hub.state import lifespan
from jupyter_fx_hub.state.core import Core, pack
from jupyter_fx_hub.state.io import FromAgent, Need, ToAgent
from jupyter_fx_hub.state.records import Endpoint, Task
from jupyter_fx_hub.state.why import why_waiting
from jupyter_fx_hub.store.ops import FinishTask

__all__ = ["arrive", "ask_again", "claim", "drop", "end", "holds", "lose", "nack", "resolve", "results", "unheard"]
__all__ += ["updates"]

INPUTS_INLINE_MAX: Final = 640 * 1024
"""Bytes of results that one task takes inside its message (results over 256 KiB are blobs and do not count)."""
ORPHANS_MAX: Final = 1000
"""Results of tasks unknown here that are remembered for when they are submitted; their agents keep them all."""
KILLS_MAX: Final = 3
RETRY_FIRST: Final = 1.0
RETRY_CAP: Final = 100.0
OUTCOME_KEEP: Final = 2048
"""Bytes of a result that stay in memory with a finished task; larger ones are read from the store when somebody asks.
"""

GIVEN_BACK: Final = "its endpoint gave it back"
"""Why a task is queued again that had not started; `load` knows it by this."""

_T = TaskState
_LEASED, _ACCEPTED, _RUNNING = _T.LEASED, _T.ACCEPTED, _T.RUNNING
_HAD: Final = (_LEASED, _ACCEPTED, _RUNNING)
_ERRORS: Final = {
    _T.CANCELLED: "CancelledError",
    _T.EXPIRED: "TaskExpired",
    _T.LOST: "TaskLost",
    _T.POISONED: "TaskPoisoned",
    _T.FAILED: "InfrastructureError",
}
_BY_NUMBER: Final = {int(state): state for state in _T if state >= 10}
_NO_TIMES: Final = [0.0, 0.0, 0.0]


def holds(core: Core, endpoint: Endpoint, task: Task, attempt: int, fence: tuple[int, int] | None) -> bool:
    """Whether this endpoint has this lease of the task.

    Leases of pinned tasks are sent while their commit is under way: one that an earlier hub could not write down
    before it died is newer than what the store had. It is taken for true: nobody else could have had the task.
    """
    live = task.state in _HAD
    same = task.endpoint_id == endpoint.endpoint_id and task.attempt == attempt
    if live and same and (fence is None or task.fence == fence):
        return True
    if (
        fence is None
        or task.unsure
        or not (task.pinned and task.endpoint_id == endpoint.endpoint_id and (live or task.state is _T.QUEUED))
        or not (attempt > task.attempt and task.fence < fence and fence[0] < core.boot)
    ):
        return False
    _adopt(core, endpoint, task, attempt, fence)
    return True


def unheard(core: Core, endpoint: Endpoint, task: Task, fence: tuple[int, int]) -> bool:
    """Whether this is a lease that an earlier hub could not write down, of a task that was leased once more since.

    Its endpoint has the task still: it answers the later lease with that, so it must not let go of it.
    """
    here = task.pinned and task.endpoint_id == endpoint.endpoint_id and not task.state.terminal
    return here and fence < task.fence and fence[0] < core.boot


def _adopt(core: Core, endpoint: Endpoint, task: Task, attempt: int, fence: tuple[int, int]) -> None:
    if core.waits_in_queue(task):
        core.queue_of(task).discard(task)
        endpoint.dirty = True
    if task.state is not _T.QUEUED:
        core.step(task, _T.QUEUED, core.wall, "an earlier hub leased it once more")
    task.not_before = 0.0
    task.attempt, task.fence, task.leased_at, task.leased_mark = attempt, fence, core.wall, core.now
    core.step(task, _LEASED, core.wall, "found at its endpoint")
    core.save(task)
    endpoint.leases[task.task_id] = task


def updates(core: Core, endpoint: Endpoint, message: Updates) -> None:
    """Steps of tasks at their endpoint. What does not fit is of the past: no effect."""
    back: list[Task] = []
    for update in message.updates:
        task = core.tasks.get(update.task_id)
        if task is None or not holds(core, endpoint, task, update.attempt, update.fence):
            core.counts["stale"] += 1
        elif update.phase == "requeue":
            if task.state in _HAD:
                _give_back(core, task, back)
        else:
            _phase(core, task, update)
    if back:
        core.requeue(back, GIVEN_BACK)


def _phase(core: Core, task: Task, update: Update) -> None:
    if update.phase == "waiting":
        task.note = update.reason
        return
    before = task.state
    if update.phase in {"accepted", "started"} and task.state is _LEASED:
        task.accepted_at = update.t
        core.step(task, _ACCEPTED, update.t)
    if update.phase == "started" and task.state is _ACCEPTED:
        task.started_at = update.t
        task.starts += 1
        task.note = ""
        core.step(task, _RUNNING, update.t)
    if task.state is not before:
        core.save(task)


def _give_back(core: Core, task: Task, back: list[Task]) -> None:
    """It was not started: cancelled or expired if that was wanted, else queued again.

    A RUNNING one waited behind another in its worker: START is written ahead, and its endpoint says that it was not
    used.
    """
    if task.state is _RUNNING:
        task.starts -= 1
        task.started_at = 0.0
        if task.expiring and task.cancelling is None:
            core.step(task, _T.QUEUED, core.wall, GIVEN_BACK)
    if task.cancelling is not None:
        end(core, task, _T.CANCELLED, error=_error(task, _T.CANCELLED, task.cancelling[1]))
    elif task.expiring:
        end(core, task, _T.EXPIRED, error=_error(task, _T.EXPIRED, "it waited longer than its `expires`"))
    else:
        back.append(task)


def nack(core: Core, endpoint: Endpoint, message: Nack) -> None:
    """Dispatched tasks that the agent did not take."""
    back: list[Task] = []
    for task_id, attempt in message.tasks:
        task = core.tasks.get(task_id)
        if task is None or not holds(core, endpoint, task, attempt, None):
            core.counts["stale"] += 1
        elif message.final and task.state in {_LEASED, _ACCEPTED}:
            end(core, task, _T.FAILED, error=message.error)
        elif task.state in {_LEASED, _ACCEPTED}:
            _give_back(core, task, back)
    if back:
        core.requeue(back, message.error.message)


def results(core: Core, endpoint: Endpoint, event: FromAgent, message: Results) -> None:
    """How attempts ended. The first one counts; others have no effect (and are acknowledged)."""
    unknown: list[Result] = []
    keep: list[tuple[str, int]] = []
    for result in message.results:
        task = core.tasks.get(result.task_id)
        if task is None or task.unsure:
            # Of an unconfirmed one the store may know more: nothing is decided before it has answered.
            unknown.append(result)
        elif task.state >= 10 or not holds(core, endpoint, task, result.attempt, result.fence):
            core.counts["late_results"] += 1
            # A loss may have been dealt with already, by a retry; what else a known lease can bring ends its task.
            if unheard(core, endpoint, task, result.fence) and not (result.lost and task.starts):
                keep.append((task.task_id, result.attempt))
        else:
            _result(core, task, result)
    if keep:
        core.first.append(ToAgent(endpoint.endpoint_id, Keep(keep)))
    if not unknown:
        return
    if not event.looked:
        core.last.append(Need([r.task_id for r in unknown], [], FromAgent(event.endpoint_id, Results(unknown))))
    else:
        # Nobody has submitted these on disk: the agent keeps them until somebody does.
        core.first.append(ToAgent(endpoint.endpoint_id, Keep([(r.task_id, r.attempt) for r in unknown])))
        for result in unknown:
            core.orphans[result.task_id] = (endpoint.endpoint_id, result)
        while len(core.orphans) > ORPHANS_MAX:
            del core.orphans[next(iter(core.orphans))]


def claim(core: Core, task: Task) -> None:
    """A task in its queue that is known to be new: if its endpoint has told its result already, that is its result."""
    endpoint_id, result = core.orphans.pop(task.task_id)
    if task.endpoint_id == endpoint_id:
        told = Results([result])
        results(core, core.endpoints[endpoint_id], FromAgent(endpoint_id, told, looked=True), told)


def _result(core: Core, task: Task, result: Result) -> None:
    state = _BY_NUMBER.get(result.state, _T.FAILED)
    times = result.times or _NO_TIMES
    error = result.error
    if result.lost and state is not _T.CANCELLED:
        _reach(core, task, times)
        killed = error is not None and error.etype == "WorkerLost"
        lose(core, task, killed=killed, state=_T.LOST if state is _T.LOST else _T.FAILED, error=error, result=result)
        return
    if state is _T.CANCELLED:
        if task.expiring and task.cancelling is None and not times[1]:
            _give_back(core, task, [])
            return
        if error is None or error.etype == _ERRORS[state]:
            why = task.cancelling[1] if task.cancelling else "cancelled at its endpoint"
            error = _error(task, state, why if error is None else f"{why}; {error.message}")
    if state is _T.SUCCEEDED or times[1]:
        _reach(core, task, times)
    if state in {_T.LOST, _T.POISONED, _T.EXPIRED} and error is None:
        error = _error(task, state, "its endpoint said so")
    if state is _T.POISONED or (state is _T.EXPIRED and task.state is _RUNNING):
        state = _T.FAILED  # an agent cannot decide these
    end(core, task, state, error=error, result=result)


def _reach(core: Core, task: Task, times: list[float]) -> None:
    """Go through the steps that the agent did not tell by themselves."""
    if task.state is _LEASED:
        core.ran(task, times[0] or core.wall, times[1] or core.wall)
    elif task.state is _ACCEPTED:
        task.started_at = times[1] or core.wall
        task.starts += 1
        core.step(task, _RUNNING, task.started_at)
    elif times[1] and times[1] < task.started_at:
        task.started_at = times[1]  # of an engine's tasks we hear later than they start


def lose(
    core: Core,
    task: Task,
    *,
    killed: bool,
    state: TaskState,
    error: ErrorInfo | None,
    result: Result | None = None,
    why: str = "",
) -> None:
    """An attempt is gone for certain (attested). Retried if its author allows, else recorded as what it is."""
    spec = task.spec
    retries = 0 if spec is None or spec.options is None or spec.session else spec.options.retries
    if killed:
        task.kills += 1
    if task.state is not _RUNNING:
        task.starts += 1  # it may have been started: that is what "lost" means
    reason = error.message if error is not None else why
    if task.cancelling is not None:
        end(core, task, _T.CANCELLED, error=_error(task, _T.CANCELLED, task.cancelling[1]), result=None)
    elif retries and task.kills >= KILLS_MAX and task.state is _RUNNING:
        info = _error(
            task, _T.POISONED, f"it killed its worker {task.kills} times and is not tried again; at last: {reason}"
        )
        end(core, task, _T.POISONED, error=info)
    elif retries and task.starts <= retries and (not task.expires or core.now < task.expires):
        wait = min(RETRY_CAP, RETRY_FIRST * 2.0 ** max(0, task.starts - 1))
        core.counts["retries"] += 1
        task.not_before = core.now + wait
        core.at(task.not_before, "retry", task.task_id)
        core.requeue([task], f"{'killed: ' if killed else 'lost: '}{reason}")
    elif state is _T.FAILED and task.state is _RUNNING:
        end(core, task, state, error=error or _error(task, state, reason), result=result)
    elif killed and error is not None and spec is not None and spec.session and task.state is _RUNNING:
        # A cell of a session is never run again: how its worker died is all there is to say.
        end(core, task, _T.FAILED, error=error, result=result)
    else:
        advice = "declare retries=N if running it twice does no harm"
        info = _error(task, _T.LOST, f"{reason}; {advice}")
        if killed and error is not None:
            info = ErrorInfo(error.etype, info.message, {**error.details, **info.details})
        end(core, task, _T.LOST, error=info)


def _error(task: Task, state: TaskState, message: str) -> ErrorInfo:
    return ErrorInfo(_ERRORS[state], message, {"task_id": task.task_id})


def drop(core: Core, task: Task, state: TaskState, reason: str, error: ErrorInfo | None = None) -> None:
    """End a task that no endpoint has (WAITING or QUEUED).

    One that the store has not confirmed may have an outcome there: it ends once it is known to be new.
    """
    if task.unsure:
        task.doom = (state, reason, error)
        return
    if core.waits_in_queue(task):
        core.queue_of(task).discard(task)
        core.touch(task)
    if task.missing:
        for waited in task.missing:
            waiting = core.dependents.get(waited)
            if waiting and task in waiting:
                waiting.remove(task)
                if not waiting:
                    del core.dependents[waited]
    if state is _T.EXPIRED and (waited_for := why_waiting(core, task)):
        reason = f"{reason}: {waited_for}"
    end(core, task, state, error=error or _error(task, state, reason))


def end(
    core: Core, task: Task, state: TaskState, *, error: ErrorInfo | None = None, result: Result | None = None
) -> None:
    """The one outcome: written, told after its commit, handed to the tasks that wait for it."""
    wall = core.wall
    if result is not None and result.times:
        finished = result.times[-1] or wall
    else:
        finished = wall
    core.step(task, state, finished, error.message[:500] if error is not None else "")
    endpoint = core.endpoints.get(task.endpoint_id)
    if endpoint is not None and endpoint.leases.pop(task.task_id, None) is not None:
        endpoint.finished += 1
        if endpoint.unsure:
            endpoint.unsure.discard(task.task_id)
    times = [task.submitted_at, task.leased_at, task.accepted_at, task.started_at, finished]
    task_id, endpoint_id, attempt = task.task_id, task.endpoint_id, task.attempt
    if result is None:
        op = FinishTask(
            task_id,
            state,
            attempt,
            task.fence,
            endpoint_id,
            pack(task.hist),
            finished,
            task.started_at,
            error=error,
            times=times,
        )
        outcome = Outcome(task_id, int(state), error=error, times=times, endpoint_id=endpoint_id, attempt=attempt)
    else:
        payload, blob, ref, usage = result.payload, result.blob, result.ref, result.usage
        op = FinishTask(
            task_id,
            state,
            attempt,
            task.fence,
            endpoint_id,
            pack(task.hist),
            finished,
            task.started_at,
            payload,
            error,
            blob,
            ref,
            times,
            usage,
        )
        outcome = Outcome(task_id, int(state), payload, error, blob, ref, times, usage, endpoint_id, attempt)
    core.writes.append(op)
    core.ended[state] += 1
    core.unfinished -= 1
    if task.link:
        core.outcomes.setdefault(task.link, []).append(outcome)
    if task.more:
        for link in task.more:
            core.outcomes.setdefault(link, []).append(outcome)
        task.more = None
    task.link = task.watch = 0
    task.spec = task.inputs = task.missing = task.cancelling = None
    task.hist = task.hist[-1:]  # the store has them all
    if len(outcome.payload) <= OUTCOME_KEEP:
        task.outcome = outcome
    core.done.append((core.now, task_id))
    if task.shape:
        lifespan.used_by(core, task.shape)
    if core.dependents and task_id in core.dependents:
        for dependent in core.dependents.pop(task_id):
            arrive(core, dependent, task_id, outcome)


def resolve(core: Core, task: Task) -> None:
    """Look which of its inputs exist; wait for the others."""
    assert task.missing is not None
    task.inputs = {}
    for task_id in sorted(task.missing):
        found = core.tasks.get(task_id)
        if found is None or found.owner != task.owner:
            info = ErrorInfo(
                "DependencyFailed", f"its input {task_id[-8:]} is not known any more: it was deleted", {"root": task_id}
            )
            drop(core, task, _T.FAILED, info.message, info)
            return
        if found.outcome is not None:
            arrive(core, task, task_id, found.outcome)
            if task.state is not _T.WAITING:
                return
        else:
            core.dependents.setdefault(task_id, []).append(task)


def arrive(core: Core, task: Task, task_id: str, outcome: Outcome) -> None:
    """An input of a task is at its end."""
    if task.state is not _T.WAITING or task.missing is None or task.inputs is None or task.doom is not None:
        return
    task.missing.discard(task_id)
    if outcome.state != _T.SUCCEEDED:
        failed = outcome.error
        root = task_id
        if failed is not None and failed.etype == "DependencyFailed":
            root = str(failed.details.get("root", task_id))
        state = _T(outcome.state).name
        said = failed.details.get("said", f"{failed.etype}: {failed.message}") if failed is not None else state
        info = ErrorInfo(
            "DependencyFailed", f"its input {root[-8:]} did not succeed ({state}): {said}", {"root": root, "said": said}
        )
        drop(core, task, _T.FAILED, info.message, info)
        return
    task.inputs[task_id] = Input(task_id, outcome.payload, outcome.blob, outcome.ref)
    if not task.missing:
        size = sum(len(given.payload) for given in task.inputs.values())
        if size > INPUTS_INLINE_MAX:
            told = f"its inputs are {size} bytes together, over {INPUTS_INLINE_MAX}: gather them in steps"
            drop(core, task, _T.FAILED, told, ErrorInfo("PayloadError", told, {"size": size}))
            return
        task.missing = None
        core.step(task, _T.QUEUED, core.wall)
        core.save(task)
        if not task.unsure:
            core.enqueue(task)


def ask_again(core: Core, endpoint: Endpoint) -> None:
    """After a reconnect: cancellations that wait for this endpoint's word."""
    by_mode: dict[int, list[tuple[str, int]]] = {}
    for task in endpoint.leases.values():
        if task.cancelling is not None or task.expiring:
            mode = task.cancelling[0] if task.cancelling else 0
            by_mode.setdefault(mode, []).append((task.task_id, task.attempt))
    for mode, tasks in by_mode.items():
        core.first.append(ToAgent(endpoint.endpoint_id, CancelTasks(tasks, mode)))
