"""A manager over an engine that a test moves step by step."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyter_fx.endpoint.engines.base import Done as Told
from jupyter_fx.endpoint.engines.base import Health
from jupyter_fx.endpoint.engines.manager import EngineManager
from jupyter_fx.endpoint.engines.spec import EngineSpec
from jupyter_fx.endpoint.talk import Code, Done, Ended, Go, Place, Want, Work
from jupyter_fx.ids import new_id
from jupyter_fx_worker import envelope, frames, parcels


def pack(value: Any, kind: str) -> bytes:
    return b"".join(bytes(piece) for piece in envelope.dumps(value, kind))


def log_of(*headers: dict[str, Any]) -> bytes:
    return b"".join(bytes(piece) for header in headers for piece in frames.pack(header))


class Slow:
    """Runs a parcel in a thread when it is told to, or loses it."""

    def __init__(self) -> None:
        self.given: list[tuple[tuple[str, dict[str, Any]], Told]] = []
        self.health_now = Health("", 2, {})
        self.ended = ""
        self.sees = False
        self.refuses = ""
        """What it says to whatever it is given."""

    def attests(self, error: BaseException | None) -> bool:
        return self.sees

    def start(self) -> None:
        pass

    def submit(self, name: str, job: tuple[str, dict[str, Any]], done: Told) -> None:
        if self.refuses:
            raise RuntimeError(self.refuses)
        self.given.append((job, done))

    def dead(self) -> str:
        return self.ended

    def health(self) -> Health:
        return self.health_now

    def close(self) -> None:
        self.given.clear()

    def run(self, at: int = 0) -> None:
        (_text, names), done = self.given.pop(at)
        threading.Thread(target=lambda: done(parcels.run(names["fx_parcel"]), None)).start()

    def lose(self, error: Exception, at: int = 0) -> None:
        self.given.pop(at)[1](None, error)


class World:
    def __init__(self, folder: Path) -> None:
        self.engine = Slow()
        self.said: list[Any] = []
        self.gone: list[str] = []
        self.changed = asyncio.Event()
        self.away = False
        """Whether nobody answers the manager: its agent is dead."""
        self.trouble: list[Exception] = []
        """What making the engine raises, one after another."""
        spec = EngineSpec(folder=str(folder), slots=0, engine="parsl", config="")
        self.manager = EngineManager(
            spec, self._say, asyncio.get_running_loop(), make=self._make, gone=self.gone.append
        )
        self.manager.start()

    def _make(self) -> Slow:
        if self.trouble:
            raise self.trouble.pop(0)
        return self.engine

    def _say(self, message: Any) -> None:
        self.said.append(message)
        self.changed.set()
        if isinstance(message, Want) and not self.away:
            self.manager.receive(Go(message.ticket, message.tasks))

    def give(self, function: Callable[..., Any], *values: tuple[Any, ...], attempt: int = 1) -> list[str]:
        self.manager.receive(Code("f", pack(function, "fn")))
        work = [Work(new_id(), 0, "f", pack((one, {}), "args"), attempt=attempt) for one in values]
        self.manager.receive(Place(work))
        return [one.task_id for one in work]

    async def until(self, true: Callable[[], Any]) -> Any:
        async with asyncio.timeout(20):
            while not (found := true()):
                self.changed.clear()
                try:
                    await asyncio.wait_for(self.changed.wait(), 0.05)
                except TimeoutError:
                    continue
        return found

    def ends(self) -> dict[str, Ended]:
        return {end.task_id: end for one in self.said if isinstance(one, Done) for end in one.results}

    async def run(self, ids: list[str]) -> None:
        """The engine runs what it is given until all of these have ended."""
        while not set(ids) <= set(self.ends()):
            await self.until(lambda: self.engine.given or set(ids) <= set(self.ends()))
            if self.engine.given:
                self.engine.run()

    async def end(self, task_id: str) -> Ended:
        await self.until(lambda: task_id in self.ends())
        return self.ends()[task_id]

    def started(self) -> list[str]:
        return [task for one in self.said if isinstance(one, Want) for task in one.tasks]


Story = Callable[[Callable[[World], Any]], None]
