"""Starts an engine, sees how it is until it is dead, and ends it. An engine may hang at any of that."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Final

from jupyter_fx.endpoint.engines import limits
from jupyter_fx.endpoint.engines.base import Engine, Health
from jupyter_fx.endpoint.engines.spec import EngineSpec

__all__ = ["SLOWEST", "Runner"]

log = logging.getLogger(__name__)

HEALTH_EVERY: Final = 1.0
SLOWEST: Final = 60.0
"""Seconds after which one that does not start is tried again, at most."""
CLOSES_WITHIN: Final = 10.0
DEAD_WITHIN: Final = 2.0  # that of a dead engine may hang


class Runner:
    """`make` makes the engine, anew for each try to start it; `changed()` is called when `health` was asked for,
    `gone(why)` when the engine is dead. `engine` is None until it has started.
    """

    def __init__(
        self,
        spec: EngineSpec,
        loop: asyncio.AbstractEventLoop,
        *,
        make: Callable[[], Engine],
        gone: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        self.engine: Engine | None = None
        self.health = Health("the engine is starting", spec.slots, {"engine": spec.engine})
        self._spec = spec
        self._loop = loop
        self._make, self._gone, self._changed = make, gone, changed
        self._title = limits.title(spec.engine)

    async def serve(self) -> None:
        """Start it, then see how it is until it is dead."""
        pause = self._spec.wait
        while self.engine is None:
            await asyncio.sleep(pause)
            engine: Engine | None = None
            try:
                engine = self._make()
                await asyncio.to_thread(engine.start)
            except Exception as error:  # noqa: BLE001 - of a configuration of a person's own: told, and tried again
                pause = min(SLOWEST, max(2.0, 2 * pause))
                said = str(error) or type(error).__name__
                log.error("%s does not start: %s", self._title, said)
                if engine is not None:
                    await asyncio.to_thread(engine.close)
                self._is(self.health._replace(why=f"{self._title} does not start: {said}"))
                continue
            self.engine = engine
        asking: asyncio.Task[None] | None = None
        while not (why := self.engine.dead()):
            if asking is None or asking.done():
                asking = self._loop.create_task(self._ask(self.engine))
            await asyncio.wait([asking], timeout=HEALTH_EVERY)
            await asyncio.sleep(HEALTH_EVERY)
        log.error("%s", why)
        self._gone(why)

    async def _ask(self, engine: Engine) -> None:
        """How it is. It may never answer: it may be dead."""
        try:
            self._is(await asyncio.to_thread(engine.health))
        except Exception as error:  # noqa: BLE001 - what it raises says that it does not answer
            log.warning("%s cannot say how it is: %s", self._title, error)
            self._changed()

    def _is(self, health: Health) -> None:
        self.health = health._replace(slots=self._spec.slots or health.slots)
        self._changed()

    def close(self) -> None:
        """End the engine."""
        if self.engine is not None:
            within = DEAD_WITHIN if self.engine.dead() else CLOSES_WITHIN
            closing = threading.Thread(target=self.engine.close, daemon=True)
            closing.start()
            closing.join(within)
