"""hatchling's hook: a wheel or sdist carries the labextension, built first if it is not there.

An editable install does without: `make` builds and links.

Building it needs node, and jupyter-builder's yarn, which hatchling installs for the build alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUILT = Path("jupyter_fx") / "labextension"
SHARE = "share/jupyter/labextensions/jupyter-fx"


class LabextensionHook(BuildHookInterface):  # type: ignore[type-arg]  # generic over a config that we do not read
    """Found by its place: [tool.hatch.build.hooks.custom]."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build what is missing, and have it shipped. An editable install is left alone: `make` builds and links."""
        if version == "editable":
            return
        root = Path(self.root)
        if not (root / BUILT / "package.json").exists():
            self._build(root / "labextension")
        if self.target_name == "wheel":
            build_data["shared_data"][str(root / BUILT)] = SHARE

    def _build(self, folder: Path) -> None:
        if shutil.which("node") is None:
            sys.exit(
                "Building jupyter-fx needs node for its JupyterLab extension: apt-get install nodejs, or take a wheel"
            )
        jlpm = [sys.executable, "-c", "from jupyter_builder.jlpm import main; main()"]
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        for command in (["install", "--immutable"], ["build"]):
            subprocess.run([*jlpm, *command], cwd=folder, check=True, timeout=900, env={**os.environ, "PATH": path})
