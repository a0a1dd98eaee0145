"""Which modules tasks import, so that a zygote imports them in advance.

Only packages that its manager named are told of: those of which it is known that what they are does not depend on when
they are imported (on variables of the environment that a task sets, say).
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import warnings
from collections.abc import Sequence

from jupyter_fx_worker import forksafe

__all__ = ["Imports", "import_all", "try_apart"]

_TRY_FOR = 60


class Imports:
    """What has been imported in this process since it began. `packages`: those that are told of."""

    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = frozenset(packages)
        self._told = set(sys.modules)
        self._count = len(sys.modules)

    def new(self) -> list[str]:
        """Installed packages, and packages right below them, that have come since the last time."""
        if not self._packages or len(sys.modules) == self._count:
            return []
        self._count = len(sys.modules)
        found = [name for name in list(sys.modules) if name not in self._told and self._counts(name)]
        self._told.update(found)
        return sorted(found)

    def _counts(self, name: str) -> bool:
        top, _, rest = name.partition(".")
        if top not in self._packages or "." in rest or rest.startswith("_"):
            return False
        module = sys.modules.get(name)
        path = getattr(module, "__file__", None) or ""
        return hasattr(module, "__path__") and ("site-packages" in path or "dist-packages" in path)


def import_all(names: Sequence[str]) -> list[str]:
    """Import them; why some could not be."""
    notes = []
    for name in names:
        if name.partition(".")[0] in forksafe.NEVER_PRELOAD:
            notes.append(f"{name} is never preloaded: it does not survive a fork")
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                importlib.import_module(name)
        except BaseException as error:
            notes.append(f"cannot preload {name}: {type(error).__name__}: {error}"[:500])
    return notes


def try_apart(names: Sequence[str], close: Sequence[int]) -> int:
    """Import them in a fork of this process; its pid. It ends with 0 if whoever does the same could fork afterwards.

    `close`: descriptors that are not its own.
    """
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_TRY_FOR)
        forksafe.die_with_parent()
        for fd in close:
            os.close(fd)
        code = int(bool(import_all(names)) or forksafe.why_not_forkable() is not None)
    finally:
        os._exit(code)
