"""What `qstat -f` says, of Torque, of PBS Pro and of Slurm's stand-in, and what is made of it."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from typing import Any

import pytest

from jupyter_fx.endpoint.block_records import JobInfo
from jupyter_fx.endpoint.providers import ProviderError, pbs

TORQUE = """Job Id: 12.head
    Job_Name = parsl.fxab12.17
    Job_Owner = ME@head.example
    job_state = Q
    comment = Not Running: too few nodes are fr
\tee now
    queue = batch

Job Id: 13.head
    Job_Name = other
    Job_Owner = somebody@head.example
    job_state = R

Job Id: 14.head
    Job_Name = parsl.fxcd34.18
    Job_Owner = ME@head.example
    job_state = R
"""
SLURMS = "Job Id:\t7\n\tJob_Name = parsl.fx1.17\n\tJob_Owner = ME@localhost\n\tjob_state = H\n\n"


@pytest.fixture
def qstat(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What it prints: one text."""
    told = [""]

    def answer(_command: Sequence[str], **_how: Any) -> str:
        return told[0].replace("ME", getpass.getuser())

    monkeypatch.setattr(pbs, "run", answer)
    return told


def test_own_jobs_are_told_with_names_and_reasons(qstat: list[str]) -> None:
    qstat[0] = TORQUE
    assert pbs.jobs() == {
        "12.head": JobInfo("12.head", "parsl.fxab12.17", "pending", "Not Running: too few nodes are free now"),
        "14.head": JobInfo("14.head", "parsl.fxcd34.18", "running"),
    }
    qstat[0] = SLURMS
    assert pbs.jobs() == {"7": JobInfo("7", "parsl.fx1.17", "pending", "held")}
    qstat[0] = ""
    assert pbs.jobs() == {}


@pytest.mark.parametrize("garbage", ["qstat: cannot connect", "Job Id: 7\nnonsense\n"])
def test_what_cannot_be_understood_is_not_taken_for_an_ended_job(qstat: list[str], garbage: str) -> None:
    qstat[0] = garbage
    with pytest.raises(ProviderError):
        pbs.jobs()
