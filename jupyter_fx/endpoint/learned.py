"""What workers of one environment import, and what is therefore imported in advance there. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

__all__ = ["LEARNABLE", "Learned"]

LEARNABLE: Final = (
    *("PIL", "h5py", "networkx", "numpy", "pandas", "scipy"),
    *("skimage", "sklearn", "statsmodels", "sympy", "xarray"),
)
"""Packages that are the same whenever they are imported. Others look at the environment or at what is loaded already
(keras, matplotlib), or do not survive a fork.
"""
_WORKERS: Final = 2
"""So many workers have to import a module for it to count."""


class Learned:
    """`packages`: those that may be imported in advance."""

    def __init__(self, packages: Iterable[str]) -> None:
        self._packages = frozenset(packages)
        self._seen: dict[str, set[str]] = {}
        self.modules: list[str] = []
        """What has been learned, in the order in which it is to be imported."""

    def imported(self, worker: str, modules: Iterable[str]) -> list[str]:
        """A worker did; what is to be imported in advance from now on that was not before."""
        fresh = []
        for module in modules:
            if module.partition(".")[0] not in self._packages or module in self.modules:
                continue
            workers = self._seen.setdefault(module, set())
            workers.add(worker)
            if len(workers) >= _WORKERS:
                del self._seen[module]
                fresh.append(module)
        self.modules += fresh
        return fresh
