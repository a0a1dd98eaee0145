"""What is known of a block and of its job, and what is to be done about them. Pure."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

__all__ = ["BlockRecord", "Cancel", "Complete", "Drain", "Ended", "JobInfo", "Save", "Submit"]


class BlockRecord(msgspec.Struct):
    """One block, as it stands in `blocks/ID/block.json`. Times are seconds since the epoch, 0.0: not yet."""

    block_id: str
    name: str
    """The job's name, or the beginning of it: never used twice."""
    nodes: int = 1
    state: int = 0
    job: str = ""
    made: float = 0.0
    began: float = 0.0
    ended: float = 0.0
    walltime: float = 0.0
    """Seconds that its job may run; 0.0: without limit."""
    reason: str = ""
    """What the scheduler said last, or why it ended."""
    leaving: str = ""
    """Why it takes no more work; empty while it does."""
    allocation: str = ""
    """What its job is asked for with (`protocol.allocation`); empty: the endpoint's own settings."""
    cut: bool = False
    """Its submission was cut off: some of its nodes are still to be asked for."""


class JobInfo(NamedTuple):
    """What a scheduler says of a job. `state`: pending, running, ended or failed; `left`: seconds that it may still
    run, -1.0: not known; `start`: when it is expected to start (words), empty when nobody knows; `nodes`: how many it
    has, where they are asked for one by one, else -1.
    """

    job: str
    name: str
    state: str
    reason: str = ""
    left: float = -1.0
    start: str = ""
    nodes: int = -1


class Save(NamedTuple):
    """Write the record to disk (synced) before doing what follows."""

    record: BlockRecord


class Submit(NamedTuple):
    """Submit its job; answer with `submitted` or `refused`."""

    record: BlockRecord


class Complete(NamedTuple):
    """Ask for the nodes that its job lacks; answer with `completed`."""

    record: BlockRecord


class Cancel(NamedTuple):
    """End its job."""

    record: BlockRecord


class Drain(NamedTuple):
    """Its managers are to take no more; with `back`, what has not started there is taken back."""

    record: BlockRecord
    back: bool


class Ended(NamedTuple):
    """It is over: its managers are attested to be dead. Its secret and directory can go."""

    record: BlockRecord
