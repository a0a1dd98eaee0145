"""Grid Engine: what its `qstat -xml` says. (Parsl's reading of qstat knows no names: the table cuts them short.)"""

from __future__ import annotations

import getpass
import xml.etree.ElementTree as ET
from typing import Final

from jupyter_fx.endpoint.block_records import JobInfo
from jupyter_fx.endpoint.providers.base import ProviderError, run

__all__ = ["jobs"]

_RUNNING: Final = frozenset("rtRsSTd")
"""Letters of the states of jobs that have nodes: running, in transfer, restarted, suspended, being deleted."""


def jobs() -> dict[str, JobInfo]:
    """All jobs of this user that are not over."""
    text = run(["qstat", "-u", getpass.getuser(), "-xml"])
    try:
        tree = ET.fromstring(text)  # noqa: S314 - of the scheduler that runs our jobs
    except ET.ParseError as error:
        raise ProviderError(f"qstat answered what cannot be understood: {text.strip()[:100]!r}") from error
    found = {}
    for one in tree.iter("job_list"):
        job, state, name = (one.findtext(tag) or "" for tag in ("JB_job_number", "state", "JB_name"))
        if not job or not state:
            # A job that is left out would be taken for one that has ended.
            raise ProviderError(f"qstat tells no state of job {job or '(without a number)'}")
        found[job] = _info(job, name, state)
    return found


def _info(job: str, name: str, state: str) -> JobInfo:
    if "E" in state:
        return JobInfo(job, name, "pending", f"in error ({state}): qstat -j {job} says why, qmod -cj {job} clears it")
    if "q" in state or "h" in state:
        return JobInfo(job, name, "pending", "held" if "h" in state else "")
    return JobInfo(job, name, "running" if _RUNNING & {*state} else "pending", state if state not in {"r", "t"} else "")
