from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_fx.client import HubClient
from jupyter_fx.testing.fake_hub import FakeHub


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    place = Path(tempfile.mkdtemp(prefix="fxc"))
    try:
        with FakeHub(place) as fake:
            yield fake
    finally:
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def client(hub: FakeHub) -> Iterator[HubClient]:
    made = HubClient(hub.address, timeout=30.0)
    yield made
    made.close(timeout=1.0)
