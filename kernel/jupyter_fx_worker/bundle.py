"""The worker zip: this package and cloudpickle, the same bytes whenever the same sources go in."""

from __future__ import annotations

import io
import os
import zipfile
from typing import Dict

import cloudpickle

__all__ = ["boot", "build"]


def _sources(folder: str, name: str) -> Dict[str, str]:
    found = {}
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if f != "__pycache__")
        for file in sorted(files):
            if file.endswith(".py"):
                path = os.path.join(root, file)
                found[f"{name}/{os.path.relpath(path, folder)}".replace(os.sep, "/")] = path
    return found


def build() -> bytes:
    """Return the zip: stored, sorted, without times, so that its digest names its content."""
    files = _sources(os.path.dirname(os.path.abspath(__file__)), "jupyter_fx_worker")
    files.update(_sources(os.path.dirname(os.path.abspath(cloudpickle.__file__)), "cloudpickle"))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            with open(files[name], "rb") as file:
                archive.writestr(info, file.read())
    return out.getvalue()


def boot(path: str, fd: int) -> str:
    """Return the program for `python -c` that runs a zygote from `path` (the zip, or a source folder) on the inherited socket `fd`."""
    return f"import sys; sys.path.insert(0, {path!r}); from jupyter_fx_worker import zygote; zygote.main({int(fd)})"
