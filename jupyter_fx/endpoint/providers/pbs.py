"""Torque and PBS Pro: what their `qstat -f` says. (Parsl's reading of qstat takes a missing job for a finished one, and
knows no names.)
"""

from __future__ import annotations

import getpass
import re
from typing import Final

from jupyter_fx.endpoint.block_records import JobInfo
from jupyter_fx.endpoint.providers.base import ProviderError, run

__all__ = ["jobs"]

_STATES: Final = {"Q": "pending", "H": "pending", "W": "pending", "T": "pending", "R": "running", "E": "running"}
_STATES_OVER: Final = {"C": "ended", "F": "ended", "X": "ended"}
_FIELD: Final = re.compile(r"(?m)^\s+([\w.]+) = (.*)$")
_ID: Final = re.compile(r"Job Id:\s*(\S+)")


def jobs() -> dict[str, JobInfo]:
    """All jobs of this user that the server lists."""
    text = run(["qstat", "-f"])
    if text.strip() and not _ID.search(text):
        raise ProviderError(f"qstat answered what cannot be understood: {text.strip().splitlines()[0][:100]!r}")
    found = {}
    me = getpass.getuser()
    for part in re.split(r"(?m)^(?=Job Id:)", text):
        match = _ID.match(part)
        if match is None:
            continue
        # A long value goes on in the next line, after a tab.
        fields = dict(_FIELD.findall(re.sub(r"\n\t(?![\w.]+ = )", "", part)))
        state = fields.get("job_state", "")
        if not state:
            # A job that is left out would be taken for one that has ended.
            raise ProviderError(f"qstat tells no state of job {match[1]}")
        if fields.get("Job_Owner", me).partition("@")[0].partition("(")[0] != me:
            continue
        word = (_STATES | _STATES_OVER).get(state, "running")
        reason = "held" if state == "H" else fields.get("comment", "") if word == "pending" else ""
        found[match[1]] = JobInfo(match[1], fields.get("Job_Name", ""), word, reason)
    return found
