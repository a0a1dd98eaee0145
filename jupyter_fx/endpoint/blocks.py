"""The life of blocks: which batch jobs there are, what is to be done about them, and when to try again. Pure.

A block's record is saved, by name, *before* its job is submitted, and again with the job's id after it. Names are never
used twice, so an agent that was killed in between asks the scheduler for that name: what is found is adopted, what is
not found after a while was never submitted. (Should it turn up later all the same: its job finds no directory of its
block and ends.) So no block is leaked and none is doubled. Where a job's nodes are asked for one by one, what is found
may be a part of it: that is adopted, and the rest asked for again until it is whole.

What the scheduler says of a job is believed when it says that it waits or runs. That it has ended is believed when it
says so, or when two looks in succession did not list it. `now` is monotonic seconds; records have seconds since the
epoch (`now + wall`), for they outlive the agent.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any, Final

from jupyter_fx.endpoint.block_records import BlockRecord, Cancel, Complete, Drain, Ended, JobInfo, Save, Submit
from jupyter_fx.endpoint.scaling import BlockView
from jupyter_fx.protocol.lifecycle import BlockState, move

__all__ = ["BlockBook"]

FIND_FOR: Final = 20.0
"""Seconds for which a job of an unfinished submission is looked for."""
PATIENCE: Final = 5.0
"""Seconds after its submission during which a job need not be listed."""
OVERDUE: Final = 60.0
"""Seconds after the end of its time when a block that nobody tells of is taken for ended."""
BACKOFF: Final = 4.0
BACKOFF_MAX: Final = 300.0
EARLY: Final = 120.0
"""A block that ends within so many seconds of its start without a manager is a failed one."""
_KEPT: Final = 20
"""Ended blocks that are told of."""
_OVER: Final = {BlockState.ENDED, BlockState.FAILED}


class _Block:
    __slots__ = (
        *("asked_end", "complaint", "drain_at", "idle_since", "lacks", "managers", "misses", "record", "seen", "since"),
        *("told_drain", "try_at"),
    )

    def __init__(self, record: BlockRecord, now: float) -> None:
        self.record = record
        self.since = now
        self.idle_since = now
        self.misses = 0
        self.seen = False
        """Whether the scheduler has listed its job."""
        self.managers: set[str] = set()
        self.asked_end = 0.0
        """When its job was last asked to end."""
        self.complaint = ""
        self.told_drain = False
        self.drain_at = float("inf")
        self.lacks = ""
        """Why it does not have all its nodes, though they were asked for."""
        self.try_at = 0.0
        """When to ask for them again; infinity while they are being asked for."""

    @property
    def state(self) -> BlockState:
        return BlockState(self.record.state)


class _Tries:
    """How asking for blocks of one allocation went lately."""

    __slots__ = ("failed", "failures", "try_at")

    def __init__(self) -> None:
        self.failures = 0
        self.failed = ""
        self.try_at = 0.0


class BlockBook:
    """See the module. `label`: what people call the scheduler; `lead`: seconds before the end of a block's time from
    which it takes nothing more.
    """

    def __init__(self, *, label: str, wall: float, nodes: int = 1, walltime: float = 0.0, lead: float = 30.0) -> None:
        self.label = label
        self._wall = wall
        self._nodes = nodes
        self._walltime = walltime
        self._lead = lead
        self._blocks: dict[str, _Block] = {}
        self.over: list[BlockRecord] = []
        """Those that ended last."""
        self.trouble = ""
        """What is wrong with the scheduler's commands; empty when nothing is."""
        self._looked = False
        self._tries: dict[str, _Tries] = {}
        """By allocation: an account that is refused does not hold up the blocks of another."""
        self.node_seconds = 0.0
        """Used by blocks that are over."""

    # Changing a record.

    def _to(self, block: _Block, target: BlockState, reason: str = "") -> list[Any]:
        record = block.record
        record.state = int(move(BlockState(record.state) if record.state else None, target, record))
        if reason:
            record.reason = reason
        return [Save(record)]

    def _over(self, block: _Block, target: BlockState, reason: str, now: float) -> list[Any]:
        record = block.record
        if target is BlockState.FAILED and block.state is BlockState.DRAINING:
            target = BlockState.ENDED
        record.ended = now + self._wall
        out = self._to(block, target, reason)
        del self._blocks[record.block_id]
        if record.began:
            self.node_seconds += record.nodes * max(0.0, record.ended - record.began)
        self.over = [*self.over[1 - _KEPT :], record]
        return [*out, Ended(record)]

    # Beginning.

    def restore(self, records: list[BlockRecord], now: float) -> None:
        """Those that an earlier agent had."""
        for record in records:
            self._blocks[record.block_id] = _Block(record, now)

    def ask(
        self, ids: list[tuple[str, str]], now: float, allocation: str = "", walltime: float | None = None
    ) -> list[Any]:
        """Ask for blocks of these ids and job names: nothing while the last tries failed a short time ago."""
        out: list[Any] = []
        tries = self._tries.get(allocation) or _Tries()
        if now < tries.try_at or self.trouble:
            return out
        seconds = self._walltime if walltime is None else walltime
        for block_id, name in ids[:1] if tries.failures else ids:
            record = BlockRecord(
                block_id, name, self._nodes, made=now + self._wall, walltime=seconds, allocation=allocation
            )
            block = self._blocks[block_id] = _Block(record, now)
            out += [*self._to(block, BlockState.SUBMITTING), Submit(record)]
        return out

    def submitted(self, block_id: str, job: str, now: float) -> list[Any]:
        """The scheduler took its job."""
        block = self._blocks.get(block_id)
        if block is None or block.state is not BlockState.SUBMITTING:
            return []
        block.record.job = job
        block.since = now
        return self._to(block, BlockState.PENDING)

    def refused(self, block_id: str, why: str, now: float, *, asked: bool = True) -> list[Any]:
        """There is no job of it: the scheduler did not take it, or could not even be `asked`."""
        block = self._blocks.get(block_id)
        if block is None:
            return []
        self._fail(block.record, f"{self.label} refuses the job: {why}" if asked else why, now)
        return self._over(block, BlockState.FAILED, why, now)

    def _fail(self, record: BlockRecord, why: str, now: float) -> None:
        tries = self._tries.setdefault(record.allocation, _Tries())
        tries.failures += 1
        pause = min(BACKOFF_MAX, BACKOFF * 2 ** (tries.failures - 1))
        tries.failed, tries.try_at = why, now + pause

    # What the scheduler says.

    def cannot_look(self, why: str) -> None:
        """The scheduler could not be asked: nothing is known, nothing is concluded."""
        self.trouble = why

    def looked(self, jobs: dict[str, JobInfo], now: float) -> list[Any]:
        """All jobs of this user that the scheduler lists, by id."""
        self.trouble = ""
        self._looked = True
        out: list[Any] = []
        for block in list(self._blocks.values()):
            record = block.record
            if not record.job:
                out += self._find(block, jobs, now)
            elif (info := jobs.get(record.job)) is not None:
                block.misses = 0
                block.seen = True
                out += [*self._heard(block, info, now), *self._lacking(block, info, now)]
            elif now - block.since > PATIENCE or block.seen:
                block.misses += 1
                if block.misses >= 2:
                    out += self._finished(block, "ended", "the scheduler does not list it any more", now)
        return out

    def _find(self, block: _Block, jobs: dict[str, JobInfo], now: float) -> list[Any]:
        """Its submission was cut off by the death of an agent, or is under way."""
        name = block.record.name
        found = next(
            (info for info in jobs.values() if name in info.name and info.state in {"pending", "running"}), None
        )
        if found is not None:
            block.record.cut = not block.seen and 0 <= found.nodes < block.record.nodes
            return [*self.submitted(block.record.block_id, found.job, now), *self._heard(block, found, now)]
        if block.seen or now - block.since < FIND_FOR:
            return []
        return self._over(block, BlockState.FAILED, "the agent died before the job was submitted", now)

    def _lacking(self, block: _Block, info: JobInfo, now: float) -> list[Any]:
        """The rest of a job whose submission was cut off."""
        record = block.record
        if not record.cut or record.leaving or record.block_id not in self._blocks:
            return []
        if info.nodes >= record.nodes:
            record.cut, block.lacks = False, ""
            return [Save(record)]
        if now < block.try_at:
            return []
        block.try_at = float("inf")
        return [Complete(record)]

    def completed(self, block_id: str, why: str, now: float) -> None:
        """The nodes that it lacked were asked for, or `why` they are not to be had; the next look tells."""
        if (block := self._blocks.get(block_id)) is not None:
            block.try_at = now + BACKOFF
            block.lacks = f"{self.label} refuses the rest of its {block.record.nodes} nodes: {why}" if why else ""

    def submitting(self, block_id: str) -> None:
        """Its submission is under way in this agent: it is not looked for."""
        if (block := self._blocks.get(block_id)) is not None:
            block.seen = True

    def _heard(self, block: _Block, info: JobInfo, now: float) -> list[Any]:
        record = block.record
        if info.state in {"ended", "failed"}:
            return self._finished(block, info.state, info.reason, now)
        if info.state == "pending" and record.began:
            # It had run: what it will be when it runs again is another block, if one is wanted then.
            return [*self._finished(block, "ended", "its job was requeued", now), Cancel(record)]
        if info.state == "pending":
            if block.state is BlockState.PENDING:
                record.reason = info.reason + (f", expected to start {info.start}" if info.start else "")
            return []
        out: list[Any] = []
        if not record.began:
            record.began, record.reason = now + self._wall, ""
            out = [Save(record)]
        if block.state is BlockState.PENDING:
            out = self._to(block, BlockState.STARTING)
        if info.left >= 0.0:
            record.walltime = (now + self._wall + info.left) - record.began
        if record.walltime:
            lead = min(self._lead, record.walltime / 4)
            block.drain_at = record.began + record.walltime - self._wall - lead
        return out

    def _finished(self, block: _Block, state: str, reason: str, now: float) -> list[Any]:
        record = block.record
        unborn = not block.managers and block.state in {BlockState.PENDING, BlockState.STARTING}
        if unborn and not block.asked_end:
            said = block.complaint or reason or "its job ended"
            self._fail(record, f"{self.label} job {record.job} ended before a manager of it came ({said})", now)
        return self._over(block, BlockState.FAILED if state == "failed" else BlockState.ENDED, reason, now)

    # Managers.

    def came(self, block_id: str, manager: str, now: float) -> list[Any]:
        """A manager of it enrolled."""
        block = self._blocks.get(block_id)
        if block is None:
            return []
        self._tries.pop(block.record.allocation, None)
        block.managers.add(manager)
        block.idle_since = now
        if not block.record.began:
            block.record.began = now + self._wall
        if block.state in {BlockState.PENDING, BlockState.STARTING}:
            return self._to(block, BlockState.RUNNING)
        return []

    def unfit(self, block_id: str, why: str, now: float) -> list[Any]:
        """A manager of it cannot be understood. One that an earlier agent started may hold work: it is left alone."""
        block = self._blocks.get(block_id)
        if block is None or block.record.leaving:
            return []
        if block.state in {BlockState.PENDING, BlockState.STARTING}:
            self._fail(block.record, why, now)
            return self.leave(block_id, why, now)
        block.record.reason = f"{why}; what it runs ends with its job, {block.record.job}"
        return [Save(block.record)]

    def complained(self, block_id: str, why: str) -> None:
        """What its node said before any manager of it was there."""
        if (block := self._blocks.get(block_id)) is not None:
            block.complaint = why

    def left(self, block_id: str, manager: str) -> None:
        """A manager of it is attested to be dead."""
        if (block := self._blocks.get(block_id)) is not None:
            block.managers.discard(manager)

    def ends(self, block_id: str, now: float) -> float:
        """Seconds that it still lasts; infinity when nobody knows."""
        block = self._blocks.get(block_id)
        if block is None or not block.record.walltime or not block.record.began:
            return float("inf")
        return block.record.began + block.record.walltime - (now + self._wall)

    def overdue(self, block_id: str, now: float) -> bool:
        """Whether its time has been over for a minute. A clock that was set while no agent ran may say so of a block
        that runs: while the scheduler lists its job, or has not been asked for long, it is not.
        """
        block = self._blocks.get(block_id)
        if block is None or self.ends(block_id, now) > -OVERDUE:
            return False
        return block.misses > 0 if self._looked else now - block.since > OVERDUE

    # Ending.

    def leave(self, block_id: str, why: str, now: float) -> list[Any]:
        """It is not needed: what waits in the queue is cancelled, what runs is drained first."""
        block = self._blocks.get(block_id)
        if block is None or block.record.leaving:
            return []
        record = block.record
        record.leaving = why
        if block.state is BlockState.RUNNING:
            block.told_drain = True
            return [*self._to(block, BlockState.DRAINING), Drain(record, back=True)]
        if block.state in {BlockState.PENDING, BlockState.STARTING}:
            block.asked_end = now
            return [Save(record), Cancel(record)]
        return [Save(record)]

    def leave_all(self, why: str, now: float) -> list[Any]:
        """The endpoint is given up: nothing is drained."""
        out: list[Any] = []
        for block in self._blocks.values():
            block.record.leaving = block.record.leaving or why
            block.asked_end = now
            out += [Save(block.record), Cancel(block.record)] if block.record.job else []
        return out

    def tick(self, busy: Any, now: float) -> list[Any]:
        """Now and then: `busy` are the blocks in which there is anything of anybody."""
        out: list[Any] = []
        for block in list(self._blocks.values()):
            record = block.record
            if record.block_id in busy:
                block.idle_since = now
            if block.state is BlockState.RUNNING and now >= block.drain_at:
                out += self.leave(record.block_id, "its time is nearly up", now)
            elif block.state is BlockState.DRAINING and not block.told_drain:
                block.told_drain = True
                out.append(Drain(record, back=True))
            drained = block.state is BlockState.DRAINING and record.block_id not in busy
            stuck = bool(record.leaving) and block.state in {BlockState.PENDING, BlockState.STARTING}
            if (drained or stuck) and record.job and now - block.asked_end > 10.0:
                block.asked_end = now
                out.append(Cancel(record))
        return out

    # What is told.

    def views(self, now: float) -> list[BlockView]:
        """For `scaling`. A block that waits for its job or its managers is idle since it was asked for."""
        return [
            BlockView(
                b.record.block_id,
                b.state is BlockState.RUNNING,
                bool(b.record.leaving),
                now - b.idle_since,
                b.record.allocation,
            )
            for b in self._blocks.values()
        ]

    def records(self) -> list[BlockRecord]:
        """Those that are not over."""
        return [block.record for block in self._blocks.values()]

    def record(self, block_id: str) -> BlockRecord | None:
        """One that is not over."""
        block = self._blocks.get(block_id)
        return block.record if block is not None else None

    def allocations(self) -> set[str]:
        """Those that there are blocks of, or were asked for in vain."""
        return {block.record.allocation for block in self._blocks.values()} | self._tries.keys()

    def forget_tries(self, but: Container[str]) -> None:
        """Nobody wants blocks of other allocations than these any more."""
        for allocation in [one for one in self._tries if one and one not in but]:
            del self._tries[allocation]

    def why(self, now: float, allocation: str = "") -> str:
        """Why there is no room, as far as blocks of an allocation are the cause."""
        if self.trouble:
            return self.trouble
        blocks = [block for block in self._blocks.values() if block.record.allocation == allocation]
        waiting = [block for block in blocks if block.state is BlockState.PENDING]
        starting = [block for block in blocks if block.state is BlockState.STARTING]
        if starting:
            return f"{self.label} job {starting[0].record.job} runs; its manager is starting"
        if waiting:
            record = waiting[0].record
            others = f" and {len(waiting) - 1} more" if len(waiting) > 1 else ""
            return f"{self.label} job {record.job} pending{f' ({record.reason})' if record.reason else ''}{others}"
        tries = self._tries.get(allocation)
        if tries is not None:
            pause = max(0.0, tries.try_at - now)
            return f"{tries.failed}; next try in {pause:.0f} s" if pause else tries.failed
        known = [block.lacks or block.record.reason for block in blocks if block.state is BlockState.RUNNING]
        if any(known):
            return next(filter(None, known))
        if any(block.state is BlockState.SUBMITTING for block in blocks):
            return f"a job is being submitted to {self.label}"
        return ""

    def describe(self, now: float) -> list[dict[str, Any]]:
        """For AgentStatus: those that are not over."""
        told = []
        for block in self._blocks.values():
            record = block.record
            left = self.ends(record.block_id, now)
            told.append(
                {
                    "job": record.job,
                    "state": block.state.name.lower(),
                    "nodes": record.nodes,
                    "managers": len(block.managers),
                    "reason": record.leaving or block.lacks or record.reason,
                    **({"allocation": record.allocation} if record.allocation else {}),
                    # A time, not what is left: that would be news every second.
                    "ends": round((now + self._wall + left) / 60) * 60 if left != float("inf") else None,
                }
            )
        return told

    def hours(self, now: float) -> float:
        """Node-hours used by all blocks that the endpoint ever had."""
        running = sum(r.nodes * max(0.0, now + self._wall - r.began) for r in self.records() if r.began)
        return (self.node_seconds + running) / 3600.0
