"""The process in which an engine lives: `python -m jupyter_fx.endpoint.engines.host BLOCK_DIR`.

It is the manager process of its endpoint (`manager_main`): it goes on when its agent dies, holds results, and comes
back to the next agent. When the engine dies it ends: the agent settles what it had and starts another one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil

from jupyter_fx.endpoint.bootstrap import Block
from jupyter_fx.endpoint.engines.base import Engine
from jupyter_fx.endpoint.engines.dask_engine import DaskEngine
from jupyter_fx.endpoint.engines.manager import EngineManager
from jupyter_fx.endpoint.engines.parsl_engine import ParslEngine
from jupyter_fx.endpoint.engines.spec import EngineSpec
from jupyter_fx.endpoint.identity import boot_id
from jupyter_fx.endpoint.manager_main import ManagerProgram
from jupyter_fx.endpoint.reap import kill_session
from jupyter_fx.endpoint.settings import load_settings
from jupyter_fx.paths import private_dir

__all__ = ["main"]

log = logging.getLogger(__name__)


def _engine(spec: EngineSpec) -> Engine:
    """The engine that the settings describe now."""
    settings = load_settings(Path(spec.config))
    folder = private_dir(Path(spec.folder) / "engine")
    if spec.engine == "dask":
        return DaskEngine(settings.engine_address, settings.workers, folder)
    return ParslEngine(settings.engine_config, folder)


def _end_left(folder: Path) -> None:
    """End what an earlier host of this endpoint left on this machine: it led a session.

    The directory may be shared by machines, and outlives their boots: elsewhere its number is somebody else's.
    """
    note = folder / "host.pid"
    with contextlib.suppress(OSError, ValueError):
        pid, _, boot = note.read_text().partition(" ")
        before = int(pid)
        if boot == boot_id() and not psutil.pid_exists(before) and (left := kill_session(before)):
            log.warning("ended %d processes that an earlier engine left", left)
    note.write_text(f"{os.getpid()} {boot_id()}")


async def _serve(folder: Path) -> None:
    block = Block(folder)
    spec = msgspec.json.decode((folder / "spec.json").read_bytes(), type=EngineSpec)

    def make(send: Callable[[Any], None], loop: asyncio.AbstractEventLoop) -> EngineManager:
        return EngineManager(spec, send, loop, make=lambda: _engine(spec), gone=lambda _why: program.stop())

    _end_left(private_dir(Path(spec.folder) / "engine"))
    program = ManagerProgram(block, make)
    await program.run()


def main(argv: list[str] | None = None) -> int:
    """Be the engine's host in the block whose directory is named."""
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for handler in logging.getLogger().handlers:
        # Parsl tells several lines for each task, and has a log of its own for them.
        handler.addFilter(lambda record: record.levelno >= logging.WARNING or not record.name.startswith("parsl"))
    (folder,) = argv if argv is not None else sys.argv[1:]
    asyncio.run(_serve(Path(folder)))
    # What the engine does not end itself: workers of a manager that was killed, say.
    kill_session(os.getpid())
    logging.shutdown()
    # Threads of the engine that hang must not keep us here.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
