"""What every provider can, and how scheduler commands are run."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from jupyter_fx.endpoint.block_records import JobInfo
from jupyter_fx.endpoint.need import NodeSize

if TYPE_CHECKING:
    from jupyter_fx.endpoint.providers.budget import Budget

__all__ = ["JobSpec", "Provider", "ProviderError", "finished", "run", "said"]

TIMEOUT: Final = 20.0
"""Seconds that a scheduler's command may take."""
_SAID_MAX: Final = 300


class ProviderError(Exception):
    """A scheduler's command failed; the text says what it said."""


class JobSpec(NamedTuple):
    """One job. `command` is run once on each node; `folder` (0700) is for its script and output."""

    name: str
    command: str
    folder: Path
    allocation: str = ""
    """What was chosen about how it is asked for (`protocol.allocation`)."""
    begun: bool = False
    """A part of it is there: only the rest is to be asked for. (Of jobs whose `JobInfo.nodes` say so.)"""


class Provider(Protocol):
    """See the package. Errors are ProviderError, and UsageError for what can only be cured by its settings."""

    label: str

    @property
    def default_partition(self) -> str:
        """The partition that is used where none is named; empty: not known."""

    def look(self) -> None:
        """Ask the scheduler what it offers."""

    def offers(self) -> dict[str, list[str]]:
        """What can be chosen: for each word of `protocol.allocation.WORDS` its values; without those nobody knows."""

    def budgets(self) -> list[Budget]:
        """What the accounts of this user have left, as `look` found it, where that is limited and told."""

    def settings_of(self, allocation: str) -> Any:
        """`c.Blocks` with what an allocation chooses; UsageError when there is no such choice here."""

    def check(self, allocation: str = "") -> NodeSize:
        """See whether the settings, with what was chosen, can work at all, by what `look` found; the largest node that
        can be had (0: not known).
        """

    def submit(self, spec: JobSpec) -> str:
        """Ask for a job; its id."""

    def jobs(self) -> dict[str, JobInfo]:
        """All jobs of this user that are known, by id; those that ended a short time ago too, if that can be had."""

    def cancel(self, jobs: Sequence[str]) -> None:
        """End these jobs."""


def finished(command: Sequence[str], name: str, seconds: float, *, folder: str = "") -> tuple[int, bytes, bytes]:
    """Status, stdout and stderr of a command, run in `folder`; ProviderError when it hangs (it is ended then) or is not
    there.
    """
    try:
        process = subprocess.Popen(
            command,
            cwd=folder or None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise ProviderError(f"{name} cannot be run: {error.strerror}") from error
    with process:
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise ProviderError(f"{name} did not answer within {seconds:g} s") from None
    return process.returncode, out, err


def run(command: Sequence[str], *, timeout: float = 0.0) -> str:
    """The output of a command; ProviderError when it fails, hangs, or is not there."""
    status, out, err = finished(command, command[0], timeout or TIMEOUT)
    if status:
        raise ProviderError(f"{command[0]}: {said(err.decode(errors='replace') or out.decode(errors='replace'))}")
    return out.decode(errors="replace")


def said(text: str) -> str:
    """The last line that says anything, short."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:_SAID_MAX] if lines else "it said nothing"
