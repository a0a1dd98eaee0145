"""Ray's tasks; its multiprocessing pool for the mapped calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.peers import WORKERS, chunksize

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


class PeerUnderTest:
    """A Ray instance of its own, without dashboard and usage reports."""

    def setup(self, scratch: Path) -> None:
        """Start Ray with as many CPUs as the others have workers."""
        import os

        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        import ray

        self.ray = ray
        # A short directory: Ray puts Unix sockets deep below it, and their paths may have 107 bytes.
        ray.init(
            address="local",
            num_cpus=WORKERS,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=40,
            object_store_memory=256 * 2**20,
            _temp_dir=str(scratch / "r"),
        )
        self.remotes: dict[Callable[[Any], Any], Any] = {}
        self.pool: Any = None

    def remote(self, fn: Callable[[Any], Any]) -> Any:
        """The remote function of ``fn``, made once."""
        if fn not in self.remotes:
            self.remotes[fn] = self.ray.remote(fn)
        return self.remotes[fn]

    def call(self, fn: Callable[[Any], Any], x: Any) -> Any:
        """Submit and get."""
        return self.ray.get(self.remote(fn).remote(x))

    def submit_many(self, fn: Callable[[Any], Any], xs: Sequence[Any]) -> list[Any]:
        """One object ref each, one get for all."""
        remote = self.remote(fn)
        return list(self.ray.get([remote.remote(x) for x in xs]))

    def map(self, fn: Callable[[Any], Any], xs: Sequence[Any]) -> list[Any] | None:
        """ray.util.multiprocessing.Pool.map; its actors take the CPUs, so this comes last."""
        if self.pool is None:
            from ray.util.multiprocessing import Pool

            self.pool = Pool(WORKERS)
        return list(self.pool.map(fn, xs, chunksize=chunksize(len(xs))))

    def role(self, command: str) -> str | None:
        """Raylet and global control store by their programs."""
        for name in ("raylet/raylet", "gcs_server"):
            if name in command:
                return name.rpartition("/")[2]
        return None

    def close(self) -> None:
        """Shut Ray down."""
        if self.pool is not None:
            self.pool.terminate()
        self.ray.shutdown()
