"""What clients ask for: submissions, cancellations, attaching; and what time does to tasks that wait."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Final

from blake3 import blake3

from jupyter_fx.protocol.lifecycle import EndpointState, SessionState, TaskState
from jupyter_fx.protocol.limits import INLINE_MAX, MAP_ITEMS_MAX, NAME_MAX, PARTS_MAX, PAYLOAD_MAX
from jupyter_fx.protocol.messages import (
    Attach,
    Cancel,
    CancelTasks,
    Detach,
    ErrorInfo,
    Functions,
    Kind,
    Outputs,
    Submit,
    TaskSpec,
)
from jupyter_fx.protocol.shapes import session_shape, shape_of
from jupyter_fx_hub.state import events, finish, lifespan
from jupyter_fx_hub.state.core import Core, pack
from jupyter_fx_hub.state.io import FromClient, Need, Replay, ToAgent
from jupyter_fx_hub.state.records import Endpoint, Session, Task
from jupyter_fx_hub.store.ops import InsertTask, PutFunction

__all__ = [
    "attach",
    "cancel",
    "cancel_task",
    "confirmed",
    "detach",
    "expire",
    "functions",
    "nearest",
    "refused",
    "stays",
    "submit",
]

_ID: Final = re.compile(r"[0-9a-f]{32}").fullmatch
_DIGEST: Final = re.compile(r"[0-9a-f]{64}").fullmatch
INPUTS_MAX: Final = 256
RETRIES_MAX: Final = 100
SPEC_MAX: Final = INLINE_MAX + 64 * 1024
"""Bytes of a task's description, payload included."""
_QUEUED, _WAITING = TaskState.QUEUED, TaskState.WAITING


class _Refusal(Exception):
    """This task is not taken."""

    def __init__(self, message: str, etype: str = "UsageError") -> None:
        super().__init__(message)
        self.info = ErrorInfo(etype, message)


def functions(core: Core, event: FromClient, message: Functions) -> None:
    """Remember functions, and write those that are new."""
    for function in message.functions:
        key = (event.owner, function.digest)
        blob = function.blob
        if not _DIGEST(function.digest) or key in core.functions or (blob is not None and not _DIGEST(blob.digest)):
            continue
        core.functions[key] = function
        core.writes.append(
            PutFunction(
                function.digest, event.owner, function.name[:NAME_MAX], function.payload, function.blob, core.wall
            )
        )


def submit(core: Core, event: FromClient, message: Submit) -> None:
    """Take what can be taken; Rejected tells the rest."""
    if not event.looked and (need := _unknown(core, event, message)) is not None:
        core.last.append(need)
        return
    link, owner, fresh = event.link, event.owner, event.fresh
    refused: dict[str, tuple[ErrorInfo, list[str]]] = {}
    doubted: list[TaskSpec] = []
    tasks, taken = core.tasks, 0
    for spec in message.tasks:
        try:
            known = tasks.get(spec.task_id)
            if known is None:
                _take(core, link, owner, spec, fresh)
                taken += 1
            else:
                _again(core, link, owner, spec, known)
        except _Refusal as refusal:
            if not fresh and not event.looked:
                doubted.append(spec)
            else:
                refused.setdefault(refusal.info.message, (refusal.info, []))[1].append(spec.task_id)
    core.counts["submitted"] += taken
    if doubted:
        # What would be refused now may have been taken before, and have its outcome: the store knows.
        need = Need([spec.task_id for spec in doubted], [], FromClient(link, owner, Submit(doubted)))
        core.last.append(need)
    for info, task_ids in refused.values():
        core.reject(link, task_ids, info)


def _unknown(core: Core, event: FromClient, message: Submit) -> Need | None:
    """The functions and inputs of a submission that must be looked up first."""
    digests = {spec.function for spec in message.tasks}
    lacking = [(event.owner, d) for d in digests if d and (event.owner, d) not in core.functions]
    own = (
        {spec.task_id for spec in message.tasks}
        if any(spec.options and spec.options.inputs for spec in message.tasks)
        else set()
    )
    inputs: set[str] = set()
    for spec in message.tasks:
        if spec.options is not None and spec.options.inputs and spec.task_id not in core.tasks:
            for task_id in spec.options.inputs:
                found = core.tasks.get(task_id)
                if task_id not in own and (found is None or (found.state.terminal and found.outcome is None)):
                    inputs.add(task_id)
    if not lacking and not inputs:
        return None
    if not event.fresh:
        inputs |= {spec.task_id for spec in message.tasks if spec.task_id not in core.tasks}
    return Need(sorted(inputs), lacking, event)


def _digest_of(spec: TaskSpec) -> tuple[bytes, bytes]:
    """(encoded, digest) of a spec, whatever its submitter wants to watch."""
    watch = spec.watch
    if watch:
        spec.watch = 0
        data = pack(spec)
        spec.watch = watch
    else:
        data = pack(spec)
    return data, blake3(data).digest(16)


def _again(core: Core, link: int, owner: str, spec: TaskSpec, known: Task) -> None:
    """A submission that came before: no effect, but its sender follows the task from now on."""
    core.counts["duplicates"] += 1
    if known.owner != owner or _digest_of(spec)[1] != known.hash:
        raise _Refusal(f"task id {spec.task_id} was used for another task already: submit this one under a new id")
    if known.state.terminal:
        core.last.append(Replay(link, owner, spec.task_id, 0, -1, 0))
    else:
        follow(known, link, spec.watch)


def _take(core: Core, link: int, owner: str, spec: TaskSpec, fresh: bool) -> None:
    options = spec.options
    _check(core, owner, spec)
    session = _session_of(core, owner, spec) if spec.session else None
    fresh = fresh and (session is None or not session.unsure)
    endpoint = _endpoint_of(core, owner, spec, session)
    if session is not None:
        lifespan.used(core, session)
        shape = session_shape(session.spec.session_id)
    else:
        shape = "" if options is None else shape_of(options.resources)
    data, digest = _digest_of(spec)
    if len(data) > SPEC_MAX:
        raise _Refusal(f"the task's description is {len(data)} bytes, over {SPEC_MAX}: its origin or name is too long")
    core.seq += 1
    wall = core.wall
    missing = _missing_inputs(core, owner, spec)
    state = _WAITING if missing else _QUEUED
    task = Task(
        spec.task_id,
        owner,
        spec,
        digest,
        core.seq,
        shape,
        "" if endpoint is None else endpoint.endpoint_id,
        wall,
        [(0, int(state), wall, "")],
        state=state,
        pinned=endpoint is not None,
        unsure=not fresh,
        link=link,
        watch=spec.watch,
    )
    core.tasks[spec.task_id] = task
    core.unfinished += 1
    expires_at = 0.0
    if options is not None and options.expires:
        expires_at = wall + options.expires
        task.expires = core.now + options.expires
        core.at(task.expires, "expires", spec.task_id)
    core.writes.append(
        InsertTask(
            spec.task_id,
            owner,
            spec.kind,
            spec.function,
            task.endpoint_id,
            spec.session,
            state,
            digest,
            data,
            wall,
            pack(task.hist),
            "" if options is None else options.name,
            "" if options is None else options.group,
            expires_at,
            plain=options is None,
        )
    )
    if not fresh:
        core.confirm.append(spec.task_id)
        if session is not None:
            session.unsure += 1
    if fresh and spec.watch:
        core.tell_state(task, 0, state, wall, "")
    if missing:
        task.missing = missing
        finish.resolve(core, task)
    elif fresh:
        core.enqueue(task)


def _check(core: Core, owner: str, spec: TaskSpec) -> None:
    """Raise _Refusal for what is wrong with a spec by itself."""
    if not _ID(spec.task_id):
        raise _Refusal(f"{spec.task_id[:40]!r} is no task id: 32 hexadecimal digits are")
    if not 0 <= spec.kind <= 2:
        raise _Refusal(f"{spec.kind} is no kind of task that this hub knows: it may be older than the client")
    _check_payload(spec)
    if spec.kind == Kind.CELL:
        if spec.function:
            raise _Refusal("a cell names no function")
    elif (owner, spec.function) not in core.functions:
        raise _Refusal(f"function {spec.function[:16]!r} is not known: send it before the tasks that name it")
    options = spec.options
    if options is None:
        return
    if not 0 <= options.retries <= RETRIES_MAX:
        raise _Refusal(f"retries={options.retries} is out of bounds: 0 to {RETRIES_MAX}")
    if options.retries and spec.session:
        raise _Refusal(
            "cells of a session are never retried: they may have changed its variables; use --stateless with --retries"
        )
    if len(options.inputs) > INPUTS_MAX:
        raise _Refusal(f"{len(options.inputs)} inputs are over {INPUTS_MAX}: gather them in steps")
    if options.items > MAP_ITEMS_MAX or options.items < 0:
        raise _Refusal(f"{options.items} items in one chunk are over {MAP_ITEMS_MAX}: use more chunks")
    if not (0 <= options.expires < 1e9 and 0 <= options.timeout < 1e9):
        raise _Refusal("expires and timeout are seconds and not negative; 0 means none")
    if len(options.name) > NAME_MAX:
        options.name = options.name[:NAME_MAX]


def _check_payload(spec: TaskSpec) -> None:
    """The same for what it carries."""
    if len(spec.payload) > INLINE_MAX:
        raise _Refusal(
            f"a payload of {len(spec.payload)} bytes is over {INLINE_MAX}: it must be sent as a blob", "PayloadError"
        )
    if spec.options is not None and spec.options.blob is not None and not _DIGEST(spec.options.blob.digest):
        raise _Refusal("the digest of a payload's blob is 64 hexadecimal digits")
    if spec.options is not None and spec.options.parts:
        parts = spec.options.parts
        if len(parts) > PARTS_MAX or sum(part.size for part in parts) > PAYLOAD_MAX:
            raise _Refusal(f"a payload has at most {PARTS_MAX} parts and {PAYLOAD_MAX} bytes", "PayloadError")
        if not all(_DIGEST(part.digest) for part in parts):
            raise _Refusal("the digest of a payload's part is 64 hexadecimal digits")


def _session_of(core: Core, owner: str, spec: TaskSpec) -> Session:
    session = core.sessions.get(spec.session)
    if session is None or session.owner != owner:
        raise _Refusal(f"no session {spec.session[-8:]!r}: it was closed or never opened; open a new one")
    if session.error is not None:
        raise _Refusal(session.error.message, session.error.etype)
    if session.state in {SessionState.CLOSING, SessionState.CLOSED, SessionState.LOST}:
        raise _Refusal(
            f"session {spec.session[-8:]} is {session.state.name.lower()} ({session.reason or 'closed'}): "
            "open a new one"
        )
    return session


def _endpoint_of(core: Core, owner: str, spec: TaskSpec, session: Session | None) -> Endpoint | None:
    """The one endpoint that may take it, or None when whichever has room may."""
    if session is not None:
        return core.endpoints[session.endpoint_id]
    if spec.endpoint:
        found = core.endpoints.get(core.names.get((owner, spec.endpoint), spec.endpoint))
        if found is None or found.owner != owner or found.state is EndpointState.DELETED:
            raise _Refusal(nearest(core, owner, spec.endpoint))
        return found
    own = core.owned.get(owner, [])
    return own[0] if len(own) == 1 else None


def nearest(core: Core, owner: str, name: str) -> str:
    """The sentence about an endpoint that does not exist."""
    names = [e.name for e in core.owned.get(owner, [])]
    near = get_close_matches(name, names, 3, 0.5)
    near += [n for n in names if n not in near][: 3 - len(near)]
    return f"no endpoint {name[:64]!r} " + (f"(nearest: {', '.join(near)})" if near else "(none is enrolled yet)")


def _missing_inputs(core: Core, owner: str, spec: TaskSpec) -> set[str] | None:
    if spec.options is None or not spec.options.inputs:
        return None
    for task_id in spec.options.inputs:
        found = core.tasks.get(task_id)
        if task_id == spec.task_id or (found is None or found.owner != owner):
            raise _Refusal(
                f"no task {task_id[-8:]!r}, which this one takes as an input: submit it first, or it was deleted"
            )
    return set(spec.options.inputs)


def follow(task: Task, link: int, watch: int) -> None:
    """Let a link hear of a task from now on."""
    if task.link == link or not task.link:
        task.link, task.watch = link, watch
    else:
        task.more = {**(task.more or {}), link: watch}


def confirmed(core: Core, task_ids: list[str]) -> None:
    """These were new to the store: they may go."""
    for task_id in task_ids:
        task = core.tasks.get(task_id)
        if task is not None and task.unsure:
            task.unsure = False
            _known_now(core, task)
            if task.watch or task.more:
                for n, state, at, reason in task.hist:
                    core.tell_state(task, n, state, at, reason)
            if task.early:
                early, task.early = task.early, None
                events.outputs(core, core.endpoints[task.endpoint_id], Outputs(early))
            if task.doom is not None:
                if core.waits_in_queue(task):
                    core.enqueue(task)
                finish.drop(core, task, *task.doom)
            elif task.state is _QUEUED and not task.not_before:
                core.enqueue(task)
                if task_id in core.orphans:
                    finish.claim(core, task)


def _known_now(core: Core, task: Task) -> None:
    """The store has said about it what it had to say."""
    if task.spec is not None and task.spec.session and (session := core.sessions.get(task.spec.session)) is not None:
        session.unsure -= 1


def refused(core: Core, task_id: str, kind: str) -> None:
    """The store knew it already: what this submission put into memory was wrong; the service loads or answers from
    the store.
    """
    task = core.tasks.get(task_id)
    if task is None or not task.unsure:
        return
    _known_now(core, task)
    del core.tasks[task_id]
    core.unfinished -= 1
    core.counts["submitted"] -= 1
    core.counts["duplicates"] += 1
    if task.missing:
        for waited in task.missing:
            if task in core.dependents.get(waited, ()):
                core.dependents[waited].remove(task)
    links = {task.link: task.watch, **(task.more or {})}
    if kind == "conflict":
        text = f"task id {task_id} was used for another task already: submit this one under a new id"
        for link in links:
            core.reject(link, [task_id], ErrorInfo("UsageError", text))
        return
    tasks = [(task_id, 0, watch) for watch in links.values()]
    for link, item in zip(links, tasks, strict=True):
        core.last.append(Need([task_id], [], FromClient(link, task.owner, Attach([item]))))


def cancel(core: Core, event: FromClient, message: Cancel) -> None:
    """Stop tasks: at once where nobody has them, else by asking their endpoint."""
    unknown = []
    for task_id in message.tasks:
        task = core.tasks.get(task_id)
        if task is None:
            unknown.append(task_id)
        elif task.owner == event.owner:
            cancel_task(core, task, message.mode, message.reason)
    if unknown and not event.looked:
        core.last.append(
            Need(unknown, [], FromClient(event.link, event.owner, Cancel(unknown, message.mode, message.reason)))
        )


def stays(core: Core, task: Task) -> str:
    """Why this task is not stopped: its endpoint has said that it cannot stop what runs. Empty when it can."""
    endpoint = core.endpoints.get(task.endpoint_id) if task.state is TaskState.RUNNING else None
    return str(endpoint.info.get("cannot_stop") or "") if endpoint is not None else ""


def cancel_task(core: Core, task: Task, mode: int, reason: str) -> bool:
    """Cancel one task; False when it is at its end already, or cannot be stopped."""
    if task.state.terminal:
        return False
    if why := stays(core, task):
        task.note = why
        events.note(core, task, why)
        return False
    reason = reason or "cancelled by its user"
    if task.state in {_WAITING, _QUEUED}:
        finish.drop(core, task, TaskState.CANCELLED, reason)
        return True
    repeated = task.cancelling is not None
    task.cancelling = (max(mode, task.cancelling[0]) if task.cancelling and mode != 1 else mode, reason)
    if not repeated:
        # Written into the history, so that a hub that restarts still asks.
        task.hist.append((task.n, task.state.value, core.wall, f"cancel asked ({mode}): {reason}"))
        task.n += 1
        core.save(task)
    core.first.append(ToAgent(task.endpoint_id, CancelTasks([(task.task_id, task.attempt)], mode), after=True))
    return True


def attach(core: Core, event: FromClient, message: Attach) -> None:
    """Tell the story of tasks from where the client knows it, then go on live."""
    for task_id, start, watch in message.tasks:
        task = core.tasks.get(task_id)
        if task is None or task.owner != event.owner or task.state.terminal:
            core.last.append(Replay(event.link, event.owner, task_id, start, -1, watch))
            continue
        if task.link == event.link:
            task.watch = watch
        else:
            follow(task, event.link, watch)
        if task.state is TaskState.LEASED:
            core.save(task)  # nobody followed it: its lease may stand in no row of its own
        core.last.append(Replay(event.link, event.owner, task_id, start, task.n, watch))


def detach(core: Core, event: FromClient, message: Detach) -> None:
    """Tell no more of these."""
    for task_id in message.tasks:
        task = core.tasks.get(task_id)
        if task is None:
            continue
        if task.link == event.link:
            task.link = task.watch = 0
        if task.more:
            task.more.pop(event.link, None)


def expire(core: Core, task: Task) -> None:
    """`expires` is over. A task that an endpoint has is asked back first: only the endpoint knows whether it was
    started.
    """
    if task.state.terminal or task.state is TaskState.RUNNING or core.now < task.expires:
        return
    if task.state in {_WAITING, _QUEUED}:
        finish.drop(core, task, TaskState.EXPIRED, "it waited longer than its `expires`")
        return
    endpoint = core.endpoints[task.endpoint_id]
    task.expiring = True
    if endpoint.ready:
        core.first.append(ToAgent(task.endpoint_id, CancelTasks([(task.task_id, task.attempt)], 0), after=True))
