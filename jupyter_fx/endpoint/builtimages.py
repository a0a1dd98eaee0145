"""Images that were built from definitions (`built:NAME`): whether they may be used, and where they are.

They are kept beside the environments that were built from specifications, and are collected with them.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from jupyter_fx.endpoint.runtimes.command import RUNTIMES, Runtime
from jupyter_fx.endpoint.runtimes.settings import ContainerSpec
from jupyter_fx.errors import UsageError
from jupyter_fx_worker import imagebuilds
from jupyter_fx_worker.definitions import DefinitionError, parse, unlisted

__all__ = ["PREFIX", "find", "is_built", "refusal", "rules", "shown", "there"]

PREFIX: Final = "built:"
_WHOLE: Final = re.compile(r"built:[0-9a-f]{40}\Z")


def is_built(environment: str) -> bool:
    """Whether it was built from a definition."""
    return environment.startswith(PREFIX)


def _may(spec: ContainerSpec) -> bool:
    """Whether users' definitions are built here: where any image may be used, unless the owner says otherwise."""
    return spec.build == "always" or (spec.build == "auto" and not spec.images)


def refusal(environment: str, spec: ContainerSpec) -> str:
    """Why there can be no such image here; empty when there can."""
    if not _WHOLE.match(environment):
        return f"{environment[:100]!r} is no image: name its definition: `--env Dockerfile`"
    if not _may(spec):
        return "this endpoint uses no images that were built from definitions (c.Containers.build): ask its owner"
    return ""


def rules(spec: ContainerSpec) -> dict[str, str]:
    """What workers of the endpoint's own Python are told, so that they can build."""
    said = {
        "build": _may(spec),
        "pull": spec.pull,
        "images": spec.images,
        "runtime": spec.runtime,
        "options": spec.build_options,
    }
    return {imagebuilds.RULES: json.dumps(said)}


def shown(root: Path, environment: str) -> str:
    """Its name for people: the file that it was built from."""
    told = _told(root, environment.removeprefix(PREFIX))
    return f"{environment[:14]} (built from {told['file']})" if told.get("file") else environment[:14]


def there(root: Path, environment: str) -> str:
    """The name below `root` of one that is there; empty for all others."""
    name = environment.removeprefix(PREFIX)
    return name if is_built(environment) and imagebuilds.is_there(str(root), name) else ""


def _told(root: Path, name: str) -> dict[str, Any]:
    try:
        told = json.loads((root / name / "built.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def find(root: Path, environment: str, spec: ContainerSpec, env: Mapping[str, str]) -> tuple[str, str, Runtime]:
    """(what its runtime takes, its form, the runtime). UsageError says what is missing."""
    name = there(root, environment)
    told = _told(root, name) if name else {}
    if not told:
        raise UsageError(
            f"image {environment[:14]} is not at this endpoint (any more): `%fx use … --env FILE`, or a call of its "
            "function some minutes later, builds it"
        )
    _check(root / name, told, spec)
    runtime = next(one for one in RUNTIMES if one.name == told["runtime"])
    if not shutil.which(runtime.program, path=env.get("PATH")):
        raise UsageError(
            f"image {shown(root, environment)} was built for {runtime.name}, and {socket.gethostname()} has no "
            f"{runtime.program}: ask who runs the node"
        )
    if told["form"] != "archive":
        return str(root / name / imagebuilds.FORMS[told["form"]]), told["form"], runtime
    _load(root, name, told, env)
    return str(told["id"]), "reference", runtime


def _check(folder: Path, told: dict[str, Any], spec: ContainerSpec) -> None:
    """The allow-list once more: it may be another one by now."""
    if not spec.images:
        return
    try:
        base = unlisted(parse(told["kind"], (folder / "definition").read_text()), spec.images)
    except (OSError, DefinitionError):
        raise UsageError(f"{folder} is no image that was built here: build it again") from None
    if base is not None:
        raise UsageError(
            f"the image of {told['file']} is built on {base.name}, which is not among those that this endpoint allows "
            "(c.Containers.images): ask its owner"
        )


def _load(root: Path, name: str, told: dict[str, Any], env: Mapping[str, str]) -> None:
    """Have it in Podman's store on this node, and what is kept no longer not any more."""
    own = dict(env)

    def podman(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["podman", *words], env=own, capture_output=True, text=True, check=False)

    if podman("image", "exists", told["id"]).returncode == 0:
        return
    imagebuilds.forget(str(root), own)
    loaded = podman("load", "--quiet", "--input", str(root / name / imagebuilds.FORMS["archive"]))
    if loaded.returncode:
        raise UsageError(
            f"the image of {told['file']} cannot be loaded by Podman on {socket.gethostname()}: "
            f"{loaded.stderr.strip()[-300:]}"
        )
