"""Names of environments that were built from a specification (`env:NAME`), and where the endpoint keeps them."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jupyter_fx.endpoint import builtimages
from jupyter_fx_worker import specenvs, specpack

if TYPE_CHECKING:
    from jupyter_fx.endpoint.managerspec import ManagerSpec

__all__ = ["PREFIX", "builder", "folder", "is_made", "is_spec", "refusal", "short"]

PREFIX: Final = "env:"
_WHOLE: Final = re.compile(r"env:[0-9a-f]{40}\Z")


def is_spec(environment: str) -> bool:
    """Whether it was made from a specification."""
    return environment.startswith(PREFIX)


def is_made(environment: str) -> bool:
    """Whether it is made of something that its user sends: what is not there may be at any moment."""
    return is_spec(environment) or builtimages.is_built(environment)


def short(environment: str) -> str:
    """Its name for people: enough of a digest."""
    return environment[:14] if is_made(environment) else environment


def refusal(environment: str) -> str:
    """Why there can be no such environment; empty when there can."""
    if _WHOLE.match(environment):
        return ""
    return f"{environment[:100]!r} is no environment: name a specification: `--env requirements.txt`"


def folder(spec: ManagerSpec) -> Path:
    """Where they are, seen from all nodes."""
    return Path(spec.files or spec.folder) / "environments"


def builder(spec: ManagerSpec) -> dict[str, str]:
    """What workers of the endpoint's own Python are told, so that they can build."""
    days, mib = spec.environments
    # One machine's own disk gains nothing from a file: it is for what many nodes see.
    mode = "never" if spec.squashfs == "auto" and not spec.host else spec.squashfs
    told = {
        specenvs.ROOT: str(folder(spec)),
        specenvs.DAYS: str(days),
        specenvs.MIB: str(mib),
        specpack.MODE: mode,
    }
    told |= builtimages.rules(spec.containers)
    uv = Path(sys.executable).parent / "uv"
    return {**told, specenvs.UV: str(uv)} if uv.exists() else told
