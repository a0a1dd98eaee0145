"""A cluster behind ssh, as the README has it: one command from a laptop, and its nodes are batch jobs there."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from slurm_cluster import Cluster

import jupyter_fx as fx
from jupyter_fx.embedded import stop_endpoint, stop_hub
from tests.integration.test_ssh import SSHD, Far, add, cli

pytestmark = [
    pytest.mark.skipif(not Path(SSHD).exists(), reason="no sshd on this machine (openssh-server)"),
    pytest.mark.skipif(not shutil.which("ssh"), reason="no ssh on this machine (openssh-client)"),
]


@pytest.fixture
def login(cluster: Cluster) -> Iterator[Far]:
    """The cluster's login node."""
    folder = Path(tempfile.mkdtemp(prefix="fxs"))
    host = Far(folder)
    try:
        host.start(SLURM_CONF=cluster.env["SLURM_CONF"])
        yield host
    finally:
        fx.disconnect()
        stop_endpoint()
        stop_hub()
        host.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_laptops_call_runs_in_a_batch_job(login: Far) -> None:
    status, said = add(login, "polaris", "--python", sys.executable, "--scheduler", "slurm", "--partition", "nowhere")
    assert status == 1
    assert "Slurm has no partition 'nowhere'" in said
    assert "endpoint polaris was not added" in said
    status, said = add(login, "polaris", "--python", sys.executable, "--scheduler", "slurm")
    assert status == 0, said
    try:
        written = (login.folder / "c" / "endpoints" / "polaris" / "config.py").read_text()
        assert "#   partition debug (default)" in written
        assert "c.Blocks.partition = 'debug'" in written

        @fx.remote(endpoint="polaris")
        def job() -> str | None:
            import os

            return os.environ.get("SLURM_JOB_ID")

        assert str(job.submit().result(120)).isdigit()
    finally:
        status, said = cli("endpoint", "delete", "polaris", "--yes")
        assert status == 0, said
