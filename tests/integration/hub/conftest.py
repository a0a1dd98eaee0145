"""A real hub process on a runtime directory of its own."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from hub_process import HubProcess


@pytest.fixture
def hub() -> Iterator[HubProcess]:
    folder = Path(tempfile.mkdtemp(prefix="fxh", dir="/tmp"))
    process = HubProcess(folder)
    try:
        yield process.start()
    finally:
        if process.process is not None and process.process.poll() is None:
            process.process.kill()
            process.process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)
