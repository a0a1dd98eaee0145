from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from engine_story import World

from jupyter_fx.endpoint.talk import Capacity
from jupyter_fx_worker import parcels


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Callable[[Callable[[World], Any]], None]]:
    before = sys.stdout, sys.stderr

    def tell(steps: Callable[[World], Any]) -> None:
        async def main() -> None:
            world = World(tmp_path)
            try:
                await world.until(lambda: any(isinstance(one, Capacity) and one.ready for one in world.said))
                await steps(world)
            finally:
                world.manager.close()

        asyncio.run(main())

    yield tell
    sys.stdout, sys.stderr = before
    parcels._functions.clear()
