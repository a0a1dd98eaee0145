"""The agent's books of shapes: what is held, what may come, what is said about it. Pure."""

from __future__ import annotations

from collections.abc import Callable

from jupyter_fx.endpoint import need as needs
from jupyter_fx.endpoint.credit import BYTES_MAX, SESSION_DEPTH, Backlog
from jupyter_fx.endpoint.engines import limits
from jupyter_fx.protocol.messages import Credit, LeasedTask, Resources
from jupyter_fx.protocol.shapes import session_of, session_shape, shape_of

__all__ = ["Books"]

CROWD = 8
"""Tasks per slot from which on short ones count as a crowd."""
_HOST = frozenset(("", "host"))


def _host_only(environment: str) -> str:
    """Of an endpoint that starts no images."""
    if environment in _HOST:
        return ""
    return f"this endpoint has no environment {environment[:100]!r}: it runs in its own Python ('host') only"


def _one_place(allocation: str) -> needs.Place:
    """Of an endpoint that has no blocks."""
    why = "this endpoint runs tasks itself, not in batch jobs: there is no account or partition to choose"
    return needs.Place(allocation, needs.NodeSize(0), why)


class Books:
    """Credit per shape (DESIGN decision 2): how many more may come, beyond the `seen` that have on this connection."""

    def __init__(
        self,
        slots: int,
        worker_cores: int,
        most: needs.NodeSize | None = None,
        refuses: Callable[[str], str] = _host_only,
        place_of: Callable[[str], needs.Place] = _one_place,
        engine: str = "",
    ) -> None:
        """`most`: the largest node that can be had, where that is not this machine; `refuses(environment)` says why one
        can never be had here; `place_of(allocation)` what that comes to here; `engine`: which engine of others runs the
        tasks, if any.
        """
        self.engine = engine
        self.most = most or needs.NodeSize(slots, worker_cores)
        self._place_of = place_of
        self.seen = 0
        self.ready = True
        self._slots = slots
        self._refuses = refuses
        self._worker_cores = worker_cores
        self._rtt = 0.02
        self._bytes = 0
        self._shapes: dict[str, Backlog] = {"": Backlog()}

    def resize(self, slots: int) -> None:
        """There are so many slots now."""
        self._slots = slots

    def width(self, resources: Resources) -> int:
        """Slots that a task takes."""
        if resources.exclusive:
            return max(1, self._slots)
        return self.need(resources).width

    def need(self, resources: Resources) -> needs.Need:
        """What a task takes of a node."""
        if not resources.allocation:
            return needs.need_of(resources, self._worker_cores)
        place = self._place_of(resources.allocation)
        return needs.need_of(resources, place.most.worker_cores, place.allocation)

    def mean(self, shape: str) -> float:
        """Seconds that a task of this shape takes; 0.0: not known."""
        backlog = self._shapes.get(shape)
        return backlog.mean if backlog is not None else 0.0

    def refusal(self, resources: Resources, timeout: float = 0.0) -> str:
        """Why this endpoint can never run it, for so many seconds; empty when it can."""
        if self.engine:
            return limits.resources_refusal(self.engine, resources)
        if resources.environment not in _HOST and (why := self._refuses(resources.environment)):
            return why
        most = self.most
        if resources.allocation:
            place = self._place_of(resources.allocation)
            if place.refusal:
                return place.refusal
            most = place.most if place.allocation else most
        return needs.refusal(resources, most) or (needs.too_long(timeout, most) if timeout else "")

    def demanded(self, shapes: dict[str, Resources]) -> None:
        """What waits at the hub: shapes that are not known yet get their books."""
        for shape, resources in shapes.items():
            if shape not in self._shapes:
                refused = self.refusal(resources)
                self._shapes[shape] = Backlog(self.width(resources), fixed=64 if refused else 0)
        for shape in [s for s, b in self._shapes.items() if s and s not in shapes and not b.held and not session_of(s)]:
            del self._shapes[shape]

    def arrived(self, task: LeasedTask) -> str:
        """One task came; its shape."""
        if task.session:
            shape = session_shape(task.session)
        elif task.options is None:
            shape = ""
        else:
            shape = shape_of(task.options.resources)
        backlog = self._shapes.get(shape)
        if backlog is None:
            fixed = SESSION_DEPTH if task.session else 0
            width = 1 if task.session or task.options is None else self.width(task.options.resources)
            backlog = self._shapes[shape] = Backlog(width, fixed)
        size = len(task.payload)
        backlog.arrived(size)
        self._bytes += size
        return shape

    def spent(self, task: LeasedTask) -> None:
        """One task came that is not taken, or is here already: the hub has counted it all the same."""
        if task.session:
            shape = session_shape(task.session)
        else:
            shape = "" if task.options is None else shape_of(task.options.resources)
        if (backlog := self._shapes.get(shape)) is not None:
            backlog.given_at += 1

    def ended(self, shape: str, size: int, seconds: float) -> None:
        """One is over."""
        backlog = self._shapes.get(shape)
        if backlog is not None:
            backlog.ended(seconds)
        self._bytes -= size

    def crowd(self, shape: str) -> bool:
        """Whether many short tasks of this shape are here, so that one more will be over in a moment."""
        backlog = self._shapes.get(shape)
        return backlog is not None and backlog.short and backlog.held > CROWD * self._slots

    def held(self) -> int:
        """Tasks that have not ended."""
        return sum(backlog.held for backlog in self._shapes.values())

    def round_trip(self, seconds: float) -> None:
        """A question to the hub took this long."""
        self._rtt += 0.3 * (min(seconds, 5.0) - self._rtt)

    def reconnected(self) -> None:
        """A new connection: nothing has been said on it."""
        self.seen = 0
        for backlog in self._shapes.values():
            backlog.given = -1

    def credit(self, sessions: list[str], *, stopped: bool) -> Credit | None:
        """The Credit to be said now; None while what was said is good enough."""
        for session in sessions:
            if session_shape(session) not in self._shapes:
                self._shapes[session_shape(session)] = Backlog(fixed=SESSION_DEPTH)
        room = BYTES_MAX - self._bytes
        says: list[tuple[str, int]] = []
        speak = False
        for shape, backlog in list(self._shapes.items()):
            session = session_of(shape)
            if session and session not in sessions:
                if not backlog.held:
                    del self._shapes[shape]
                    speak = True
                continue
            more = 0 if stopped or not self.ready else backlog.credit(self._slots, self._rtt, room)
            left = backlog.given - backlog.given_at
            if backlog.given < 0 or 2 * more < left or (more > left and more >= 2 * left):
                speak = True
            says.append((shape, more))
        if not speak:
            return None
        for shape, more in says:
            backlog = self._shapes[shape]
            backlog.given, backlog.given_at = more, 0
        return Credit(self.seen, says)
