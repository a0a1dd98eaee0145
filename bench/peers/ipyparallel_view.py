"""ipyparallel through its load-balanced view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.peers import WORKERS, chunksize

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


class PeerUnderTest:
    """A cluster of local engines."""

    def setup(self, scratch: Path) -> None:
        """Start controller and engines, connect."""
        import ipyparallel

        self.cluster = ipyparallel.Cluster(n=WORKERS, ipython_dir=str(scratch / "ipython"), log_level=40)
        self.client = self.cluster.start_and_connect_sync(activate=False)
        self.view = self.client.load_balanced_view()

    def call(self, fn: Callable[[Any], Any], x: Any) -> Any:
        """apply_sync."""
        return self.view.apply_sync(fn, x)

    def submit_many(self, fn: Callable[[Any], Any], xs: Sequence[Any]) -> list[Any]:
        """One AsyncResult each."""
        return [result.get() for result in [self.view.apply_async(fn, x) for x in xs]]

    def map(self, fn: Callable[[Any], Any], xs: Sequence[Any]) -> list[Any] | None:
        """The view's map with chunks."""
        return list(self.view.map_sync(fn, xs, chunksize=chunksize(len(xs))))

    def role(self, command: str) -> str | None:
        """The controller's processes are one role."""
        return "controller" if "controller" in command else None

    def close(self) -> None:
        """Stop engines, then the controller."""
        self.cluster.stop_cluster_sync()
        self.client.close()
