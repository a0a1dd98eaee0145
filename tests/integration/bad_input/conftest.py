"""Everything that people get wrong, as they do it: what they read then, and that nothing is lost by it.

Cells run in a real kernel, calls in this process, commands as processes; all of a file on one hub with its local
endpoint. Every sentence is looked up in docs/troubleshooting.md, and every sentence of that page must have been met in
the end.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jupyter_fx as fx
from jupyter_fx import embedded
from jupyter_fx.client import HubClient

sys.path.insert(0, str(Path(__file__).parent))
from explanations import PLACES, enrol


def kernels_of_the_notebook_tests() -> Any:
    path = Path(__file__).parents[1] / "notebook" / "conftest.py"
    found = importlib.util.spec_from_file_location("notebook_kernels", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def top() -> Iterator[Path]:
    """Directories for a hub and its endpoints, in the environment of all that is started here."""
    top = Path(tempfile.mkdtemp(prefix="fxb"))
    with pytest.MonkeyPatch.context() as patch:
        for number, name in enumerate(PLACES):
            (top / str(number)).mkdir(mode=0o700)
            patch.setenv(name, str(top / str(number)))
        patch.delenv("JUPYTER_FX_HUB", raising=False)
        settings = top / "2" / "endpoints" / "local" / "config.py"
        settings.parent.mkdir(parents=True, mode=0o700)
        settings.write_text("c.Endpoint.workers = 2\nc.Endpoint.max_processes = 30\n")
        yield top
    shutil.rmtree(top, ignore_errors=True)


@pytest.fixture(scope="module")
def client(top: Path) -> Iterator[HubClient]:
    fx.disconnect()
    yield fx.connect()
    fx.disconnect()
    embedded.stop_endpoint()
    embedded.stop_hub()


@pytest.fixture(scope="module")
def kernel(client: HubClient, top: Path) -> Iterator[Any]:
    folder = top / "k"
    folder.mkdir()
    kernel = kernels_of_the_notebook_tests().Kernel(folder)
    yield kernel
    kernel.close()


@pytest.fixture
def short() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="fxb"))
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def farm(client: HubClient) -> str:
    """An endpoint that is enrolled and has never run."""
    enrol(client, "farm")
    return "farm"
