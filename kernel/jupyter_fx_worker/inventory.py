"""What an environment is like: its Python, its platform, the versions of its packages. Nothing is imported for it.

Called on both sides of `%fx env`: here, and by name as a remote call there.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Sequence
from importlib import metadata, util
from typing import Any

__all__ = ["describe", "digest", "has", "versions"]

_INLINE = "matplotlib_inline"


def describe(asked: Sequence[tuple[str, str]], *, everything: bool = False, known: str = "") -> dict[str, Any]:
    """Return {digest, python, implementation, platform, machine, executable, ipython, inline, packages}.

    `asked` are (import name, name of the distribution or ""). `packages` maps the import names to [distribution,
    version]: version "" when it is there and tells none, None when it is not there. With `everything`, `all` maps each
    distribution to its version. With `known`, the digest of an earlier answer that still holds, nothing but the digest.
    """
    now = digest()
    if known and known == now:
        return {"digest": now}
    told: dict[str, Any] = {
        "digest": now,
        "python": list(sys.version_info[:3]),
        "implementation": platform.python_implementation(),
        "platform": _platform(),
        "machine": platform.machine(),
        "executable": sys.executable,
        "ipython": _version("ipython"),
        "inline": util.find_spec(_INLINE) is not None,
        "packages": versions(asked),
    }
    if everything:
        found = ((one.metadata["Name"], one.version) for one in metadata.distributions())
        told["all"] = {str(name): str(version) for name, version in found if name}
    return told


def versions(asked: Sequence[tuple[str, str]]) -> dict[str, list[str | None]]:
    """Return the `packages` of `describe`."""
    return {name: list(_package(name, distribution)) for name, distribution in asked}


def digest() -> str:
    """Return what is the same as long as nothing was installed, upgraded or removed: of Python and its folders."""
    parts = [sys.executable, sys.version]
    for path in sys.path:
        try:
            parts.append(f"{path}:{os.stat(path).st_mtime_ns}")
        except OSError:
            continue
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=12).hexdigest()


def has(name: str) -> bool:
    """Whether a top-level package can be imported here; it is not imported for it."""
    if name in sys.modules:
        return True
    try:
        return util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _platform() -> str:
    if sys.platform.startswith("linux"):
        name, version = platform.libc_ver()
        return f"Linux, {name} {version}" if name else "Linux"
    return f"{platform.system()} {platform.release()}"


def _package(name: str, distribution: str) -> tuple[str, str | None]:
    for candidate in dict.fromkeys([distribution, name, name.replace("_", "-")]):
        version = _version(candidate) if candidate else None
        if version is not None:
            return candidate, version
    try:
        there = util.find_spec(name) is not None
    except (ImportError, ValueError):
        there = name in sys.modules
    return distribution or name, "" if there else None


def _version(distribution: str) -> str | None:
    try:
        found = metadata.version(distribution)
    except (metadata.PackageNotFoundError, ValueError):
        return None
    return str(found) if found else ""
