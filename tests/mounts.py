"""Whether SquashFS files can be made and mounted on this machine, for the tests of environments that are one file."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest

from jupyter_fx.endpoint.fusemounts import Mounted
from jupyter_fx_worker import specpack


def need_mksquashfs() -> None:
    """Skips the test where nothing can be packed."""
    if not shutil.which("mksquashfs"):
        pytest.skip("there is no mksquashfs (squashfs-tools)")


def need_mounts() -> None:
    """Skips the test where nothing can be packed, or what is packed cannot be mounted."""
    need_mksquashfs()
    if why := _why_none():
        pytest.skip(f"nothing can be mounted here: {why}")


@functools.cache
def _why_none() -> str:
    """What is allowed shows in trying: a container may have all programs, and no right to mount."""
    if why := specpack.fuse_tools()[2]:
        return why
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        (top / "tree").mkdir()
        (top / "place").mkdir()
        specpack.pack(str(top / "tree"), str(top / "packed"))
        tried = Mounted(top / "packed" / "environment.sqfs", top / "place", os.environ)
        try:
            until = time.monotonic() + 30
            while not tried.is_up():
                if time.monotonic() > until:
                    return "it takes more than 30 s"
                time.sleep(0.01)
        except OSError as error:
            return str(error.strerror)
        finally:
            tried.close()
    return ""
