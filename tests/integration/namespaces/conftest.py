"""Hosts with a firewall between them. Where they cannot be made, the reason is said."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
from facility import Facility
from network import Network, network, why_no_namespaces


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    """A network of six hosts."""
    if why := why_no_namespaces():
        pytest.skip(why)
    with network() as found:
        yield found


@pytest.fixture(scope="module")
def facility(net: Network) -> Iterator[Facility]:
    """A hub, and an endpoint whose nodes have no way out; its agent has been started."""
    made = Facility(Path(tempfile.mkdtemp(prefix="fxn")), net)
    try:
        made.start_hub()
        made.enrol()
        made.start_agent()
        made.online()
        yield made
    finally:
        made.close()
