"""A manager process that does not come up, and what its agent says of it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from jupyter_fx.endpoint.managerspec import ManagerSpec
from jupyter_fx.endpoint.remote_manager import RemoteManager
from jupyter_fx.endpoint.talk import Capacity

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="endpoints for others run on Linux")


class _Unborn(RemoteManager):
    module = "this"  # says something, and ends


def test_a_manager_that_ends_before_it_is_one_is_told_and_started_again(tmp_path: Path) -> None:
    async def main() -> None:
        said: list[Any] = []
        manager = _Unborn(ManagerSpec(folder=str(tmp_path), slots=2), said.append, asyncio.get_running_loop(), int)
        manager.start()
        try:
            async with asyncio.timeout(60):
                while len(said) < 2:
                    await asyncio.sleep(0.05)
        finally:
            manager.close()
        for one in said:
            assert isinstance(one, Capacity)
            assert not one.ready
            assert "its manager does not come up (exit status 0): Namespaces are one honking" in one.info["why"]
            assert "manager.log" in one.info["why"]

    asyncio.run(main())
