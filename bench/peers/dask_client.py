"""Dask distributed with a local cluster of processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.peers import WORKERS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


class PeerUnderTest:
    """One thread for each worker process; the scheduler lives in the client's process, as LocalCluster does it."""

    def setup(self, scratch: Path) -> None:
        """Start the cluster and connect."""
        from distributed import Client

        self.client = Client(
            n_workers=WORKERS,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            local_directory=str(scratch / "dask"),
        )

    def call(self, fn: Callable[[Any], Any], x: Any) -> Any:
        """Submit (not memoised) and wait."""
        return self.client.submit(fn, x, pure=False).result()

    def submit_many(self, fn: Callable[[Any], Any], xs: Sequence[Any]) -> list[Any]:
        """One future each, gathered at once."""
        return list(self.client.gather([self.client.submit(fn, x, pure=False) for x in xs]))

    def map(self, fn: Callable[[Any], Any], xs: Sequence[Any]) -> list[Any] | None:
        """Client.map: one task for each item, whatever batch_size says."""
        return list(self.client.gather(self.client.map(fn, xs, pure=False)))

    def role(self, command: str) -> str | None:
        """Its nannies and helpers need no name."""
        return None

    def close(self) -> None:
        """Close client and cluster."""
        cluster = self.client.cluster
        self.client.close()
        if cluster is not None:
            cluster.close()
