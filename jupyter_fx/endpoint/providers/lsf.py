"""LSF: what its `bjobs` says. (Parsl's reading of it knows no names, and takes what is not listed for finished.)"""

from __future__ import annotations

from typing import Final

from jupyter_fx.endpoint.block_records import JobInfo
from jupyter_fx.endpoint.providers.base import ProviderError, run

__all__ = ["jobs"]

_STATES: Final = {
    "PEND": "pending",
    "WAIT": "pending",
    "PSUSP": "pending",
    "RUN": "running",
    "USUSP": "running",
    "SSUSP": "running",
    "UNKWN": "running",
    "PROV": "running",
    "DONE": "ended",
    "EXIT": "failed",
    "ZOMBI": "failed",
}
_NONE: Final = ("no job found", "no unfinished job found", "no matching job found")


def jobs() -> dict[str, JobInfo]:
    """All jobs of this user that LSF still knows, those too that have ended in the last minutes."""
    try:
        text = run(["bjobs", "-a", "-noheader", "-o", "jobid stat job_name pend_reason delimiter='|'"])
    except ProviderError as error:
        if any(words in str(error).lower() for words in _NONE):
            return {}
        raise
    found = {}
    for line in text.splitlines():
        parts = line.split("|", 3)
        if parts[0].strip().lower().rstrip(".") in _NONE:
            continue
        if len(parts) < 4 or not parts[0].strip().isdigit() or parts[1].strip() not in _STATES:
            raise ProviderError(f"bjobs answered what cannot be understood: {line[:100]!r}")
        job, state, name, reason = (part.strip() for part in parts)
        word = _STATES[state]
        said = "held" if state == "PSUSP" else reason.rstrip(";. ") if word == "pending" and reason != "-" else ""
        found[job] = JobInfo(job, name, word, "it failed or was ended" if word == "failed" else said)
    return found
