"""One module for each peer behind one small protocol; each imports its library in `setup`, so that this is measured."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["PEERS", "WORKERS", "Peer", "load"]

WORKERS = 2


class Peer(Protocol):
    """A thing that runs functions in `WORKERS` processes of this machine."""

    def setup(self, scratch: Path) -> None:
        """Import the library and start everything; files go below ``scratch``."""

    def call(self, fn: Callable[[Any], Any], x: Any) -> Any:
        """``fn(x)`` over there, waited for."""

    def submit_many(self, fn: Callable[[Any], Any], xs: Sequence[Any]) -> list[Any]:
        """One task for each of ``xs``, all submitted before the first is waited for; results in order."""

    def map(self, fn: Callable[[Any], Any], xs: Sequence[Any]) -> list[Any] | None:
        """The peer's own bulk call, in chunks of its users' choice; None where it has none."""

    def role(self, command: str) -> str | None:
        """What the process with this command line is for; None says "helper". Workers are known by their answers."""

    def close(self) -> None:
        """End every process that `setup` started, the peer's own way."""


# key -> (title, module); the keys are what --peers takes.
PEERS: dict[str, tuple[str, str]] = {
    "ours": ("jupyter-fx (durable, embedded hub)", "bench.peers.ours"),
    "pool": ("ProcessPoolExecutor (no queue)", "bench.peers.pool"),
    "parsl": ("Parsl HTEX", "bench.peers.parsl_htex"),
    "ipyparallel": ("ipyparallel (load-balanced)", "bench.peers.ipyparallel_view"),
    "ray": ("Ray", "bench.peers.ray_tasks"),
    "dask": ("Dask distributed", "bench.peers.dask_client"),
}


def load(key: str) -> Peer:
    """The peer called ``key``, not yet set up."""
    peer: Peer = importlib.import_module(PEERS[key][1]).PeerUnderTest()
    return peer


def chunksize(items: int) -> int:
    """Four chunks a worker: what multiprocessing's own map picks, given to every peer that takes a chunk size."""
    return max(1, -(-items // (4 * WORKERS)))
