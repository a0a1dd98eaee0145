"""The managers that an agent has on its nodes, and which of them gets which work. Pure.

A manager has room for as much as its cores, memory and GPUs hold; of tasks that are known to be short it takes more
than that, so that its workers never wait for the agent. What finds no room waits here, shape by shape, in the order of
its coming; nothing of one shape stands in another's way, and shapes take turns. Whether a manager is suitable is a
matter of what is free there and of how long its block lasts; which of those that are gets it, `routing` says.

A slot is given first to a shape whose environment is warm there, or that runs nowhere; what is left over goes to
shapes for which one more container pays (`routing.pays`). Else the first shape in the line would start its containers
on all nodes, then the next one would, and so on, with every slot waiting for each of these starts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from jupyter_fx.endpoint.entry import ACCEPTED, Entry
from jupyter_fx.endpoint.events import Tell
from jupyter_fx.endpoint.need import Need
from jupyter_fx.endpoint.routing import SHARED, Routes, pays
from jupyter_fx.endpoint.talk import Place, Work

__all__ = ["DEEP", "Fleet", "ManagerView"]

DEEP: Final = 64
"""Short tasks that a manager may have per slot."""
_AHEAD: Final = 2
"""Tasks per slot of those that take less than a second."""
_SOON: Final = 1.0
_SHORT: Final = 0.01
_ROW: Final = 31
"""Short tasks that go to one manager in a row, after the first."""


_Item = tuple[Entry, Work, Need]


class ManagerView:
    """One manager. `ends`: when its block is over (monotonic; infinity when nobody knows)."""

    __slots__ = (
        "allocation",
        "block",
        "draining",
        "ends",
        "gpus",
        "host",
        "info",
        "linked",
        "memory",
        "ready",
        "running",
        "sessions",
        "slots",
        "tasks",
        "used",
        "used_gpus",
        "used_memory",
        "whole",
    )

    def __init__(self, block: str, *, ends: float = float("inf"), host: str = "", allocation: str = "") -> None:
        self.block = block
        self.allocation = allocation
        """What its block was asked for with: it takes nothing that is to run in another's."""
        self.host = host
        self.ends = ends
        self.slots = 0
        self.memory = 0
        self.gpus = 0
        self.ready = False
        self.linked = True
        self.draining = False
        self.info: dict[str, Any] = {}
        self.tasks: dict[str, Need] = {}
        self.sessions: dict[str, Need] = {}
        self.used = self.used_memory = self.used_gpus = 0
        self.running: dict[str, int] = {}
        """Slots that its tasks have, by their shape."""
        self.whole = ""
        """The task or session that has the node for itself."""

    @property
    def serves(self) -> bool:
        """Whether it may be given work."""
        return self.ready and self.linked and not self.draining

    @property
    def idle(self) -> bool:
        """Whether nothing of anybody is there."""
        return not self.tasks and not self.sessions

    def takes(self, need: Need, depth: int) -> bool:
        """Whether there is room for it; `depth`: how many tasks a slot may have."""
        if not self.serves or self.whole or need.allocation != self.allocation:
            return False
        if need.whole:
            return self.idle and self.slots > 0 and self.holds(need)
        if need.memory and self.used_memory + need.memory > self.memory:
            return False
        if need.gpus and self.used_gpus + need.gpus > self.gpus:
            return False
        return self.used + need.width <= self.slots * depth

    def holds(self, need: Need) -> bool:
        """Whether it could run it if nothing else were there."""
        return need.width <= self.slots and need.memory <= self.memory and need.gpus <= self.gpus

    def add(self, key: str, need: Need, *, session: bool) -> int:
        """This is there now; the slots that it has more than before."""
        before = self.remove(key, session=session)
        (self.sessions if session else self.tasks)[key] = need
        self.used += need.width
        self.used_memory += need.memory
        self.used_gpus += need.gpus
        if need.whole:
            self.whole = key
        return need.width - before

    def remove(self, key: str, *, session: bool) -> int:
        """This is not there any more; the slots that it had."""
        need = (self.sessions if session else self.tasks).pop(key, None)
        if need is not None:
            self.used -= need.width
            self.used_memory -= need.memory
            self.used_gpus -= need.gpus
            if self.whole == key:
                self.whole = ""
        return need.width if need is not None else 0


class _Line:
    """What waits of one shape, while it is given out."""

    __slots__ = ("behind", "depth", "environment", "last", "mean", "more", "queue", "shape", "too_long")

    def __init__(self, shape: str, queue: deque[_Item], mean: float) -> None:
        self.shape = shape
        self.queue = queue
        self.environment = queue[0][1].environment
        self.mean = mean
        self.depth = 1 if not mean or mean >= _SOON else DEEP if mean < _SHORT else _AHEAD
        self.last, self.more = "", 0
        """The manager of the last one, and how many more may go there without asking again."""
        self.behind: list[_Item] = []
        """What was passed over: no block lasts so long."""
        self.too_long = 0.0

    def rewind(self) -> None:
        """Everything is to be looked at once more."""
        self.queue.extendleft(reversed(self.behind))
        self.behind, self.too_long, self.more = [], 0.0, 0


class Fleet:
    """See the module. `now` is monotonic seconds; whoever uses it sets that first. `routes`: how managers are
    chosen.
    """

    def __init__(self, routes: Routes | None = None) -> None:
        self.now = 0.0
        self.managers: dict[str, ManagerView] = {}
        self._waiting: dict[str, deque[_Item]] = {}
        self._routes = routes or Routes()
        self._running: dict[str, int] = {}
        """Slots that the tasks of a shape have, at all managers."""
        self._began: dict[str, float] = {}
        """Since when it has any."""
        self._held: dict[str, float] = {}
        """Until when a shape that waits may be held back by what one more container would cost."""
        self._looked = float("-inf")
        """When what waits was last looked at."""
        self._serving: dict[str, int] = {}
        """Those that take work, with their slots."""
        self._largest = 0
        """Slots that the largest manager has, or had."""
        self.slots = 0
        """Of all managers that take work."""
        self.ready = False
        """Whether any manager takes work."""
        self.changed = False
        """Whether something may have found room since `assign`."""

    # Managers come and go.

    def came(self, manager: str, block: str, *, ends: float, host: str, allocation: str = "") -> ManagerView:
        """A manager enrolled; it has no slots before it has said how many."""
        view = self.managers.get(manager)
        if view is None:
            view = self.managers[manager] = ManagerView(block, ends=ends, host=host, allocation=allocation)
            self._sort(manager)
        view.ends, view.linked = ends, True
        self._count(manager)
        return view

    def away(self, manager: str) -> None:
        """It is silent."""
        if (view := self.managers.get(manager)) is not None:
            view.linked = False
            self._count(manager)

    def has(self, manager: str, *, slots: int, memory: int, gpus: int, ready: bool, info: dict[str, Any]) -> None:
        """It says what it has."""
        view = self.managers.get(manager)
        if view is not None:
            view.slots, view.memory, view.gpus, view.ready, view.info = slots, memory, gpus, ready, info
            # What is on its way counts as warm: a second start elsewhere would come no sooner.
            there = set()
            for one in info.get("containers", ()):
                environment = str(one.get("environment"))
                if environment != "host":
                    there.add(environment)
                    if seconds := one.get("seconds"):
                        self._routes.started(environment, float(seconds))
            self._routes.put(manager, view.slots - view.used, dict.fromkeys(there, SHARED))
            self._count(manager)

    def left(self, manager: str) -> ManagerView | None:
        """It is gone."""
        view = self.managers.pop(manager, None)
        if view is not None:
            self._routes.drop(manager)
            self._count(manager)
            for shape, width in list(view.running.items()):
                self._ran(view, shape, width)
        return view

    def drain(self, block: str, *, on: bool = True) -> list[str]:
        """Give the managers of this block nothing more (or, not `on`, again); they."""
        those = [one for one, view in self.managers.items() if view.block == block]
        for one in those:
            self.managers[one].draining = on
            self._count(one)
        return those

    def _count(self, manager: str) -> None:
        """A manager came, went, or is another one than before. Thousands of them say so: nothing is counted anew."""
        view = self.managers.get(manager)
        before = self._serving.pop(manager, None)
        if view is not None and view.serves:
            self._serving[manager] = view.slots
            self._largest = max(self._largest, view.slots)
        self.slots += self._serving.get(manager, 0) - (before or 0)
        self.ready = bool(self._serving)
        self.changed = True

    def _sort(self, manager: str) -> None:
        view = self.managers[manager]
        if manager in self._routes:
            self._routes.free(manager, view.slots - view.used)
        else:
            self._routes.put(manager, view.slots - view.used, {})

    # What there is.

    def waiting(self) -> list[tuple[int, Need]]:
        """What found no room: how many of each need."""
        found: dict[Need, int] = {}
        for queue in self._waiting.values():
            for entry, _work, need in queue:
                if _waits(entry):
                    found[need] = found.get(need, 0) + 1
        return [(count, need) for need, count in found.items()]

    def used(self) -> dict[str, int]:
        """Slots that are taken, by allocation."""
        found: dict[str, int] = {}
        for view in self.managers.values():
            found[view.allocation] = found.get(view.allocation, 0) + view.used
        return found

    def busy_blocks(self) -> set[str]:
        """Blocks in which there is anything of anybody."""
        return {view.block for view in self.managers.values() if not view.idle}

    # Work.

    def queue(self, items: Iterable[_Item]) -> None:
        """These want to run."""
        for item in items:
            self._waiting.setdefault(item[0].shape, deque()).append(item)
            self.changed = True

    def assign(self, mean_of: Callable[[str], float], demand_of: Callable[[str], int] = lambda _shape: 0) -> list[Any]:
        """Give what waits to whoever has room. `mean_of(shape)`: seconds that a task takes, 0.0 when not known;
        `demand_of(shape)`: how many more are to come.
        """
        self.changed, self._looked = False, self.now
        placed: dict[str, list[Work]] = {}
        lines = [_Line(shape, queue, mean_of(shape)) for shape, queue in self._waiting.items()]
        turns = deque(lines)
        while turns:
            line = turns.popleft()
            if self._serve(line, placed, start=not self._running.get(line.shape)):
                turns.append(line)
        for line in lines:
            line.rewind()
        turns.extend(line for line in lines if line.queue and line.environment and self._routes.even)
        while turns:
            line = turns.popleft()
            if self._serve(line, placed, start=self._may_start(line, demand_of)):
                turns.append(line)
        for line in lines:
            line.rewind()
            if not line.queue:
                del self._waiting[line.shape]
                self._held.pop(line.shape, None)
        return [Tell(Place(work), manager) for manager, work in placed.items()]

    def _serve(self, line: _Line, placed: dict[str, list[Work]], *, start: bool) -> bool:
        """Give out one task, or a row of short ones; whether the next may be tried. `start`: also where a container
        has to be started for it.
        """
        queue = line.queue
        while queue:
            entry, work, need = item = queue.popleft()
            if not _waits(entry):
                continue
            if line.too_long and work.timeout >= line.too_long:
                manager = ""
            elif line.more:
                manager, line.more = line.last, line.more - 1
                if not self.suits(manager, need, line.depth, work.timeout):
                    # Its turn is over: whether a container may be started for the rest is asked anew.
                    line.more = 0
                    queue.appendleft(item)
                    return True
            else:
                manager = line.last = self.pick(need, line.depth, work.timeout, line.environment, start=start)
                line.more = self._in_a_row(manager, line.depth) if line.depth > 1 else 0
                if manager:
                    # Who was served stands behind the others, the next time too.
                    self._waiting[line.shape] = self._waiting.pop(line.shape)
                    if not start:
                        self._held.pop(line.shape, None)
            if manager:
                need = self.as_given(manager, need)
                work.cores = need.width
                self.took(manager, entry, need)
                if line.environment:
                    self._routes.begins(manager, line.environment)
                placed.setdefault(manager, []).append(work)
                if line.more:
                    continue
                return True
            if not work.timeout:
                queue.appendleft(item)
                return False
            # No block lasts so long: those behind it that take less time need not wait for another block.
            line.behind.append(item)
            line.too_long = work.timeout
        return False

    def _may_start(self, line: _Line, demand_of: Callable[[str], int]) -> bool:
        """Whether what is left of it is worth one more container."""
        shape = line.shape
        running, start = self._running.get(shape, 0), self._routes.start_of(line.environment)
        if not running or not start or not line.queue:
            return True
        began = self._began[shape]
        if line.mean:
            until = self._held.setdefault(shape, self.now + start)
        else:
            # One start, and as long again for the first of them to tell how long they take.
            until = self._held[shape] = began + 2 * start
        waiting = (len(line.queue) + demand_of(shape)) * line.queue[0][2].width * line.mean
        return pays(waiting, running, start, length=line.mean, age=self.now - began, left=until - self.now)

    @property
    def due(self) -> float:
        """When `assign` should be called even if nothing changes; infinity when it need not. Something else may come
        first when that time is over, and change nothing: it stays due.
        """
        return min((until for until in self._held.values() if until > self._looked), default=float("inf"))

    def as_given(self, manager: str, need: Need) -> Need:
        """What is wanted, at this manager: who wants the whole node gets all its slots."""
        return need._replace(width=self.managers[manager].slots) if need.whole else need

    def pick(self, need: Need, depth: int, seconds: float, environment: str = "", *, start: bool = True) -> str:
        """Where it may run for so many seconds; empty when nowhere now. Who has the environment warm comes first;
        without `start` nobody else comes.
        """
        among = self._routes.ranked if start else self._routes.unstarted
        for manager in among(environment, need.width - (depth - 1) * self._largest):
            if self.suits(manager, need, depth, seconds):
                return manager
        return ""

    def suits(self, manager: str, need: Need, depth: int, seconds: float) -> bool:
        """Whether it may run there for so many seconds."""
        view = self.managers[manager]
        return view.takes(need, depth) and (not seconds or self.now + seconds <= view.ends)

    def _in_a_row(self, manager: str, depth: int) -> int:
        """How many more short tasks of one shape may go where one went, without asking again: a message to a manager
        costs more than such a task, and no manager gets more than a quarter of what it has free (where nothing is: of
        what may queue there).
        """
        if not manager or not self._routes.even:
            return 0
        view = self.managers[manager]
        free = view.slots - view.used
        return min(_ROW, (free if free > 0 else max(0, view.slots * depth - view.used)) // 4)

    def took(self, manager: str, entry: Entry, need: Need) -> None:
        """A task is at this manager."""
        entry.manager, entry.placed = manager, True
        view = self.managers.get(manager)
        if view is not None:
            if more := view.add(entry.task.task_id, need, session=False):
                for counts in (view.running, self._running):
                    _add(counts, entry.shape, more)
            self._began.setdefault(entry.shape, self.now)
            self._sort(manager)

    def released(self, entry: Entry) -> None:
        """A task is at no manager any more. (One that waits for one is passed over when its turn comes.)"""
        view = self.managers.get(entry.manager)
        if view is not None:
            width = view.remove(entry.task.task_id, session=False)
            self._ran(view, entry.shape, width)
            self._sort(entry.manager)
            self.changed = True

    def _ran(self, view: ManagerView, shape: str, width: int) -> None:
        """So many slots have its tasks no more."""
        for counts in (view.running, self._running):
            _add(counts, shape, -width)
        if shape not in self._running:
            self._began.pop(shape, None)

    # Sessions.

    def lease(self, session_id: str, need: Need, seconds: float, environment: str = "") -> str:
        """Where a session may live for at least so many seconds, its room taken; empty when nowhere now."""
        manager = self.pick(need, 1, seconds, environment)
        if manager:
            self.leased(manager, session_id, self.as_given(manager, need))
            if environment:
                self._routes.begins(manager, environment)
        return manager

    def leased(self, manager: str, session_id: str, need: Need) -> None:
        """A session lives at this manager."""
        view = self.managers.get(manager)
        if view is not None and session_id not in view.sessions:
            view.add(session_id, need, session=True)
            self._sort(manager)

    def unleased(self, manager: str, session_id: str) -> None:
        """It does not any more."""
        view = self.managers.get(manager)
        if view is not None:
            view.remove(session_id, session=True)
            self._sort(manager)
            self.changed = True


def _waits(entry: Entry) -> bool:
    """Whether it still wants to run: it may have been cancelled, or found at a manager, since it was queued."""
    return entry.phase == ACCEPTED and entry.placed and not entry.manager


def _add(counts: dict[str, int], shape: str, width: int) -> None:
    if left := counts.get(shape, 0) + width:
        counts[shape] = left
    else:
        counts.pop(shape, None)
