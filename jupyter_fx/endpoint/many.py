"""The part of the agent's state that has to do with many managers: who is there, who gets what, what is told. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from jupyter_fx.endpoint.clocks import Clocks
from jupyter_fx.endpoint.events import Assembled, Away, BlockDrains, Came, Patience, Provisioned, Tell
from jupyter_fx.endpoint.fleet import Fleet
from jupyter_fx.endpoint.holding import Holding
from jupyter_fx.endpoint.need import Need
from jupyter_fx.endpoint.recovery import Recovery
from jupyter_fx.endpoint.scaling import Load
from jupyter_fx.endpoint.talk import Capacity, Drain
from jupyter_fx.endpoint.tallies import Tallies
from jupyter_fx.protocol.messages import Demand, Resources
from jupyter_fx.protocol.shapes import session_of

__all__ = ["Many"]


class Many:
    """See the module. `tell_status()`: the instructions that tell the hub how things are."""

    def __init__(self, held: Holding, recovery: Recovery, fleet: Fleet, tell_status: Callable[[], list[Any]]) -> None:
        self._held = held
        self._fleet = fleet
        self._tell_status = tell_status
        self._tallies = Tallies()
        held.books.resize(0)
        held.books.ready = False
        self._provisioned = Provisioned({}, "no block has been asked for yet")
        self.clocks = Clocks()
        self._demand: dict[str, tuple[int, Resources]] = {}
        self.handlers: dict[type, Callable[[Any, float], list[Any]]] = {
            Came: self._came,
            Away: self._away,
            BlockDrains: self._drains,
            Patience: lambda _event, now: recovery.patience(now),
            Assembled: lambda event, _now: held.placing.assembled(event),
            Provisioned: self._take_provisioned,
        }

    def begin(self, now: float) -> None:
        """Something is about to happen."""
        self._fleet.now = now

    def settle(self) -> list[Any]:
        """Something has happened: give what waits to whoever has room now."""
        out: list[Any] = []
        fleet, held = self._fleet, self._held
        if fleet.changed:
            if fleet.ready:
                out += held.sessions.retry()
            out += fleet.assign(held.books.mean, self._demanded)
            if not held.draining:
                held.books.resize(fleet.slots)
                held.books.ready = fleet.ready
        return out

    def next_timer(self) -> float:
        """When `handle_timer` wants to be called; infinity when not."""
        return self._fleet.due

    def handle_timer(self, now: float) -> list[Any]:
        """What was held back is not, if its time is over."""
        if now < self._fleet.due:
            return []
        self.begin(now)
        self._fleet.changed = True
        return self.settle()

    def _demanded(self, shape: str) -> int:
        return self._demand[shape][0] if shape in self._demand else 0

    # Managers.

    def _came(self, event: Came, now: float) -> list[Any]:
        self.clocks.forget(event.manager)
        self._fleet.came(
            event.manager, event.block, ends=now + event.seconds, host=event.host, allocation=event.allocation
        )
        return []

    def _away(self, event: Away, _now: float) -> list[Any]:
        self._fleet.away(event.manager)
        return self._tell_status()

    def capacity(self, message: Capacity, now: float) -> list[Any]:
        """The manager that speaks says what it has."""
        info = message.info
        if clock := info.get("clock"):
            self.clocks.heard(self._held.speaker, float(clock), now + self._held.wall)
        most = self._held.books.most
        view = self._fleet.managers.get(self._held.speaker)
        if not most.slots and view is not None and not view.allocation:
            # The scheduler could not be asked: this is what a node has.
            self._held.books.most = most._replace(slots=message.cores, worker_cores=int(info.get("worker_cores") or 1))
        self._fleet.has(
            self._held.speaker,
            slots=message.cores,
            memory=int(info.get("memory") or 0),
            gpus=len(info.get("gpus") or ()),
            ready=message.ready,
            info=info,
        )
        if self._held.speaker in self._fleet.managers:
            self._tallies.put(self._held.speaker, info)
        return self._tell_status()

    def lasts(self, wall: float) -> dict[str, Any]:
        """For a session at the manager that speaks: until when its block lasts (seconds since the epoch), and where."""
        view = self._fleet.managers.get(self._held.speaker)
        if view is None:
            return {}
        told: dict[str, Any] = {"node": view.host}
        return told | ({"ends": round(view.ends + wall)} if math.isfinite(view.ends) else {})

    def gone(self, manager: str) -> None:
        """It is attested to be dead."""
        self.clocks.forget(manager)
        self._fleet.left(manager)
        self._tallies.drop(manager)
        self._fleet.changed = True

    def _drains(self, event: BlockDrains, _now: float) -> list[Any]:
        those = self._fleet.drain(event.block)
        self._fleet.changed = True
        return [Tell(Drain(event.reason), one) for one in those] if event.back else []

    # What waits.

    def demanded(self, message: Demand) -> None:
        """What waits at the hub."""
        refused = self._held.books.refusal
        self._demand = {
            item.shape: (item.tasks, item.resources)
            for item in message.items
            if not session_of(item.shape) and not refused(item.resources)
        }

    def loads(self) -> dict[str, Load]:
        """What the endpoint has to do, for `scaling`: by allocation."""
        waiting: list[tuple[int, Need]] = [(n, self._held.books.need(what)) for n, what in self._demand.values()]
        waiting += [(1, need) for need in self._held.sessions.waiting()]
        waiting += self._fleet.waiting()
        used, busy = self._fleet.used(), self._fleet.busy_blocks()
        found = {}
        for allocation in {"", *used, *(need.allocation for _, need in waiting)}:
            those = [(n, need) for n, need in waiting if need.allocation == allocation]
            found[allocation] = Load(
                slots=sum(n * need.width for n, need in those if not need.whole),
                nodes=sum(n for n, need in those if need.whole),
                gpus=sum(n * need.gpus for n, need in those),
                memory=sum(n * need.memory for n, need in those),
                used=used.get(allocation, 0),
                busy=busy,
            )
        return found

    # What is told.

    def _take_provisioned(self, event: Provisioned, _now: float) -> list[Any]:
        self._provisioned = event
        return self._tell_status()

    def status(self) -> dict[str, Any]:
        """For AgentStatus: what all managers have together, and the blocks."""
        views = self._fleet.managers.values()
        some: dict[str, Any] = next((view.info for view in views if view.ready), {})
        told: dict[str, Any] = {
            key: some[key] for key in ("python", "ipython", "packages", "worker_cores", "forkable") if key in some
        }
        broken = "" if self._fleet.ready else next((str(v.info["why"]) for v in views if v.info.get("why")), "")
        return {
            **told,
            **self._provisioned.info,
            "slots": self._fleet.slots,
            "workers": dict(self._tallies.workers),
            "images": {image: dict(states) for image, states in self._tallies.images.items()},
            **({"session_memory": dict(self._tallies.memory)} if self._tallies.memory else {}),
            "managers": len(views),
            "why": broken or self._provisioned.why,
        }
