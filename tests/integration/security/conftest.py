"""A hub with its endpoint, as those see it who should not: one for each file."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_fx import embedded

sys.path.insert(0, str(Path(__file__).parent))
from observed_site import PLANTED, Site, prepared


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    top = Path(tempfile.mkdtemp(prefix="fxz"))
    # As open as a home directory on a careless machine: what lies in it has to protect itself.
    top.chmod(0o755)
    old = os.umask(0o022)
    found = Site(top)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for number, name in enumerate(("RUNTIME", "STATE", "CONFIG")):
                patch.setenv(f"JUPYTER_FX_{name}_DIR", str(top / str(number)))
            for name, value in PLANTED.items():
                patch.setenv(name, value)
            try:
                with prepared(found):
                    yield found
            finally:
                embedded.stop_endpoint()
                embedded.stop_hub()
    finally:
        found.close()
        os.umask(old)
        shutil.rmtree(top, ignore_errors=True)
