"""An environment as one SquashFS file, so that a file system of a cluster has a few files of it and not thousands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

__all__ = ["MODE", "PackError", "fuse_tools", "pack", "packed_of", "why_not"]

MODE = "JUPYTER_FX_ENVIRONMENTS_SQUASHFS"
"""`auto`: where the node that builds can mount it; `always`: where it can be packed; else never."""
_FILE = "environment.sqfs"
_PYTHON = "python"
"""Beside the file: a link to the Python that it was made from, which must be there."""
_WORDS = 300


class PackError(OSError):
    """It could not be packed; the text says why."""


def fuse_tools(path: str | None = None) -> tuple[str, str, str]:
    """The program that mounts here, the one that unmounts, and why nothing can be mounted (empty when it can)."""
    mounts = shutil.which("squashfuse_ll", path=path) or shutil.which("squashfuse", path=path) or ""
    # Without it an ordinary user cannot mount at all; root can, and umount does the rest.
    own = shutil.which("fusermount3", path=path) or shutil.which("fusermount", path=path) or ""
    unmounts = own or (shutil.which("umount", path=path) or "" if os.getuid() == 0 else "")
    if not mounts:
        return "", unmounts, "there is no squashfuse"
    if not unmounts:
        return mounts, "", "there is no fusermount3"
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return mounts, unmounts, f"/dev/fuse cannot be used: {error.strerror}"
    return mounts, unmounts, ""


def why_not() -> str | None:
    """Why no environment is packed here: None when it is, empty when nobody wanted it."""
    mode = os.environ.get(MODE, "")
    if mode not in ("auto", "always"):
        return ""
    if not shutil.which("mksquashfs"):
        return "there is no mksquashfs"
    return (fuse_tools()[2] or None) if mode == "auto" else None


def packed_of(root: str, name: str) -> str:
    """The file of an environment that was packed; empty when there is none, or what it was made from is gone."""
    file = os.path.join(root, name, _FILE)
    return file if os.path.exists(os.path.join(root, name, _PYTHON)) and os.path.exists(file) else ""


def pack(folder: str, into: str) -> int:
    """Make a directory `into` that has the file; its size. PackError says why not, and `into` is to be removed.

    gzip is what every SquashFS reader has, and its lowest level is nearly as small.
    """
    os.mkdir(into, 0o700)
    file = os.path.join(into, _FILE)
    command = ["mksquashfs", folder, file, "-comp", "gzip", "-Xcompression-level", "1"]
    command += ["-no-xattrs", "-noappend", "-no-progress"]
    # By itself it takes all processors and a quarter of the memory of a node, of which a job has a share.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    command += ["-processors", str(cores), "-mem", "256M"]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        encoding="utf-8",
        errors="replace",
    )
    if done.returncode:
        said = done.stdout.strip().splitlines() or ["it said nothing"]
        raise PackError(f"mksquashfs ended with status {done.returncode}: {said[-1][:_WORDS]}")
    os.symlink(sys.executable, os.path.join(into, _PYTHON))
    return os.path.getsize(file)
