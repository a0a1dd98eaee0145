"""Endpoints come, go and come back: what is certain then about the tasks that they had.

A *sure* inventory is complete: what it lacks is not there. An *unsure* one (the journal's generation or the machine's
boot id changed, or its tail is torn) only proves what it names; leases that it lacks wait until the agent sends it
again, sure (its managers have reported: what is missing never started) or settled (they are attested dead: nobody can
know).
"""

from __future__ import annotations

from typing import Final

from jupyter_fx.protocol.lifecycle import EndpointState, SessionState, TaskState, move
from jupyter_fx.protocol.messages import AgentStatus, CancelTasks, ErrorInfo, Held, Inventory
from jupyter_fx_hub.state import dispatch, finish, sessions
from jupyter_fx_hub.state.core import Core
from jupyter_fx_hub.state.io import AgentDown, AgentUp, CloseAgent, EndpointKnown, FromAgent, Need, ToAgent
from jupyter_fx_hub.state.records import Endpoint, Task

__all__ = ["delete", "down", "inventory", "known", "status", "sweep", "unsure_over", "up"]

UNSURE_WITHIN: Final = 600.0
"""Seconds in which an agent must say what became of leases that its unsure inventory lacks; after that they are LOST.
"""
ACCEPT_WITHIN: Final = 60.0
"""Seconds in which a connected agent must have journaled a lease."""
_T = TaskState


def known(core: Core, event: EndpointKnown) -> Endpoint:
    """An endpoint from the store, or a newly enrolled one."""
    endpoint = core.endpoints.get(event.endpoint_id)
    if endpoint is None:
        endpoint = Endpoint(event.endpoint_id, event.owner, event.name, event.created)
        core.endpoints[event.endpoint_id] = endpoint
    endpoint.info = dict(event.info)
    endpoint.seen_at = event.seen
    endpoint.since = event.seen or event.created
    if event.new:
        move(None, EndpointState.ENROLLED)
        endpoint.credential_hash = event.credential_hash
        core.save_endpoint(endpoint)
        endpoint.credential_hash = b""
    else:
        endpoint.state = EndpointState(event.state)
    if endpoint.state is EndpointState.ONLINE:
        # This hub has heard nothing of it: it was online when the last one went.
        core.endpoint_moves(endpoint, EndpointState.UNREACHABLE)
    if endpoint.state is not EndpointState.DELETED and (event.owner, event.name) not in core.names:
        core.names[event.owner, event.name] = event.endpoint_id
        core.owned.setdefault(event.owner, []).append(endpoint)
    return endpoint


def up(core: Core, event: AgentUp) -> None:
    """Its agent was admitted. Nothing is sent to it before its inventory is settled."""
    endpoint = core.endpoints[event.endpoint_id]
    endpoint.ready = False
    endpoint.held = []
    endpoint.incarnation = event.incarnation
    endpoint.seen_at = core.wall
    if event.info:
        endpoint.info.update(event.info)
    dispatch.start_connection(endpoint)


def down(core: Core, event: AgentDown) -> None:
    """Its link ended. Its tasks are left alone: silence proves nothing."""
    endpoint = core.endpoints[event.endpoint_id]
    endpoint.ready = False
    endpoint.seen_at = core.wall
    dispatch.start_connection(endpoint)
    endpoint.dirty = False
    if endpoint.state is EndpointState.ONLINE:
        core.endpoint_moves(endpoint, EndpointState.OFFLINE if event.goodbye else EndpointState.UNREACHABLE)
        core.at(core.now + 30.0, "silent", endpoint.endpoint_id)


def inventory(core: Core, endpoint: Endpoint, event: FromAgent, message: Inventory) -> None:
    """What the agent holds; the last part settles it."""
    if not event.looked:
        endpoint.held += message.held
        if not message.last:
            return
        tasks = core.tasks
        unknown = [h.task_id for h in endpoint.held if h.task_id not in tasks or tasks[h.task_id].unsure]
        if unknown:
            core.last.append(Need(unknown, [], event))
            return
    held, endpoint.held = endpoint.held, []
    _match(core, endpoint, held, message)
    if endpoint.state is EndpointState.DELETED:
        _empty_deleted(core, endpoint)
        return
    endpoint.seen_at = core.wall
    first = not endpoint.ready
    endpoint.ready = True
    if endpoint.state is not EndpointState.ONLINE:
        core.endpoint_moves(endpoint, EndpointState.ONLINE)
    if first:
        sessions.offer(core, endpoint)
    finish.ask_again(core, endpoint)
    core.touched[endpoint.endpoint_id] = endpoint


def _match(core: Core, endpoint: Endpoint, held: list[Held], message: Inventory) -> None:
    stale: list[tuple[str, int]] = []
    there: set[str] = set()
    for item in held:
        task = core.tasks.get(item.task_id)
        if task is None:
            continue  # nobody has submitted it on this hub's disk: it stays in the agent's journal
        if item.phase == "finished" and task.state is _T.QUEUED:
            continue  # its result was told when nobody knew it: dispatched anew, the agent answers from its journal
        if task.state.terminal or not finish.holds(core, endpoint, task, item.attempt, item.fence):
            if item.phase != "finished" and not finish.unheard(core, endpoint, task, item.fence):
                stale.append((item.task_id, item.attempt))
            continue
        there.add(item.task_id)
        _phase(core, task, item.phase)
    if stale:
        core.counts["stale"] += len(stale)
        core.first.append(ToAgent(endpoint.endpoint_id, CancelTasks(stale, 2)))
    missing = [task for task in endpoint.leases.values() if task.task_id not in there]
    if endpoint.ready:
        # Told again: leases that went out since the first one may have been on their way when it was written.
        missing = [task for task in missing if task.task_id in endpoint.unsure]
    _settle(core, endpoint, missing, message)


def _settle(core: Core, endpoint: Endpoint, missing: list[Task], message: Inventory) -> None:
    """Decide about the leases that an inventory lacks.

    What an inventory proves is kept on disk as `journal` (generation, boot, agent process), written after what was
    decided: so a hub that dies in between decides again, and does not take the next, sure inventory of the new journal
    for an answer about the old one.
    """
    journal = f"{message.generation}:{message.boot_id}:{endpoint.incarnation}"
    old = str(endpoint.info.get("journal") or "")
    anew = bool(old) and old.split(":", 1)[0] != message.generation
    if message.sure and endpoint.doubtful == journal:
        anew = False  # the managers of the earlier generation have reported since
    if not anew and (message.sure or old == journal):
        _sure(core, missing)
    elif message.sure or message.settled:
        for task in missing:
            finish.lose(core, task, killed=False, state=_T.LOST, error=None, why=_lost(endpoint, message.why))
    else:
        endpoint.unsure = {task.task_id for task in missing}
        endpoint.doubtful = journal
        if missing:
            core.at(core.now + UNSURE_WITHIN, "unsure", endpoint.endpoint_id)
            return
    endpoint.unsure = set()
    if old != journal:
        endpoint.info["journal"] = journal
        core.save_endpoint(endpoint)


def unsure_over(core: Core, endpoint: Endpoint) -> None:
    """Nobody has cleared up in time what became of leases that an unsure inventory lacked."""
    for task_id in list(endpoint.unsure):
        if (task := endpoint.leases.get(task_id)) is not None:
            finish.lose(core, task, killed=False, state=_T.LOST, error=None, why=_lost(endpoint, ""))
    endpoint.unsure = set()


def _lost(endpoint: Endpoint, why: str) -> str:
    lost = why or "its journal began anew"
    return f"endpoint {endpoint.name} lost its records of it ({lost}); whether it ran cannot be known"


def _phase(core: Core, task: Task, phase: str) -> None:
    before = task.state
    if task.state is _T.LEASED and phase in {"accepted", "started"}:
        task.accepted_at = core.wall
        core.step(task, _T.ACCEPTED, core.wall)
    if task.state is _T.ACCEPTED and phase == "started":
        task.started_at = core.wall
        task.starts += 1
        core.step(task, _T.RUNNING, core.wall)
    if task.state is not before:
        core.save(task)


def _sure(core: Core, missing: list[Task]) -> None:
    """Certainly not at the endpoint: leases go back, what it had accepted is lost (or retried)."""
    back: list[Task] = []
    for task in missing:
        unsure = task.task_id in core.endpoints[task.endpoint_id].unsure
        if task.state is _T.LEASED or (unsure and task.state is _T.ACCEPTED):
            if task.cancelling is not None:
                error = ErrorInfo("CancelledError", task.cancelling[1], {"task_id": task.task_id})
                finish.end(core, task, _T.CANCELLED, error=error)
            elif task.expiring:
                error = ErrorInfo("TaskExpired", "it waited longer than its `expires`", {"task_id": task.task_id})
                finish.end(core, task, _T.EXPIRED, error=error)
            else:
                back.append(task)
        else:
            name = core.endpoints[task.endpoint_id].name
            finish.lose(
                core, task, killed=False, state=_T.LOST, error=None, why=f"endpoint {name} does not know of it any more"
            )
    if back:
        core.requeue(back, "its endpoint never wrote it down")


def status(core: Core, endpoint: Endpoint, message: AgentStatus) -> None:
    """What the endpoint is like now."""
    endpoint.seen_at = core.wall
    info = {**message.info, "journal": endpoint.info.get("journal", "")}
    # How it is this moment: a later hub has no use for it.
    memory = info.pop("session_memory", None)
    endpoint.session_memory = memory if isinstance(memory, dict) else {}
    if endpoint.info != info:
        endpoint.info = info
        core.save_endpoint(endpoint)


def sweep(core: Core, endpoint: Endpoint) -> None:
    """Leases that a connected agent has neither accepted nor refused in time: have it connect again and tell what it
    holds.
    """
    endpoint.sweep_at = 0.0
    late = core.now - ACCEPT_WITHIN
    oldest = min((t.leased_mark for t in endpoint.leases.values() if t.state is _T.LEASED), default=None)
    if oldest is None:
        return
    if endpoint.ready and oldest <= late and not endpoint.unsure:
        unkept = f"tasks leased to endpoint {endpoint.name} were not accepted within {ACCEPT_WITHIN:.0f} s"
        message = f"{unkept}: connect again, tell what is there"
        core.first.append(CloseAgent(endpoint.endpoint_id, ErrorInfo("InfrastructureError", message), True))
        oldest = core.now
    endpoint.sweep_at = max(oldest, late + 1.0) + ACCEPT_WITHIN
    core.at(endpoint.sweep_at, "sweep", endpoint.endpoint_id)


def delete(core: Core, endpoint: Endpoint) -> None:
    """Its owner deletes it: what waits is cancelled; what it has is stopped, or lost if nobody can be asked."""
    if endpoint.state is EndpointState.DELETED:
        return
    reason = f"endpoint {endpoint.name} was deleted"
    for session in [s for s in core.sessions.values() if s.endpoint_id == endpoint.endpoint_id]:
        if session.state not in {SessionState.CLOSED, SessionState.LOST}:
            sessions.lost(core, session, reason)
    for task in [t for t in core.tasks.values() if t.endpoint_id == endpoint.endpoint_id and t.pinned]:
        if task.state in {_T.WAITING, _T.QUEUED}:
            finish.drop(core, task, _T.CANCELLED, reason)
    asked = [(t.task_id, t.attempt) for t in endpoint.leases.values()]
    for task in list(endpoint.leases.values()):
        if endpoint.ready:
            task.cancelling = (2, reason)
        else:
            finish.end(
                core, task, _T.LOST, error=ErrorInfo("TaskLost", f"{reason} while it did not answer; this may have run")
            )
    if endpoint.ready and asked:
        core.first.append(ToAgent(endpoint.endpoint_id, CancelTasks(asked, 2)))
    core.endpoint_moves(endpoint, EndpointState.DELETED)
    core.names.pop((endpoint.owner, endpoint.name), None)
    core.owned[endpoint.owner] = [e for e in core.owned.get(endpoint.owner, []) if e is not endpoint]
    _empty_deleted(core, endpoint)


def _empty_deleted(core: Core, endpoint: Endpoint) -> None:
    """A deleted endpoint keeps its link for as long as it has something to confirm."""
    if not endpoint.leases:
        message = f"endpoint {endpoint.name} was deleted; enrol it again with a new code"
        core.last.append(CloseAgent(endpoint.endpoint_id, ErrorInfo("AuthError", message), False))
