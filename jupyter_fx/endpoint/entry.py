"""One task in the agent's books. Pure."""

from __future__ import annotations

from jupyter_fx.protocol.messages import LeasedTask, Result

__all__ = ["ACCEPTED", "FINISHED", "STARTED", "Entry"]

ACCEPTED = "accepted"
STARTED = "started"
FINISHED = "finished"


class Entry:
    """`phase` is what the inventory says; `told` how much of it the hub knows (0, 1 accepted, 2 started)."""

    __slots__ = (
        "accepted",
        "cancelled",
        "files",
        "kept",
        "manager",
        "needs",
        "number",
        "phase",
        "placed",
        "result",
        "sent",
        "shape",
        "size",
        "spared",
        "started",
        "task",
        "tell_at",
        "told",
        "upload",
        "upload_size",
    )

    def __init__(self, task: LeasedTask, shape: str, accepted: float) -> None:
        self.task = task
        self.shape = shape
        self.phase = ACCEPTED
        self.accepted = accepted
        self.started = 0.0
        self.told = 0
        self.tell_at = 0.0
        """Until when the hub need not know the rest (monotonic)."""
        self.size = len(task.payload)
        self.needs: set[str] = set()
        """Digests of blobs that must come before it can be placed."""
        self.files: dict[str, str] = {}
        """Files of refs that it takes, as they were found for it."""
        self.placed = False
        """Whether the manager has it (where there are many: one of them, or it waits for room at one)."""
        self.manager = ""
        """Which one, where there are many."""
        self.cancelled = False
        self.result: Result | None = None
        self.upload = ""
        """The file of a result that is on its way to the hub."""
        self.upload_size = 0
        self.sent = False
        """Whether the result was handed to the link."""
        self.number = 0
        """The number of the last message that told its result."""
        self.kept = False
        """Whether the hub did not know the task when it heard the result: a later lease is answered with it."""
        self.spared = False
        """Whether the ack of that message is still to come: it does not end the entry."""
