"""The agent's nodes: blocks that are provisioned, managers that come from them, what is known when they are silent.

To an agent it is what a manager is to one that runs its tasks itself; what it says comes as `From` a manager. A manager
that is not linked is given nothing and believed to live until somebody attests its death: its node's keeper, the
scheduler, or the end of its block's time. Managers live on when the agent is killed: the next one finds them again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from jupyter_fx.endpoint.allocations import Allocations
from jupyter_fx.endpoint.bootstrap import Block
from jupyter_fx.endpoint.events import Away, BlockDrains, Came, From, Patience, Provisioned
from jupyter_fx.endpoint.links import Links
from jupyter_fx.endpoint.logs import TaskLogs
from jupyter_fx.endpoint.managerspec import ManagerSpec
from jupyter_fx.endpoint.providers import Provider
from jupyter_fx.endpoint.provision import Provisioner
from jupyter_fx.endpoint.scaling import Load
from jupyter_fx.endpoint.settings import Blocks
from jupyter_fx.endpoint.talk import Capacity, Code, Drain, Halt, Report

__all__ = ["Nodes"]

log = logging.getLogger(__name__)

LOOK_EVERY: Final = 1.0
PATIENCE: Final = 60.0
"""Seconds that an agent waits for the reports of managers that outlived its predecessor."""
CLOCK_WRONG: Final = 60.0
"""Seconds by which a node's clock has to differ for that to be told."""


class Nodes:
    """`event` takes what happens; `load()` is what there is to do."""

    def __init__(
        self,
        home: Path,
        endpoint_id: str,
        settings: Blocks,
        provider: Provider,
        spec: ManagerSpec,
        allocations: Allocations,
        *,
        event: Callable[[Any], None],
        loads: Callable[[], dict[str, Load]],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._event = event
        self._loop = loop
        self.logs = TaskLogs(Path(spec.logs))
        self._links = Links(
            loop,
            home=home,
            configured=settings.addresses,
            port=settings.port,
            on_message=self._said,
            on_came=self._came,
            on_away=self._away,
            on_unfit=self._unfit,
        )
        self._provisioner = Provisioner(
            home,
            endpoint_id,
            settings,
            provider,
            spec,
            allocations,
            loads=loads,
            on_new=self._links.add,
            on_drain=self._drain,
            on_ended=self._ended,
            on_change=self._changed,
        )
        self._loads = loads
        self._allocations = allocations
        self._live: dict[str, Block] = {}
        self._managers: dict[str, str] = {}
        """Those that may live, with their blocks."""
        self._wrong_clocks: set[Any] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._scaling: asyncio.Handle | None = None
        for block in self._provisioner.adopted():
            self._links.add(block)
            self._live[block.name] = block
            dead = block.gone()
            for one in block.enrolled():
                if one.manager not in dead:
                    self._managers[one.manager] = block.name

    @property
    def adopted(self) -> list[str]:
        """The managers of an earlier agent that may live."""
        return list(self._managers)

    def start(self) -> None:
        """Look for what there is, ask for what is wanted."""
        self._provisioner.start()
        self._look()
        if self._managers:
            self._loop.call_later(PATIENCE, self._event, Patience())

    # Managers.

    def _came(self, manager: str, block: str, host: str) -> None:
        book, now = self._provisioner.book, time.monotonic()
        self._managers[manager] = block
        self._live.setdefault(block, Block(self._provisioner.folder_of(block), make=True))
        log.info("manager %s of block %s is linked (%s)", manager[:8], block[:8], host)
        self._provisioner.carry_out(book.came(block, manager, now))
        record = book.record(block)
        self._event(Came(manager, block, book.ends(block, now), host, record.allocation if record else ""))
        if record is not None and record.leaving:
            self._event(BlockDrains(block))

    def _away(self, manager: str) -> None:
        if manager in self._managers:
            log.warning("the link to manager %s is broken", manager[:8])
            self._event(Away(manager))

    def _unfit(self, manager: str, block: str, why: str) -> None:
        log.error("manager %s of block %s is not let in: %s", manager[:8], block[:8], why)
        self._provisioner.carry_out(self._provisioner.book.unfit(block, why, time.monotonic()))

    def _said(self, manager: str, message: Any) -> None:
        if manager in self._managers:
            if type(message) is Capacity:
                self._provisioner.learned(self._managers[manager], message.cores)
                self._clock(manager, message.info)
            self._event(From(manager, message))

    def _clock(self, manager: str, info: dict[str, Any]) -> None:
        """Say once that its node's clock is not as ours."""
        wrong = (info.get("clock") or time.time()) - time.time()
        if abs(wrong) > CLOCK_WRONG and info.get("host") not in self._wrong_clocks:
            self._wrong_clocks.add(info.get("host"))
            log.warning(
                "the clock of %s is %.0f s %s this host's: times of what runs there are put right here, but not those "
                "of files that it writes; the cluster's administrators should know (time synchronisation)",
                info.get("host") or manager[:8],
                abs(wrong),
                "ahead of" if wrong > 0 else "behind",
            )

    def _dead(self, manager: str, why: str) -> None:
        """It is attested to be dead."""
        block = self._managers.pop(manager, None)
        self._links.drop(manager)
        if block is not None:
            log.warning("manager %s is dead: %s", manager[:8], why)
            self._provisioner.book.left(block, manager)
            self._event(From(manager, Report([], [], gone=True, why=why)))

    def _look(self) -> None:
        """Look for the word of keepers about managers that are silent, and for blocks whose time is long over."""
        self._timer = self._loop.call_later(LOOK_EVERY, self._look)
        silent = [one for one in self._managers if not self._links.linked(one)]
        now = time.monotonic()
        gone: dict[str, dict[str, str]] = {}
        for manager in silent:
            name = self._managers[manager]
            if name not in gone:
                gone[name] = self._live[name].gone() if name in self._live else {}
            if (why := gone[name].get(manager)) is not None:
                self._dead(manager, why)
            elif self._provisioner.book.overdue(name, now):
                self._dead(manager, "its block's time is over")

    # Blocks.

    def _drain(self, block: str, back: bool, why: str) -> None:
        self._event(BlockDrains(block, back, why))

    def _ended(self, block: str, why: str) -> None:
        those = [manager for manager, at in self._managers.items() if at == block]
        self._links.remove(block)
        self._live.pop(block, None)
        for manager in those:
            self._dead(manager, f"its block ended: {why or 'its job is over'}")

    def _changed(self) -> None:
        book, now = self._provisioner.book, time.monotonic()
        whys = self._provisioner.whys(now)
        info = {
            "blocks": book.describe(now),
            "node_hours": round(book.hours(now), 3),
            "provider": book.label,
            "allocations": {one: why for one, why in whys.items() if one},
            **self._allocations.offer(),
        }
        self._event(Provisioned(info, whys[""]))

    def wants(self) -> None:
        """There may be more to do than before: see soon whether blocks are wanted."""
        if self._scaling is None:
            self._scaling = self._loop.call_soon(self._scale)

    def _scale(self) -> None:
        self._scaling = None
        self._provisioner.scale()

    # As a manager.

    def receive(self, message: Any, to: str = "") -> None:
        """Pass a message on."""
        if type(message) is Code:
            self._links.functions.put(message.digest, message.payload)
        elif to:
            self._links.tell(to, message)
        elif type(message) in {Drain, Halt}:
            self._links.tell("*", message)

    def capacity(self) -> Capacity:
        """Nothing by itself."""
        return Capacity(0, False, {})

    @property
    def busy(self) -> bool:
        """Whether any task is at a manager."""
        return any(load.used for load in self._loads().values())

    async def stop(self, *, give_up: bool) -> None:
        """Let go of blocks: end them, or leave them to the next agent."""
        await self._provisioner.stop(give_up=give_up)

    def close(self) -> None:
        """Let go of everything here."""
        if self._timer is not None:
            self._timer.cancel()
        if self._scaling is not None:
            self._scaling.cancel()
        self._managers.clear()
        self._links.close()
        self.logs.close()
