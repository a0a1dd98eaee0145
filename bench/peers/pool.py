"""concurrent.futures.ProcessPoolExecutor: the floor; no queue, no network, nothing survives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.peers import WORKERS, chunksize

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


class PeerUnderTest:
    """Spawned rather than forked: what Windows and macOS do, and what every other peer does."""

    def setup(self, scratch: Path) -> None:
        """Make the pool; its workers start with the first task."""
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        self.pool = ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("spawn"))

    def call(self, fn: Callable[[Any], Any], x: Any) -> Any:
        """Submit and wait."""
        return self.pool.submit(fn, x).result()

    def submit_many(self, fn: Callable[[Any], Any], xs: Sequence[Any]) -> list[Any]:
        """One future each."""
        return [future.result() for future in [self.pool.submit(fn, x) for x in xs]]

    def map(self, fn: Callable[[Any], Any], xs: Sequence[Any]) -> list[Any] | None:
        """Executor.map with chunks."""
        return list(self.pool.map(fn, xs, chunksize=chunksize(len(xs))))

    def role(self, command: str) -> str | None:
        """The resource tracker is a helper."""
        return None

    def close(self) -> None:
        """Shut the pool down."""
        self.pool.shutdown()
