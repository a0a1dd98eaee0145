"""What is left of Parsl when its configuration does not start."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from jupyter_fx.endpoint.engines.parsl_engine import ParslEngine

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="endpoints for others run on Linux")


def test_executors_that_had_started_are_ended_when_another_one_does_not(tmp_path: Path) -> None:
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor, ThreadPoolExecutor
    from parsl.providers import LocalProvider

    seen: list[psutil.Process] = []

    class Refused(ThreadPoolExecutor):
        def start(self) -> None:
            seen.extend(psutil.Process().children(recursive=True))
            raise RuntimeError("no allocation is left")

    provider = LocalProvider(init_blocks=0, max_blocks=1)
    good = HighThroughputExecutor(label="good", address="127.0.0.1", provider=provider)
    config = Config(executors=[good, Refused(label="refused")], strategy="none", initialize_logging=False)
    before = set(psutil.Process().children(recursive=True))
    engine = ParslEngine(config, tmp_path)
    try:
        with pytest.raises(RuntimeError, match="no allocation is left"):
            engine.start()
        engine.close()
        started = [one for one in seen if one not in before]
        assert started
        _gone, alive = psutil.wait_procs(started, timeout=20)
        assert not alive
    finally:
        for one in seen:
            if one not in before and one.is_running():
                one.kill()
