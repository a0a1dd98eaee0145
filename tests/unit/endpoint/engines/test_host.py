"""What an engine's host ends of an earlier one, and what it must not touch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from jupyter_fx.endpoint.engines.host import _end_left
from jupyter_fx.endpoint.identity import boot_id

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="endpoints for others run on Linux")


@pytest.mark.parametrize("elsewhere", [False, True])
def test_only_what_an_earlier_host_left_on_this_machine_is_ended(tmp_path: Path, elsewhere: bool) -> None:
    leader = subprocess.Popen(
        ["/bin/sh", "-c", "sleep 60 >/dev/null & echo $!"], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    left = psutil.Process(int(leader.communicate(timeout=20)[0]))
    try:
        (tmp_path / "host.pid").write_text(f"{leader.pid} {'another-boot' if elsewhere else boot_id()}")
        _end_left(tmp_path)
        gone = left.status() == psutil.STATUS_ZOMBIE if left.is_running() else True
        if not gone and not elsewhere:
            left.wait(20)
            gone = True
        assert gone is not elsewhere
        assert (tmp_path / "host.pid").read_text() == f"{os.getpid()} {boot_id()}"
    finally:
        if left.is_running():
            left.kill()
